"""A real VS Code with the packaged extension, the real server, the real default model; skipped where they are not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from editors.vscode.projects import write_shop
from editors.vscode.studio import Studio, install_extension, start_studio
from editors.vscode.tools import Tools
from editors.vscode.window import Window

from editors.vscode import tools as tools_module

IMAGES = Path(__file__).parents[3] / "docs" / "images"
BIN = Path(sys.executable).parent
VIEWPORT = {"width": 1100, "height": 700}
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-images", action="store_true", help="Write docs/images/vscode-*.png anew.")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and not item.get_closest_marker("timeout"):
            # A page on two busy cores takes half a minute to appear.
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def tools() -> Tools:
    found = tools_module.find()
    if isinstance(found, str):
        pytest.skip(found)
    return found


@pytest.fixture(scope="session")
def model(pulled_model: Path) -> Path:
    return pulled_model


@pytest.fixture(scope="session")
def extensions(tools, tmp_path_factory) -> Path:
    scratch = tmp_path_factory.mktemp("extension")
    return install_extension(tools, scratch / "extensions", scratch / "profile")


@pytest.fixture(scope="session")
def browser(tools):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(tools.chromium), args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def new_studio(tools, extensions, tmp_path_factory) -> Callable[..., object]:
    """Start another code-server with a profile of its own; a context manager."""

    @contextmanager
    def start(**options) -> Iterator[Studio]:
        studio = start_studio(tools, tmp_path_factory.mktemp("s"), extensions, **options)
        try:
            yield studio
        finally:
            studio.close()

    return start


@pytest.fixture(scope="session")
def studio(new_studio, model) -> Iterator[Studio]:
    """The one that most tests share: the server is on the PATH, the model is there."""
    with new_studio(model=model, path=(BIN,)) as studio:
        yield studio


_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if report.when == "call":
        item.stash[_FAILED] = report.failed
    return report


@pytest.fixture
def new_window(browser, request, tmp_path):
    """Open a window on a folder; closed with the test, and its picture kept where that failed."""
    contexts = []

    def open_window(studio: Studio, folder: Path, *, viewport: dict[str, int] | None = None) -> Window:
        context = browser.new_context(viewport=viewport or VIEWPORT, device_scale_factor=1)
        contexts.append(context)
        return Window(studio, context.new_page(), folder)

    yield open_window
    for number, context in enumerate(contexts):
        if request.node.stash.get(_FAILED, False):
            picture = tmp_path / f"failed-{number}.png"
            context.pages[0].screenshot(path=str(picture))
            print(f"what was on the screen: {picture}")
        context.close()


@pytest.fixture
def shop(tmp_path) -> Path:
    return write_shop(tmp_path / "shop")


@pytest.fixture
def window(studio, new_window, shop) -> Window:
    """A window on the shop, ready to be typed in."""
    window = new_window(studio, shop)
    window.wait_ready()
    return window


@pytest.fixture
def shot(request):
    """Save what is on screen as an image of the documentation, if that is asked for."""

    def save(window: Window, name: str, *, clip: dict[str, float] | None = None) -> None:
        if request.config.getoption("--update-images", default=False):
            IMAGES.mkdir(parents=True, exist_ok=True)
            window.page.screenshot(path=str(IMAGES / f"vscode-{name}.png"), **({"clip": clip} if clip else {}))

    return save
