"""Writes the measured parts of docs/evaluation.md: what the rule of promotion does on nights that are
simulated, and how much noise two trained cells share.

python docs/make_evaluation.py            the simulation (about a minute) and its chart
python docs/make_evaluation.py --cells    also the pairing of the project's own finished cells
"""

from __future__ import annotations

import sys
import tempfile
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from sgm_core.evaluate.nights import Nights
from sgm_core.report import markdown
from sgm_core.report.canvas import LIGHT, chart, figure, heading, save, text

DOCS = Path(__file__).parent
PAGE = DOCS / "evaluation.md"
NIGHTS, NULL_NIGHTS = 400, 1000
GAINS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
CASES = {
    "0.3 of the samples' noise, 0.9 of the items' noise": (0.3, 0.9),
    "nothing of the samples' noise, 0.9 of the items' noise": (0.0, 0.9),
    "nothing at all": (0.0, 0.0),
}
SEEDS, SAMPLES = 6, {"points": 4000, "images": 500}
SHOWN = ("sliced_w2", "local", "off", "fd", "fd_inf", "kid", "agreement")


def nights() -> str:
    """Simulate, draw the chart, and return the table."""
    rows, curves = [], {}
    for words, (samples, items) in CASES.items():
        series = Nights(shared_samples=samples, shared_items=items)
        null = series.promoted(NULL_NIGHTS, 0.0) / NULL_NIGHTS
        found = [series.promoted(NIGHTS, g * series.error) / NIGHTS for g in GAINS]
        curves[words] = [null, *found]
        rows.append([words, f"{null:.1%}", *(f"{share:.0%}" for share in found)])
    drawn = figure(10.0, 5.0, LIGHT)
    heading(drawn, LIGHT, "Nights on which a better model is promoted",
            "true gain in standard errors of a cell's own evaluation", 0.02)  # fmt: skip
    axes = drawn.add_axes((0.08, 0.14, 0.52, 0.70))
    chart(axes, LIGHT, xlabel="true gain", ylabel="share of nights")
    for place, (words, shares) in enumerate(curves.items()):
        axes.plot([0.0, *GAINS], shares, color=LIGHT.colour(place), marker="o", linewidth=2)
        text(drawn, 0.63, 0.76 - 0.09 * place, "●", LIGHT, colour=LIGHT.colour(place), size=13)
        for line, part in enumerate(words.split(", ")):
            text(drawn, 0.655, 0.762 - 0.09 * place - 0.035 * line, part, LIGHT, size=9)
    axes.axhline(0.025, color=LIGHT.muted, linewidth=0.8)
    save(drawn, DOCS / "images" / "evaluation" / "power.png")
    head = ["two models share", "no gain", *(f"{g:g} s.e." for g in GAINS)]
    return markdown.table(head, rows, "l" + "r" * (1 + len(GAINS)))


def pairing() -> str:
    """Score the finished cells of the active experiments on common seeds; return the table."""
    from flows.project import Project
    from flows.searching import looked_up
    from sgm_core.evaluate.evidence import load_score
    from sgm_core.evaluate.score import score
    from sgm_core.store.files import read_json

    project = Project.find()
    rows = []
    for experiment in project.config().active:
        searched = looked_up(project, experiment)
        cells = list(searched.finals.values())[::2][:3]
        job = next(iter(searched.jobs.values()))
        kind = str(read_json(job.dataset / "dataset.json")["kind"])
        scores = []
        for outcome in cells:
            for seed in range(SEEDS):
                evaluation = {
                    **job.evaluation, "samples": SAMPLES[kind], "seed": 10**6 * (seed + 1),
                    "splits": ["test"], "bootstrap": 200, "likelihood_items": 0,
                }  # fmt: skip
                with tempfile.TemporaryDirectory() as out:
                    folders = outcome.cell.path, job.dataset, job.reference
                    score(*folders, job.sampling, evaluation, Path(out), lambda event: None)
                    scores.append(load_score(Path(out)))
        grouped = [scores[i * SEEDS : (i + 1) * SEEDS] for i in range(len(cells))]
        for metric in SHOWN:
            if metric in grouped[0][0].replicates:
                rows.append([experiment, metric, *correlations(grouped, metric)])
    head = ["experiment", "metric", "over seeds", "over resamples of both sides"]
    return markdown.table(head, rows, "llrr")


def correlations(grouped: list[list[Any]], metric: str) -> list[str]:
    """Mean correlation between models: of values over seeds, of replicates within a seed."""
    values = [[s.value(metric) for s in model] for model in grouped]
    pairs = list(combinations(range(len(grouped)), 2))
    seeds = np.mean([np.corrcoef(values[a], values[b])[0, 1] for a, b in pairs])
    inside = [
        np.corrcoef(grouped[a][k].replicates[metric], grouped[b][k].replicates[metric])[0, 1]
        for a, b in pairs
        for k in range(SEEDS)
    ]
    return [f"{seeds:.2f}", f"{np.mean(inside):.2f}"]


def put(name: str, table: str) -> None:
    """Replace the part of the page between the marks of this name."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(f"<!-- {name} -->\n")
    _, _, after = rest.partition(f"<!-- /{name} -->")
    PAGE.write_text(f"{before}<!-- {name} -->\n{table}<!-- /{name} -->{after}", encoding="utf-8")


def main() -> None:
    """Write the parts."""
    put("nights", nights())
    if "--cells" in sys.argv[1:]:
        put("pairing", pairing())


if __name__ == "__main__":
    main()
