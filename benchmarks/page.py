"""How smoothly the studio's page runs: first picture, steps, training, and the largest gap of frames.

    python benchmarks/page.py [--folder BUNDLES]      default: the registry's champions

For every model, drawn on this device and by the server (2,000 of a model of points): seconds from opening
the address to the first frame on the canvas and to the last one, milliseconds a step as the page tells,
and how long the page did not answer: the largest time between two animation frames from the first one on,
and the longest task of the page's own thread in CPU time. Then Learn: training steps a second, and a CPU
second of the Worker (the samples that it draws beside are in both), and the same two.

Needs Debian's package chromium and what the tests need. Gaps and steps a second are wall time: on a busy
machine they tell of the load, which CPU times do not.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from studio_browser import launched  # noqa: E402
from studio_server import serving  # noqa: E402

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
WORKER = "DedicatedWorker thread"
MANY = 2000  # points of a cloud
LAST = "() => / · (server|this device)$/.test(document.querySelector('.facts')?.textContent)"


@contextmanager
def watched(browser: Browser, page: Page, row: dict[str, Any]) -> Iterator[None]:
    """Note the largest gap between frames, and the longest task of the page's thread in CPU time."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "trace.json")
        browser.start_tracing(page=page, path=file, categories=["toplevel", "__metadata"])
        page.evaluate("gap.largest = 0")
        yield
        row["largest gap ms"] = page.evaluate("gap.largest")
        browser.stop_tracing()
        events = json.loads(file.read_text())["traceEvents"]
    longest = max(tasks(events, "CrRendererMain"))
    row |= {"longest task CPU ms": longest, "Worker CPU s": sum(tasks(events, WORKER)) / 1000}


def tasks(events: list[dict[str, Any]], thread: str) -> list[float]:
    """Return the CPU milliseconds of every task of the threads with this name."""
    named = [e for e in events if e["name"] == "thread_name" and e["args"]["name"] == thread]
    own = {(e["pid"], e["tid"]) for e in named}
    return [
        e["tdur"] / 1000
        for e in events
        if "tdur" in e and e["name"].endswith("RunTask") and (e["pid"], e["tid"]) in own
    ]


def draws(
    browser: Browser, address: str, model: dict[str, Any], place: str, n: int
) -> dict[str, Any]:
    """Measure one picture."""
    page = opened(browser)
    begin = time.perf_counter()
    name = f"model={model['name']}&version={model['version']}&seed=1&n={n}&on={place}"
    page.goto(f"{address}/#create?{name}")
    page.wait_for_function(
        "() => /^(Step|\\d+ steps) /.test(document.querySelector('.facts')?.textContent)"
    )
    row = {"model": f"{model['name']}, {place}, n={n}"}
    first = time.perf_counter() - begin
    with watched(browser, page, row):
        page.wait_for_function(LAST)
        last = time.perf_counter() - begin
    facts = str(page.locator(".facts").text_content())
    page.close()
    step = next(part for part in facts.split(" · ") if "per step" in part)
    step = step.removesuffix(" per step")
    return row | {"first frame s": first, "last frame s": last, "step": step}


def trains(browser: Browser, address: str) -> dict[str, Any]:
    """Measure the lab's training."""
    page = opened(browser)
    page.goto(f"{address}/#learn?step=3")
    count = (
        "() => Number(/after (\\d+)/.exec(document.querySelector('.loss canvas').ariaLabel)?.[1])"
    )
    page.wait_for_function(f"{count} > 20")
    row: dict[str, Any] = {}
    with watched(browser, page, row):
        before, begin = page.evaluate(count), time.perf_counter()
        page.wait_for_timeout(1000 * TRAINING)
        after, seconds = page.evaluate(count), time.perf_counter() - begin
    page.close()
    each = {"a CPU s of the Worker": (after - before) / row["Worker CPU s"]}
    return {"training steps a s": (after - before) / seconds} | each | row


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
    folder = ["--folder", str(given.folder)] if given.folder else []
    with serving(*folder) as studio, sync_playwright() as playwright:
        browser = launched(playwright)
        models = studio.json("/api/models")["models"]
        for model in [m for m in models if "champion" in m["aliases"]]:
            for place in ("device", "server") if model["browser"] else ("server",):
                n = MANY if model["kind"] == "points" else 1
                rows.append(draws(browser, studio.address, model, place, n))
        rows.append(trains(browser, studio.address))
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
