"""Downloads from a server of our own: checksums, atomic moves, and what is said without a network."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.data import downloads, fetch
from labkit.data.cache import cache_folder
from labkit.data.downloads import Entry, fetch_file, fetch_weights, torch_folder

CONTENT = bytes(range(256)) * 400
SHA = hashlib.sha256(CONTENT).hexdigest()


class Quiet(http.server.SimpleHTTPRequestHandler):
    asked: list[str] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/cut.bin":  # says more than it sends
            self.send_response(200)
            self.send_header("Content-Length", str(2 * len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT)
            self.close_connection = True
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    shared = tmp_path / "server"
    shared.mkdir()
    (shared / "net-12345678.bin").write_bytes(CONTENT)
    (shared / f"net-{SHA[:8]}.pth").write_bytes(CONTENT)
    Quiet.asked = []
    handler = functools.partial(Quiet, directory=shared)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


@pytest.fixture
def closed(server: str) -> str:
    """An address at which nothing listens."""
    return "http://127.0.0.1:9"


def test_a_file_is_fetched_once(server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = Entry(f"{server}/net-12345678.bin", SHA, tmp_path / "deep" / "cache")
    path = fetch_file("net", entry)
    assert path == tmp_path / "deep" / "cache" / "net-12345678.bin"
    assert path.read_bytes() == CONTENT
    shown = capsys.readouterr().err
    assert "100%" in shown, "a progress bar"
    assert "known_hash" not in shown, "the words of a library that students never called"
    assert fetch_file("net", entry) == path
    assert Quiet.asked == ["/net-12345678.bin"]
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_corrupt_download_leaves_nothing(server: str, tmp_path: Path) -> None:
    entry = Entry(f"{server}/net-12345678.bin", "0" * 64, tmp_path / "cache")
    with pytest.raises(RuntimeError, match=r"'net' is corrupt.*Nothing was kept.*labkit fetch net"):
        fetch_file("net", entry)
    assert not list(entry.folder.iterdir())


@pytest.mark.parametrize("file", ["missing.bin", "cut.bin"])
def test_a_failed_download_leaves_nothing(server: str, tmp_path: Path, file: str) -> None:
    entry = Entry(f"{server}/{file}", SHA, tmp_path / "cache")
    with pytest.raises(RuntimeError, match="labkit fetch net"):
        fetch_file("net", entry)
    assert not list(entry.folder.iterdir())


def test_the_stop_button_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(url: str, file: str, _pooch: object) -> None:
        Path(file).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(downloads.pooch, "HTTPDownloader", lambda **_: stopped)
    with pytest.raises(KeyboardInterrupt):
        fetch_file("net", Entry("http://127.0.0.1:9/net.bin", SHA, tmp_path / "cache"))
    assert not list((tmp_path / "cache").iterdir())


def test_offline_the_message_says_what_to_run(closed: str, tmp_path: Path) -> None:
    entry = Entry(f"{closed}/net.bin", SHA, tmp_path / "cache")
    with pytest.raises(
        RuntimeError, match=r"(?s)not on this machine.*labkit fetch net\n.*copy net.bin to .*cache"
    ):
        fetch_file("net", entry)
    assert not list(entry.folder.iterdir())


def test_a_file_with_another_checksum_is_not_used(server: str, tmp_path: Path) -> None:
    path = tmp_path / "net-12345678.bin"
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"sha256 does not begin with.*Delete it and run: labkit fetch net"):
        fetch_file("net", Entry(f"{server}/{path.name}", SHA, tmp_path))
    assert path.read_bytes() == b"something else"
    assert not Quiet.asked


def test_the_registry_by_name(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(downloads.REGISTRY, "net", Entry(f"{server}/net-12345678.bin", SHA, tmp_path / "c"))
    assert fetch("net").read_bytes() == CONTENT
    with pytest.raises(ValueError, match="name must be one of.*'resnet19'.*'resnet1"):
        fetch("resnet19")


def test_weights_go_to_torchs_cache_and_are_checked_by_their_name(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    assert torch_folder() == tmp_path / "torch" / "hub" / "checkpoints"
    path = fetch_weights("net", f"{server}/net-{SHA[:8]}.pth")
    assert path == torch_folder() / f"net-{SHA[:8]}.pth"
    assert path.read_bytes() == CONTENT
    with pytest.raises(RuntimeError, match="does not begin with 12345678"):
        fetch_weights("net", f"{server}/net-12345678.bin")
    assert [p.name for p in torch_folder().iterdir()] == [path.name]


def test_weights_that_are_there_are_used_without_a_network(
    closed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch_folder().mkdir(parents=True)
    there = torch_folder() / "squeezenet1_1-b8a52dc0.pth"
    there.write_bytes(b"as it is")
    assert fetch("squeezenet1_1") == there
    assert fetch_weights("squeezenet1_1", f"{closed}/{there.name}") == there


def test_the_cache_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("LABKIT_CACHE")
    assert cache_folder().name == "labkit"
