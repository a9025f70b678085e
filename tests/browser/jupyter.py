"""A JupyterLab of its own (home, configuration, workspace) for a test that needs a live kernel."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import nbformat

# the network and the pictures of a test's notebook
WORLD = """
import torch
torch.set_num_threads(1)
generator = torch.Generator().manual_seed(11)
net = torch.nn.Sequential(
    torch.nn.Conv2d(3, 6, 5, stride=2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
    torch.nn.Linear(6, 4),
)
for parameter in net.parameters():
    parameter.data = torch.randn(parameter.shape, generator=generator)
net.eval()
pictures = torch.rand(2, 3, 48, 48, generator=generator)
pictures[:, :, 10:30, 15:35] *= 0.2
"""
# run code in the notebook's kernel, and what it printed
ASK = """async (code) => {
  const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  let text = ''; const f = kernel.requestExecute({ code });
  f.onIOPub = (m) => { if (m.header.msg_type === 'stream') text += m.content.text; };
  await f.done; return text.trim() }"""


class Lab:
    """A server on the loopback address that serves one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "notebooks"
        self.folder.mkdir()
        home = folder / "home"
        home.mkdir()
        names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
        places = {name: str(home / name) for name in names}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        options = [
            f"--ServerApp.root_dir={self.folder}", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
            "--ServerApp.ip=127.0.0.1", "--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True",
            "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.extension_manager=readonly", "--allow-root", "--no-browser",
        ]  # fmt: skip
        self.log = open(folder / "server.log", "w")  # noqa: SIM115 - closed in close()
        environment = os.environ | places | {"HOME": str(home), "OMP_NUM_THREADS": "1"}
        self.server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options], env=environment, stdout=self.log, stderr=self.log
        )
        self._wait()

    def _wait(self, seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.server.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{self.url}/api", timeout=1):
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
        self.close()
        raise RuntimeError(f"JupyterLab must start within {seconds} s; see {self.log.name}.")

    def close(self) -> None:
        self.server.terminate()
        self.server.wait(20)
        self.log.close()

    def open(self, open_page: Any, cells: list[str], ready: str) -> Any:
        """A page with a fresh notebook of these cells, all of them run, once ``ready`` is there."""
        name = f"{uuid.uuid4().hex}.ipynb"
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        nbformat.write(notebook, self.folder / name)
        page = open_page(f"{self.url}/lab/workspaces/{name[:8]}/tree/{name}", ".jp-Notebook", width=1500)
        page.wait_for_function(
            """() => { const p = window.jupyterapp?.shell.currentWidget?.sessionContext;
            return p && p.isReady && p.session?.kernel?.status === 'idle' }"""
        )
        page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); void 0 }")
        page.wait_for_selector(ready)
        return page
