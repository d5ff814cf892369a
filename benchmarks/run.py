"""Runs the benchmarks and writes what docs/performance.md and the README say (make bench).

    python benchmarks/run.py                   all that CHAPTERS names, each in a process of its own
    python benchmarks/run.py steps sampling    those (of LONG too); the results of the others stay
    python benchmarks/run.py --render          nothing is measured: tables and charts once more

A benchmark is a module of this folder with

    measure() -> dict                   runs it; only JSON: numbers, strings, lists, mappings
    tables(result) -> dict[str, str]    its Markdown by name, made from the result alone
    charts(result, folder)              optional: writes PNG files NAME-*.png into the folder

CHAPTERS gives its name and about how many CPU seconds it takes. `results.json` keeps, for each, what
`measure` returned, when and on what machine. In docs/performance.md and README.md the lines between
`<!-- bench: MODULE.TABLE -->` and `<!-- /bench -->` are replaced by that table: the text around them is
written by hand, every number in them is measured. A module that cannot run on this machine (no GPU)
returns {"skipped": "one sentence"}, or has that for a part of its result: what was measured elsewhere
stays, and without it a table is that sentence.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RESULTS, PICTURES = HERE / "results.json", ROOT / "docs" / "images" / "performance"
PAGES = (ROOT / "docs" / "performance.md", ROOT / "README.md")
CHAPTERS = {"steps": 170, "sampling": 150, "gpu": 240, "quality": 500, "samplers": 180}
# Run when they are named, since they train for long.
LONG = {
    "gpu_images": 400,
    "lifecycle": 1500,
    "digits": 500,
    "networks": 2000,
    "fashion": 1500,
    "emoji": 2500,
}
BLOCK = re.compile(r"(<!-- bench: (\w+)\.(\w+) -->\n).*?(<!-- /bench -->)", re.DOTALL)
Results = dict[str, Any]
# What a part of a benchmark returns that needs bfloat16, and of which its table consists.
EMULATED = {"skipped": "Not measured: this processor only emulates bfloat16."}


def machine() -> dict[str, Any]:
    """Processor, cores, load and the release of torch."""
    from importlib.metadata import version

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "")
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return {
        "processor": model or platform.machine(),
        "cores": os.cpu_count(),
        "vectors": [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in flags],
        "torch": version("torch"),
        "load": round(os.getloadavg()[0], 1),
    }


def measured(name: str) -> dict[str, Any]:
    """Run one benchmark in a process of its own: threads and memory settings end with it."""
    code = f"import json, sys; sys.path.insert(0, {str(HERE)!r}); import {name}; "
    code += f"print('\\n' + json.dumps({name}.measure()))"
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    today = datetime.date.today().isoformat()
    seconds = round(time.monotonic() - start)
    result = json.loads(done.stdout.splitlines()[-1])
    return {"result": result, "date": today, "seconds": seconds, "machine": machine()}


def kept(before: dict[str, Any] | None, found: dict[str, Any]) -> dict[str, Any]:
    """Return what was found; a part that this machine cannot measure stays as another one measured it,
    with `elsewhere` telling when and on what."""
    for part, value in found["result"].items():
        old = before["result"].get(part) if before else None
        if before and old and not _skipped(old) and _skipped(value):
            found["result"][part] = old
            place = {"date": before["date"], "machine": before["machine"]}
            found.setdefault("elsewhere", {})[part] = before.get("elsewhere", {}).get(part, place)
    return found


def _skipped(part: object) -> bool:
    return isinstance(part, dict) and "skipped" in part


def rendered(text: str, results: Results) -> str:
    """Put the tables into a page; a block whose benchmark never ran stays as it is."""

    def block(match: re.Match[str]) -> str:
        head, name, table, tail = match.groups()
        if name not in results:
            return match[0]
        result = results[name]["result"]
        body = result.get("skipped") or import_module(name).tables(result)[table]
        return f"{head}{body.strip()}\n{tail}"

    return BLOCK.sub(block, text)


def digits(value: float) -> str:
    """Three digits, or whole from a thousand on."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def markdown(head: list[str], rows: list[list[object]]) -> str:
    """A table: the first column to the left, numbers to the right; floats with three digits."""

    def cell(value: object) -> str:
        return digits(value) if isinstance(value, float) else str(value)

    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(map(cell, row)) + " |" for row in rows)])


def main() -> None:
    """Measure, then render."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CHAPTERS | LONG))
    parser.add_argument("--render", action="store_true", help="measure nothing")
    given = parser.parse_args()
    known = CHAPTERS | LONG
    if unknown := set(given.names) - set(known):
        parser.error(f"no benchmark is named {', '.join(unknown)}; there are {', '.join(known)}")
    results: Results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in [] if given.render else given.names or CHAPTERS:
        print(f"{name}: about {known[name]} CPU seconds", flush=True)
        found = measured(name)
        if words := found["result"].get("skipped"):
            print(words, flush=True)
            if name in results:
                continue
        results[name] = kept(results.get(name), found)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    sys.path.insert(0, str(HERE))
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, entry in results.items():
        draw = getattr(import_module(name), "charts", None)
        if draw is not None and "skipped" not in entry["result"]:
            draw(entry["result"], PICTURES)
    for page in PAGES:
        if page.exists():
            page.write_text(rendered(page.read_text(), results))


if __name__ == "__main__":
    main()
