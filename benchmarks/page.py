"""How smoothly the studio's page runs: first picture, steps, training, and the largest gap of frames.

    python benchmarks/page.py [--folder BUNDLES]      default: the registry's champions

For every model, drawn on this device and by the server: seconds from opening the address to the first
frame on the canvas and to the last one, milliseconds a step as the page tells, and the largest time
between two animation frames from then on, which is how long the page did not answer. Then Learn: training
steps a second, and the largest gap while it trains and draws.

Needs Debian's package chromium and the Python package playwright. A gap is wall time: on a busy machine
it grows with the load and not with the page.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
# Records the largest time between two animation frames since `gap.largest` was last set to 0.
GAPS = """
window.gap = {largest: 0};
(function tick(before) {
  requestAnimationFrame(now => {
    if (before) gap.largest = Math.max(gap.largest, now - before);
    tick(now);
  });
})(0);
"""
TRAINING = 20  # seconds
LAST = "() => / · (server|this device)$/.test(document.querySelector('.facts')?.textContent)"


@contextmanager
def serving(folder: Path | None) -> Iterator[str]:
    """Run `sgm studio`; yield its address."""
    command = [sys.executable, "-m", "flows", "studio", "--port", "0"]
    command += ["--folder", str(folder)] if folder else []
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[0]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def draws(browser: Browser, address: str, model: dict[str, Any], place: str) -> dict[str, Any]:
    """Measure one picture."""
    page = opened(browser)
    begin = time.perf_counter()
    name = f"model={model['name']}&version={model['version']}&seed=1&on={place}"
    page.goto(f"{address}/#create?{name}")
    page.wait_for_function("() => /^Step /.test(document.querySelector('.facts')?.textContent)")
    first = time.perf_counter() - begin
    page.evaluate("gap.largest = 0")
    page.wait_for_function(LAST)
    last = time.perf_counter() - begin
    facts = str(page.locator(".facts").text_content())
    gap = page.evaluate("gap.largest")
    page.close()
    step = next(part for part in facts.split(" · ") if "per step" in part)
    return {
        "model": f"{model['name']}, {place}", "first frame s": first, "last frame s": last,
        "step": step.removesuffix(" per step"), "largest gap ms": gap,
    }  # fmt: skip


def trains(browser: Browser, address: str) -> dict[str, Any]:
    """Measure the lab's training."""
    page = opened(browser)
    page.goto(f"{address}/#learn?step=3")
    count = (
        "() => Number(/after (\\d+)/.exec(document.querySelector('.loss canvas').ariaLabel)?.[1])"
    )
    page.wait_for_function(f"{count} > 20")
    page.evaluate("gap.largest = 0")
    before, begin = page.evaluate(count), time.perf_counter()
    page.wait_for_timeout(1000 * TRAINING)
    after, seconds = page.evaluate(count), time.perf_counter() - begin
    gap = page.evaluate("gap.largest")
    page.close()
    return {"training steps per s": (after - before) / seconds, "largest gap ms": gap}


def opened(browser: Browser) -> Page:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(120_000)
    page.add_init_script(GAPS)
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="bundles; default: the registry's champions")
    parser.add_argument("--json", type=Path, help="also write what was measured")
    given = parser.parse_args()
    rows = []
    with serving(given.folder) as address, sync_playwright() as playwright:
        chromium = shutil.which("chromium") or "/usr/bin/chromium"
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        with urllib.request.urlopen(f"{address}/api/models") as answer:
            models = json.load(answer)["models"]
        for model in [m for m in models if "champion" in m["aliases"]]:
            for place in ("device", "server") if model["browser"] else ("server",):
                rows.append(draws(browser, address, model, place))
        rows.append(trains(browser, address))
        browser.close()
    for row in rows:
        print(
            "  ".join(
                f"{k}: {v:.3g}" if isinstance(v, float) else f"{k}: {v}" for k, v in row.items()
            )
        )
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
