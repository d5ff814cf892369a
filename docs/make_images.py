"""Draws the README's pictures from the champions in the registry's store: run after `make repro`.

python docs/make_images.py
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd

from sgm_core.data import load_dataset
from sgm_core.model import ScoreModel
from sgm_core.report.figures import hero

ROOT = Path(__file__).resolve().parents[1]
IMAGES = Path(__file__).parent / "images"


def best(experiment: str) -> tuple[str, str]:
    """Return name and cell key of the best cell of an experiment."""
    table = pd.read_parquet(ROOT / "reports" / experiment / "leaderboard.parquet")
    first = table.iloc[0]
    return str(first["cell"]), str(first["cell_key"])


def main() -> None:
    """Write hero.png, digits.png, rolls.png, and evaluation/ from the reports."""
    (IMAGES / "evaluation").mkdir(parents=True, exist_ok=True)
    name, key = best("swiss_roll")
    folder = ROOT / ".sgm" / "store" / "cells" / key
    model = ScoreModel.load(folder)
    hero(model, load_dataset(ROOT / "data" / "prepared" / "swiss_roll"), IMAGES / "hero.png")
    cells = ROOT / "reports" / "swiss_roll" / "cells"
    shutil.copyfile(cells / name / "samples.png", IMAGES / "rolls.png")
    name, _ = best("digits")
    reports = ROOT / "reports"
    for file in (
        reports / "swiss_roll" / "heatmap.png",
        reports / "digits" / "cells" / name / "nearest.png",
    ):
        shutil.copyfile(file, IMAGES / "evaluation" / file.name)
    shutil.copyfile(
        ROOT / "reports" / "digits" / "cells" / name / "samples.png", IMAGES / "digits.png"
    )
    print(json.dumps({path.name: path.stat().st_size for path in sorted(IMAGES.glob("*.png"))}))


if __name__ == "__main__":
    main()
