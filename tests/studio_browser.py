"""A studio on two small trained models, and Debian's Chromium to open it with."""

from __future__ import annotations

import base64
import functools
import http.server
import io
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from studio_server import Client, serving

from sgm_core import ScoreModel

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
STATIC = Path(__file__).parents[1] / "studio" / "static"
# Software rendering, and nothing that would ask for the network.
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
Opener = Callable[..., Any]


def launched(playwright: Any, *flags: str) -> Any:
    """Start Chromium; docs/make_studio.py and benchmarks/page.py do it, too."""
    return playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])


def train_models(folder: Path) -> None:
    """Train points and pictures with classes for seconds, and save them under their names."""
    random = np.random.default_rng(0)
    angle = random.uniform(0, 2 * np.pi, 4096)
    ring = np.stack([np.cos(angle), np.sin(angle)], 1) + random.normal(0, 0.05, (4096, 2))
    points = ScoreModel(
        shape=(2,), process="cld", net={"kind": "mlp", "width": 32, "depth": 1},
        scale=0.7, sampling={"steps": 12},
    )  # fmt: skip
    for _ in range(150):
        points.train_step(ring[random.integers(len(ring), size=256)])
    points.save(folder / "ring")
    bars = np.zeros((2, 1, 8, 8), np.float32)  # a horizontal and an upright one
    bars[0, 0, 3:5], bars[1, 0, :, 3:5] = 16, 16
    pictures = ScoreModel(
        img_size=8, num_channels=1, data_range=(0, 16), labels=["lying", "upright"],
        net={"kind": "unet", "channels": 8, "multipliers": (1, 2), "heads": 1},
        sampling={"steps": 8}, training={"label_dropout": 0.2},
    )  # fmt: skip
    for _ in range(80):
        chosen = random.integers(2, size=32)
        noise = random.normal(0, 0.5, (32, 1, 8, 8))
        pictures.train_step(np.clip(bars[chosen] + noise, 0, 16), chosen)
    pictures.save(folder / "bars")


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """`sgm studio` in a process of its own; the page is at its address."""
    folder = tmp_path_factory.mktemp("studio")
    train_models(folder)
    with serving("--folder", str(folder)) as client:
        yield client


@pytest.fixture(scope="session")
def static_site() -> Iterator[str]:
    """The built page on a plain file server: no studio answers."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=STATIC)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, headless."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not Path(CHROMIUM).exists():
        pytest.skip("there is no chromium; install Debian's package chromium")
    with playwright.sync_playwright() as started:
        chromium = launched(started)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Opener]:
    """Open addresses in fresh contexts; afterwards nothing may have gone wrong in any of them.

    `opened(address, allowed=(), script=None, **context)`: `allowed` are texts of console errors that
    the test provokes, `script` runs before the page's own. Errors of the page and of its console
    (violations of the content security policy are among them) and requests to other hosts fail the
    test.
    """
    contexts, wrong = [], []

    def open_page(
        address: str, *, allowed: tuple[str, ...] = (), script: str | None = None, **options: Any
    ) -> Any:
        options = {
            "reduced_motion": "reduce",
            "viewport": {"width": 1200, "height": 900},
            **options,
        }
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(60_000)
        host = urlsplit(address).netloc

        def hear(message: Any) -> None:
            text = message.text
            if message.type == "error" and not any(part in text for part in allowed):
                wrong.append(f"console: {text}")

        def see(request: Any) -> None:
            parts = urlsplit(request.url)
            if parts.scheme in ("http", "https") and parts.netloc != host:
                wrong.append(f"a request left the host: {request.url}")

        context.on("request", see)
        page = context.new_page()
        page.on("console", hear)
        page.on("pageerror", lambda error: wrong.append(f"page: {error}"))
        if script:
            page.add_init_script(script)
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong


def drawn(page: Any) -> str:
    """Wait until Create has drawn its picture; return what it says of the cost."""
    facts = page.locator(".create .facts")
    page.wait_for_function(
        "() => /ms per step · .* · (server|this device)$/.test("
        "document.querySelector('.create .facts')?.textContent)"
    )
    return str(facts.text_content())


def pixels(page: Any, canvas: Any, index: int = 0) -> np.ndarray[Any, Any]:
    """Return the pixels of a canvas (a selector, or a locator), (H, W, 4)."""
    found = page.locator(canvas).nth(index) if isinstance(canvas, str) else canvas
    address = found.evaluate("canvas => canvas.toDataURL('image/png')")
    picture = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    return np.array(picture.convert("RGBA"))
