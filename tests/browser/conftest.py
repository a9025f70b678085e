"""A real browser for the tests of the widgets; they are skipped, with the reason, where none is found."""

import shutil

import pytest
import torch

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser found; install one of {', '.join(BROWSERS)}")
    with playwright.sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser):
    """Open a file or an address; the test fails if the page logs an error or asks another machine."""
    contexts, faults = [], []

    def open_it(url, ready=".lk-stage", width=1000, scheme="light", height=800):
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(90_000)  # a busy machine is slow, not wrong
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("console", lambda m: faults.append(f"console: {m.text}") if m.type == "error" else None)
        local = ("file:", "blob:", "data:", "http://127.0.0.1:", "http://localhost:")
        page.on("request", lambda r: None if r.url.startswith(local) else faults.append(f"asked {r.url}"))
        page.goto(url)
        page.wait_for_selector(ready)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture(scope="session")
def tiny():
    """A small network with four classes on 32 px."""
    generator = torch.Generator().manual_seed(7)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 5, stride=2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(), torch.nn.Linear(6, 4),
    )  # fmt: skip
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    net.classes = ["fire engine", "horse", "tree", "wolf"]
    return net.eval()


@pytest.fixture(scope="session")
def saved_page(tmp_path_factory):
    """The saved page of an explorer by name, made when it is first asked for."""
    from .pages import saved

    made, folder = {}, tmp_path_factory.mktemp("pages")

    def page_of(name):
        if name not in made:
            made[name] = saved(name, folder)
        return made[name]

    return page_of


@pytest.fixture(scope="session")
def lab(browser, tmp_path_factory):
    """One JupyterLab for all tests that need a live kernel; each opens a notebook of its own in it."""
    from .jupyter import Lab

    lab = Lab(tmp_path_factory.mktemp("lab"))
    yield lab
    lab.close()


@pytest.fixture(scope="session")
def world():
    """The network and the pictures that every such notebook makes."""
    from .jupyter import WORLD

    names: dict = {}
    threads = torch.get_num_threads()
    exec(WORLD, names)
    torch.set_num_threads(threads)
    return names["net"], names["pictures"]
