"""The working folder never loses a student's edit, and JupyterLab really answers on it."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from labkit.app.workspace import UserError, content_hash, copy_notebooks, find_notebooks, plan_copies


def write(path: Path, *sources: str, outputs: bool = False) -> None:
    """A small notebook with one code cell per source."""
    out = [{"output_type": "stream", "name": "stdout", "text": ["1\n"]}] if outputs else []
    cells = [
        {"cell_type": "code", "source": s, "metadata": {}, "outputs": out, "execution_count": None}
        for s in sources
    ]
    spec = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    book = {"cells": cells, "metadata": {"kernelspec": spec}, "nbformat": 4, "nbformat_minor": 4}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(book), encoding="utf-8")


def text(path: Path) -> str:
    return "".join(json.loads(path.read_text("utf-8"))["cells"][0]["source"])


def actions(folder: Path, kit: Path) -> dict[str, str]:
    return {copy.name: copy.action for copy in copy_notebooks(folder, kit)}


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    write(tmp_path / "kit" / "01_a.ipynb", "first")
    write(tmp_path / "kit" / "02_b.ipynb", "second")
    return tmp_path / "kit"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "labs"


def test_a_fresh_folder_gets_everything_and_a_second_call_nothing(kit: Path, folder: Path) -> None:
    assert actions(folder, kit) == {"01_a.ipynb": "new", "02_b.ipynb": "new"}
    assert text(folder / "01_a.ipynb") == "first"
    assert actions(folder, kit) == {"01_a.ipynb": "same", "02_b.ipynb": "same"}


def test_an_unedited_copy_follows_the_kit(kit: Path, folder: Path) -> None:
    copy_notebooks(folder, kit)
    write(kit / "01_a.ipynb", "first, better")
    assert actions(folder, kit)["01_a.ipynb"] == "update"
    assert text(folder / "01_a.ipynb") == "first, better"
    write(kit / "01_a.ipynb", "first, best")
    assert actions(folder, kit)["01_a.ipynb"] == "update"


def test_running_without_editing_is_no_edit(kit: Path, folder: Path) -> None:
    copy_notebooks(folder, kit)
    write(folder / "01_a.ipynb", "first", outputs=True)
    assert actions(folder, kit)["01_a.ipynb"] == "same"
    assert json.loads((folder / "01_a.ipynb").read_text("utf-8"))["cells"][0]["outputs"]
    write(kit / "01_a.ipynb", "first, better")
    assert actions(folder, kit)["01_a.ipynb"] == "update"


def test_an_edited_copy_stays_and_the_newer_one_lies_beside_it_once(kit: Path, folder: Path) -> None:
    copy_notebooks(folder, kit)
    write(folder / "01_a.ipynb", "my answer")
    before = (folder / "01_a.ipynb").read_bytes()
    assert actions(folder, kit)["01_a.ipynb"] == "keep"
    assert not (folder / "01_a.new.ipynb").exists()
    write(kit / "01_a.ipynb", "first, better")
    plan = {copy.name: copy for copy in copy_notebooks(folder, kit)}
    assert plan["01_a.ipynb"].action == "beside"
    assert "01_a.new.ipynb" in plan["01_a.ipynb"].sentence
    assert text(folder / "01_a.new.ipynb") == "first, better"
    assert actions(folder, kit)["01_a.ipynb"] == "keep"
    assert (folder / "01_a.ipynb").read_bytes() == before


def test_an_edited_newer_one_is_not_overwritten_either(kit: Path, folder: Path) -> None:
    copy_notebooks(folder, kit)
    write(folder / "01_a.ipynb", "my answer")
    write(kit / "01_a.ipynb", "version 2")
    copy_notebooks(folder, kit)
    write(kit / "01_a.ipynb", "version 3")
    copy_notebooks(folder, kit)
    assert text(folder / "01_a.new.ipynb") == "version 3"
    write(folder / "01_a.new.ipynb", "moved my answer here")
    write(kit / "01_a.ipynb", "version 4")
    copy_notebooks(folder, kit)
    assert text(folder / "01_a.new.ipynb") == "moved my answer here"
    assert text(folder / "01_a.new-2.ipynb") == "version 4"
    assert text(folder / "01_a.ipynb") == "my answer"


@pytest.mark.parametrize("manifest", [None, "{", "[]", '{"copied": 3}'])
def test_without_a_manifest_what_differs_counts_as_edited(
    kit: Path, folder: Path, manifest: str | None
) -> None:
    copy_notebooks(folder, kit)
    write(folder / "01_a.ipynb", "my answer")
    state = folder / ".labkit" / "manifest.json"
    if manifest is None:
        state.unlink()
    else:
        state.write_text(manifest, encoding="utf-8")
    assert actions(folder, kit) == {"01_a.ipynb": "beside", "02_b.ipynb": "same"}
    assert text(folder / "01_a.ipynb") == "my answer"


def test_a_deleted_notebook_comes_back_and_strangers_are_left_alone(kit: Path, folder: Path) -> None:
    copy_notebooks(folder, kit)
    (folder / "01_a.ipynb").unlink()
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    (folder / "02_b.ipynb").write_text("no notebook any more", encoding="utf-8")
    assert actions(folder, kit) == {"01_a.ipynb": "new", "02_b.ipynb": "keep"}
    assert (folder / "notes.txt").read_text("utf-8") == "mine"
    assert (folder / "02_b.ipynb").read_text("utf-8") == "no notebook any more"


def test_listing_writes_nothing(kit: Path, folder: Path) -> None:
    assert [copy.action for copy in plan_copies(folder, kit)] == ["new", "new"]
    assert not folder.exists()


def test_the_kits_own_folder_and_a_file_are_refused(kit: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="kit's own folder"):
        copy_notebooks(kit, kit)
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(UserError, match="is a file"):
        copy_notebooks(tmp_path / "file", kit)
    with pytest.raises(UserError, match="Cannot write"):
        copy_notebooks(tmp_path / "file" / "below", kit)


def test_the_hash_is_of_the_students_text() -> None:
    cell = {"cell_type": "code", "source": ["a\n", "b"], "outputs": []}
    joined = {**cell, "source": "a\nb", "outputs": [1], "execution_count": 7}
    assert content_hash(json.dumps({"cells": [cell]}).encode()) == content_hash(
        json.dumps({"cells": [joined]}).encode()
    )
    other = {**cell, "cell_type": "raw"}
    assert content_hash(json.dumps({"cells": [cell]}).encode()) != content_hash(
        json.dumps({"cells": [other]}).encode()
    )
    assert content_hash(b"{") != content_hash(b"}")


def test_the_labs_are_found() -> None:
    names = {path.name for path in find_notebooks().glob("*.ipynb")}
    assert {"01_warm_up.ipynb", "21_which_pixels_matter.ipynb"} <= names


def test_a_notebook_of_the_kit_names_a_kernel() -> None:
    for path in find_notebooks().glob("*.ipynb"):  # else JupyterLab greets with a dialogue
        assert json.loads(path.read_text("utf-8"))["metadata"]["kernelspec"]["name"] == "python3"


def address(server: subprocess.Popen[str], seconds: float) -> str:
    """The address that the server prints, read as soon as it does."""
    assert server.stdout is not None
    seen, end = "", time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        if select.select([server.stdout], [], [], 1)[0]:
            seen += os.read(server.stdout.fileno(), 65536).decode()
            if found := re.search(r"(http://\S+)\n", seen):
                return found.group(1)
    raise AssertionError(f"no address was printed:\n{seen}")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="reads a pipe with select")
def test_jupyterlab_answers_on_this_machine_only_behind_its_token(tmp_path: Path) -> None:
    folder = tmp_path / "labs"
    home = {name: str(tmp_path / name) for name in ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")}
    server = subprocess.Popen(
        [sys.executable, "-m", "labkit.app.cli", "lab", str(folder), "--no-browser"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **home},
    )
    try:
        url = address(server, 90)
        assert re.match(r"http://127\.0\.0\.1:\d+/lab/tree/01_warm_up\.ipynb\?token=\w{32}$", url)
        with urllib.request.urlopen(url, timeout=60) as page:
            body = page.read().decode()
        assert "JupyterLab" in body
        assert "apputils-extension:announcements" in body  # switched off, so that nobody is asked about news
        base, token = url.split("/lab")[0], url.split("token=")[1]
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{base}/api/contents", timeout=60)
        refused.value.close()
        assert refused.value.code == 403
        with urllib.request.urlopen(f"{base}/api/contents?token={token}", timeout=60) as listing:
            names = {entry["name"] for entry in json.load(listing)["content"]}
        assert "01_warm_up.ipynb" in names
    finally:
        server.terminate()
        server.communicate(timeout=60)
    assert (folder / "01_warm_up.ipynb").is_file()
