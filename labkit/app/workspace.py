"""The working folder: copies of the labs that a student edits, and JupyterLab opened on it.

An untouched copy follows the kit's newer releases; an edited one is never written to, and the newer version
is laid beside it. What was copied is remembered in ``FOLDER/.labkit/manifest.json`` by a hash of the cells'
text, so that running a notebook (which changes its outputs) does not count as editing it.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit import __version__

__all__ = [
    "Copy",
    "find_notebooks",
    "existing_notebook",
    "copy_notebooks",
    "plan_copies",
    "open_lab",
    "UserError",
]

MOST_LISTED = 4  # notebooks of a folder, in an error


class UserError(RuntimeError):
    """A mistake that the command line answers with one sentence, without a traceback."""


@dataclass(frozen=True)
class Copy:
    """What happens to one notebook: ``action`` is one of new, update, keep, beside, same."""

    name: str
    action: str
    target: Path

    @property
    def sentence(self) -> str:
        """The line that the student reads."""
        return {
            "new": f"{self.name}: copied",
            "update": f"{self.name}: unedited, brought up to labkit {__version__}",
            "keep": f"{self.name}: yours, edited, left as it is",
            "beside": f"{self.name}: yours, edited, left as it is; the newer one is {self.target.name}",
            "same": f"{self.name}: already here, unedited",
        }[self.action]


def find_notebooks() -> Path:
    """The folder of the student notebooks, in a checkout or in an installed wheel.

    Raises UserError if the installation carries none.
    """
    root = Path(__file__).resolve().parents[2]
    checkout = (root / "pyproject.toml").is_file()
    for place in [root / "notebooks"] if checkout else _installed_folders():
        if any(place.glob("*.ipynb")):
            return place
    raise UserError(
        "This installation of labkit carries no notebooks. Install the wheel again with "
        "`pip install --force-reinstall`, or in a checkout write them with `labkit release`."
    )


def existing_notebook(notebook: Path) -> Path:
    """The file as it was named. Raises FileNotFoundError for one that is not there or is a folder, with the
    notebook whose name is near, else the first few of the folder."""
    import difflib

    if notebook.is_file():
        return notebook
    folder = notebook if notebook.is_dir() else notebook.parent
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no notebook {notebook}, nor a folder {folder}.")
    there = sorted(path.stem for path in folder.glob("*.ipynb"))
    named = there if notebook.is_dir() else [name for name in there if notebook.stem.lower() in name.lower()]
    close = named if len(named) == 1 else difflib.get_close_matches(notebook.stem, there, n=1)
    said = f"{notebook} is a folder." if notebook.is_dir() else f"There is no notebook {notebook}."
    if close:
        raise FileNotFoundError(f"{said} Did you mean {folder / close[0]}.ipynb?")
    more = f" and {len(there) - MOST_LISTED} more" if len(there) > MOST_LISTED else ""
    some = ", ".join(f"{name}.ipynb" for name in there[:MOST_LISTED]) or "no notebook"
    where = "This folder" if folder == Path() else f"The folder {folder}"
    raise FileNotFoundError(f"{said} {where} holds {some}{more}.")


def _installed_folders() -> list[Path]:
    """Where pip puts the wheel's notebooks: below the environment, or where its record says (``--user``)."""
    import sysconfig
    from importlib import metadata

    places = [Path(sysconfig.get_path("data")) / "share" / "labkit" / "notebooks"]
    try:
        files = metadata.files("labkit") or []
    except metadata.PackageNotFoundError:
        files = []
    return places + [Path(str(f.locate())).resolve().parent for f in files if f.suffix == ".ipynb"][:1]


def content_hash(data: bytes) -> str:
    """Hash of what a student can edit: kind and text of every cell; of the plain bytes if it is no notebook.

    >>> content_hash(b'{"cells": []}') == content_hash(b'{"cells": [], "metadata": {"kernelspec": {}}}')
    True
    """
    try:
        cells: Any = json.loads(data)["cells"]
        text = [[c["cell_type"], "".join(c["source"]), sorted(c.get("attachments", {}))] for c in cells]
        data = json.dumps(text).encode()
    except (ValueError, KeyError, TypeError):
        pass  # half a file or another format: any difference then counts as an edit
    return hashlib.sha256(data).hexdigest()


def _read_manifest(folder: Path) -> dict[str, str]:
    try:
        data = json.loads((folder / ".labkit" / "manifest.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}  # without it every copy that differs counts as edited, which keeps it safe
    copies = data.get("copied") if isinstance(data, dict) else None
    return {str(k): str(v) for k, v in copies.items()} if isinstance(copies, dict) else {}


def _write(path: Path, data: bytes) -> None:
    """Write through a temporary file in the same folder, so that no half file is ever seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_bytes(data)
    os.replace(scratch, path)


def _beside(folder: Path, name: str, manifest: dict[str, str]) -> Path:
    """A free name (or one that still holds our own unedited text) for the newer version of ``name``."""
    stem, count = Path(name).stem, 1
    while True:
        path = folder / (f"{stem}.new.ipynb" if count == 1 else f"{stem}.new-{count}.ipynb")
        if not path.exists() or content_hash(path.read_bytes()) == manifest.get(path.name):
            return path
        count += 1


def plan_copies(folder: Path, source: Path | None = None) -> list[Copy]:
    """What `copy_notebooks` would do in ``folder``, notebook by notebook; nothing is written."""
    source = find_notebooks() if source is None else source
    manifest = _read_manifest(folder)
    plan = []
    for path in sorted(source.glob("*.ipynb")):
        target, new = folder / path.name, content_hash(path.read_bytes())
        if not target.exists():
            plan.append(Copy(path.name, "new", target))
            continue
        current = content_hash(target.read_bytes())
        if current == new:
            plan.append(Copy(path.name, "same", target))
        elif current == manifest.get(path.name):
            plan.append(Copy(path.name, "update", target))
        elif new in (manifest.get(path.name), manifest.get(f"offered:{path.name}")):
            plan.append(Copy(path.name, "keep", target))
        else:
            plan.append(Copy(path.name, "beside", _beside(folder, path.name, manifest)))
    return plan


def copy_notebooks(folder: Path, source: Path | None = None) -> list[Copy]:
    """Copy the student notebooks into ``folder`` and never over what a student has edited.

    Raises UserError if ``folder`` is a file, cannot be written, or is the kit's own folder of notebooks.
    """
    source = find_notebooks() if source is None else source
    folder = folder.expanduser().absolute()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; give the name of a folder, for example `labkit lab labs`.")
    if folder.resolve() in (source.resolve(), source.resolve().parent / "solutions"):
        raise UserError(
            f"{folder} is the kit's own folder; work in a copy, for example with `labkit lab labs`."
        )
    manifest = _read_manifest(folder)
    try:
        plan = plan_copies(folder, source)
        for copy in plan:
            data = (source / copy.name).read_bytes()
            if copy.action in ("new", "update", "beside"):
                _write(copy.target, data)
            if copy.action == "beside":
                manifest[f"offered:{copy.name}"] = content_hash(data)
            if copy.action != "keep":
                manifest[copy.target.name] = content_hash(data)
        state = {"kit": __version__, "copied": manifest}
        _write(folder / ".labkit" / "manifest.json", json.dumps(state, indent=1).encode())
    except OSError as problem:
        raise UserError(
            f"Cannot write to {folder} ({problem.strerror or problem}). "
            "Give a folder of your own, for example `labkit lab ~/labs`."
        ) from problem
    return plan


def server_arguments(folder: Path, *, browser: bool, port: int | None, token: str) -> list[str]:
    """JupyterLab's settings: loopback only, behind a token, no news or update check, stopped by Ctrl-C."""
    import zmq
    from jupyter_client.manager import KernelManager

    first = min((p.name for p in folder.glob("*.ipynb")), default="")
    arguments = [
        f"--ServerApp.root_dir={folder}",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.open_browser={browser}",
        "--ServerApp.answer_yes=True",
        "--Application.log_level=ERROR",
        f"--IdentityProvider.token={token}",
        "--LabApp.news_url=None",
        "--LabApp.extension_manager=readonly",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        f"--LabApp.workspaces_dir={folder / '.labkit' / 'workspaces'}",
    ]
    if first and not (folder / ".labkit" / "workspaces").exists():
        arguments.append(f"--LabApp.default_url=/lab/tree/{first}")
    if "transport_encryption" in KernelManager.class_trait_names() and zmq.has("curve"):
        arguments.append(
            "--KernelManager.transport_encryption=auto"
        )  # nobody else on a shared machine listens
    if port is not None:
        arguments.append(f"--ServerApp.port={port}")
    if (
        hasattr(os, "geteuid") and os.geteuid() == 0
    ):  # a container; the server still answers this machine only
        arguments.append("--allow-root")
    return arguments


def _without_news(handler: Any, page: dict[str, Any]) -> dict[str, Any]:
    """Leave out the extension that asks every new user about Jupyter's news."""
    silent = "@jupyterlab/apputils-extension:announcements"
    page["disabledExtensions"] = [*page.get("disabledExtensions", []), silent]
    return page


def open_lab(folder: Path, *, browser: bool = True, port: int | None = None) -> None:
    """Open JupyterLab on ``folder`` and serve until Ctrl-C; the address is printed once.

    Raises UserError if JupyterLab is missing.
    """
    try:
        from jupyterlab.labapp import LabApp
    except ImportError as problem:
        raise UserError(
            f"JupyterLab does not load ({problem}). Install it with `pip install jupyterlab`."
        ) from problem
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # no debugger notice in every kernel
    folder, token = folder.expanduser().absolute(), secrets.token_hex(16)
    server = LabApp.initialize_server(server_arguments(folder, browser=browser, port=port, token=token))
    server.web_app.settings["page_config_hook"] = _without_news
    url = f"http://127.0.0.1:{server.port}{server.default_url}?token={token}"
    message = f"\nJupyterLab works in {folder}\nand opens at   {url}\nStop it with Ctrl-C.\n"
    server.io_loop.add_callback(print, message, flush=True)  # comes after the one that binds the port
    server.start()
