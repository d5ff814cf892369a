"""Draws the figures of docs/control.md, fills in its measured blocks, and runs its examples.

    sgm run digits fashion_mnist emoji                   train the three champions, once
    python docs/make_control.py [--project DIR]          figures and tables (minutes on one core)
    python docs/make_control.py --check                  run every command and snippet of the page

What a missing champion would have shown is left as it is, and the missing one is named.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import control_measured as numbers
import control_pictures as pictures
from control_champion import NAMES, Champion, champions

from flows.project import Project

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "control.md"


def fill(name: str, words: str, missing: Iterable[str] = ()) -> None:
    """Replace what stands between `<!-- measured: NAME -->` and `<!-- end -->`.

    Rows of the table there about champions that are missing now are kept.
    """
    before, start, rest = PAGE.read_text("utf-8").partition(f"<!-- measured: {name} -->\n")
    old, end, after = rest.partition("<!-- end -->")
    assert start and end, f"{PAGE.name} has no block {name}"
    firsts = tuple(f"| `sgm-{champion}` |" for champion in missing)
    words += "".join(line for line in old.splitlines(keepends=True) if line.startswith(firsts))
    PAGE.write_text(f"{before}{start}\n{words}\n{end}{after}", "utf-8")
    print(f"{name}\n{words}")


def make(found: dict[str, Champion]) -> None:
    """Draw and measure whatever can be."""
    pictures.IMAGES.mkdir(parents=True, exist_ok=True)
    pictures.write_inputs(found)
    digits, garments, emoji = (found.get(name) for name in NAMES)
    pictures.draw_paths(digits, garments)
    fill("modes", numbers.measure_modes())
    if digits:
        pictures.draw_guidance(digits)
        pictures.draw_completions(digits, (2, 3, 5, 6, 8, 9), 9)
        pictures.draw_edits(digits, digits.first_of(2, 3, 5, 8), 8)
        fill("guidance", numbers.measure_guidance(digits))
        fill("completions", numbers.measure_completions(digits))
        fill("edits", numbers.measure_edits(digits))
        fill("cost", numbers.measure_cost(digits))
    if garments:
        pictures.draw_completions(garments, (0, 9, 3, 7, 8, 5), 3)
        pictures.draw_edits(garments, garments.first_of(0, 3, 8, 9), 3)
    if emoji:
        pictures.draw_colours(emoji)
        fill("colours", numbers.measure_colours(emoji))
    missing = [name for name in NAMES if name not in found]
    fill("models", numbers.measure_models(found), missing)
    fill("codes", numbers.measure_codes(found), missing)


def check(project: Project, found: dict[str, Champion]) -> int:
    """Run every command and snippet of the page as it stands; return how many failed."""
    page = PAGE.read_text("utf-8")
    blocks = re.findall(r"^```(console|python)\n(.*?)^```", page, re.S | re.M)
    missing = [f"sgm-{name}@" for name in NAMES if name not in found]
    blocks = [b for b in blocks if not any(name in b[1] for name in missing)]
    jobs = [["python", "-c", "".join(body for kind, body in blocks if kind == "python")]]
    for line in re.findall(r"^\$ (.*)$", "".join(b for k, b in blocks if k == "console"), re.M):
        jobs.append(shlex.split(line))
    known = {"python": [sys.executable], "sgm": [sys.executable, "-m", "flows"]}
    with tempfile.TemporaryDirectory() as folder:
        for name, root in (("params.yaml", project.root), ("data", project.root), ("docs", ROOT)):
            (Path(folder) / name).symlink_to(root / name)
        places = {"SGM_HOME": str(project.state), "PYTHONPATH": str(ROOT)}
        failed = 0
        for job in jobs:
            shown = "the snippets, one after another" if job[0] == "python" else shlex.join(job)
            print("$", shown, flush=True)
            command = [*known[job[0]], *job[1:]]
            failed += subprocess.run(command, cwd=folder, env=os.environ | places).returncode != 0
    print(f"{len(jobs)} runs, {failed} failed")
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--project", type=Path, default=ROOT, help="folder with params.yaml")
    parser.add_argument("--check", action="store_true", help="run the page's examples instead")
    given = parser.parse_args()
    os.chdir(given.project)
    project = Project.find()
    found = champions(project)
    if given.check:
        sys.exit(check(project, found) > 0)
    make(found)


if __name__ == "__main__":
    main()
