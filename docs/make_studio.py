"""Take the pictures of docs/studio.md: the studio's page in Chromium, on this checkout's champions.

    python docs/make_studio.py [--folder BUNDLES] [--out docs/images/studio]

Needs Debian's package chromium and the Python package playwright.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from studio_browser import launched  # noqa: E402
from studio_server import serving  # noqa: E402

DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 360, "height": 780}
TALL = {"width": 1280, "height": 1160}
FACTS = "() => / · (server|this device)$/.test(document.querySelector('.facts').textContent)"


def created(page: Page) -> None:
    """Create, with a picture half drawn and a grid of variations."""
    page.wait_for_function(FACTS)
    page.get_by_role("button", name="Draw a grid of seeds").click()
    page.wait_for_function("() => document.querySelector('.actions button:nth-child(2)').disabled")
    page.get_by_role("slider", name="Step", exact=True).fill("15")


def explored(page: Page) -> None:
    """Explore, with completions of a picture whose right half is hidden, and a path."""
    page.locator(".strip").wait_for()
    page.wait_for_function("() => document.querySelector('.strip').width > 50")
    page.get_by_role("button", name="Fill in").click()
    page.locator(".gallery canvas[aria-label='Result 6']").wait_for(timeout=120_000)


def taught(page: Page, steps: int = 1500) -> None:
    """Learn, at the score's arrows, after some training."""
    trained = "Number(/after (\\d+)/.exec(document.querySelector('.loss canvas').ariaLabel)?.[1])"
    page.wait_for_function(f"() => {trained} >= {steps}", timeout=600_000)
    page.get_by_role("button", name="Pause training").click()
    page.get_by_role("button", name="Next").click()
    page.get_by_label("Noise").fill("60")
    page.wait_for_timeout(1500)


def followed(page: Page) -> None:
    """Learn, with one point's way there and back, and samples against steps."""
    taught(page)
    page.get_by_label("Samples", exact=True).check()
    page.get_by_role("button", name="Compare").click()
    page.get_by_text("Fresh data is off by").wait_for(timeout=120_000)
    page.get_by_role("button", name="Follow one point").click()
    page.locator(".triple").wait_for(timeout=120_000)
    page.get_by_label("Way of the point").fill("200")
    page.wait_for_timeout(500)


DIGITS = "create?model=sgm-digits&label=any&seed=3"
SHOTS: list[tuple[str, str, str, dict[str, int], Any, bool]] = [
    # file, fragment, scheme, window, what to do, whole page
    ("create", DIGITS, "light", DESKTOP, created, True),
    ("create-dark", "create?model=sgm-swiss_roll&seed=3&steps=25", "dark", DESKTOP, created, True),
    ("create-phone", DIGITS, "dark", PHONE, created, True),
    ("explore", "explore?model=sgm-digits", "light", DESKTOP, explored, True),
    ("explore-phone", "explore?model=sgm-digits", "light", PHONE, explored, True),
    ("learn", "learn?step=3&shape=swiss", "light", TALL, taught, False),
    ("learn-dark", "learn?step=3&shape=rolls", "dark", DESKTOP, followed, True),
    ("learn-phone", "learn?step=3&shape=flower", "light", PHONE, taught, True),
]  # fmt: skip


def small(picture: bytes) -> Image.Image:
    """Return a screenshot with a palette of 256 colours: a third of the bytes, and no eye tells."""
    return Image.open(io.BytesIO(picture)).convert("RGB").quantize(256, dither=Image.Dither.NONE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="bundles; default: the registry's champions")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "studio")
    parser.add_argument("--only", nargs="*", help="names of pictures")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    folder = ["--folder", str(given.folder)] if given.folder else []
    with serving(*folder) as studio, sync_playwright() as playwright:
        browser = launched(playwright, "--hide-scrollbars")
        for name, fragment, scheme, window, act, whole in SHOTS:
            if given.only and name not in given.only:
                continue
            page = browser.new_page(viewport=window, color_scheme=scheme)
            page.set_default_timeout(60_000)
            page.goto(f"{studio.address}/#{fragment}")
            act(page)
            page.mouse.move(0, 0)
            page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
            small(page.screenshot(full_page=whole)).save(given.out / f"{name}.png", optimize=True)
            page.close()
            print(name, flush=True)
        browser.close()


if __name__ == "__main__":
    main()
