"""`sgm under`: one model sampled under every process, as a table that grows line by line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flows.choices import as_written
from flows.project import Project
from flows.sampling import open_model
from sgm_core.config.process import PROCESSES
from sgm_core.errors import SgmError, UsageError
from sgm_core.store.files import read_json

# Samples per block of seeds: sizes at which the noise floors are known.
SAMPLES = {"points": 2000, "images": 500}
# What must agree for prepared data to be what a model was trained on.
SAME = ("name", "kind", "shape", "range", "center", "scale", "labels")


def print_under(
    model: str,
    steps: int,
    n: int | None,
    seeds: int,
    sampler: str | None,
    options: Mapping[str, float] | None,
) -> None:
    """Sample a model under every process and print the metrics of its data.

    Args:
        model: see `flows.sampling.find_model`.
        steps: solver steps under each process.
        n: samples per block of seeds (default: 2000 points, 500 images).
        seeds: disjoint blocks of seeds; their deviation is the noise.
        sampler, options: default to the model's.

    Raises:
        UsageError: there is no such model, sampler or option.
        SgmError: its data is not prepared here.
    """
    loaded = open_model(model)
    with as_written():
        settings = loaded.settings(steps=steps, sampler=sampler, options=options).model_dump()
    data, reference = _data_of(Project.find(), loaded.config["data"])
    from sgm_core.data.dataset import load_dataset
    from sgm_core.evaluate.compare import Yardstick
    from sgm_core.evaluate.names import METRICS, main_metric, names_for
    from sgm_core.evaluate.plan import Drawer
    from sgm_core.evaluate.reference import open_reference
    from sgm_core.evaluate.under import measured_under, metrics_under
    from sgm_core.report.under import floors, head, line, notes, verdict

    dataset = load_dataset(data)
    held = open_reference(reference, dataset)
    source, labelled = str(dataset.meta.get("source", "")), bool(dataset.labels)
    of_samples = [
        name for name in names_for(dataset.kind, source, labelled) if METRICS[name].of == "samples"
    ]
    names = metrics_under(of_samples, main_metric(dataset.kind, "auto", source, labelled))
    count = SAMPLES[dataset.kind] if n is None else n
    evaluation = {"samples": count, "seed": 0, "batch": 1000}
    drawer = Drawer(loaded, loaded.config, dataset, held, settings, evaluation, lambda event: None)
    print(
        f"{settings['sampler']}, {steps} steps, {seeds} x {count} samples, {data.name}, validation"
    )
    own = drawer.trained_under
    columns = widths(own, names)
    print_row(head(names), columns)
    wanted = [*PROCESSES] if own in PROCESSES else [own, *PROCESSES]
    rows = []
    yardstick = Yardstick(dataset, held)
    for row in measured_under(drawer, yardstick, names, wanted, count, seeds):
        print_row(line(row, names), columns)
        rows.append(row)
    for text in filter(None, [floors(rows, names)]):
        print_row(text, columns)
    for note in notes(rows):
        print(note)
    print(verdict(rows))


def widths(own: str, names: Sequence[str]) -> list[int]:
    """Return the widths of the table's columns for the process trained under and these metrics."""
    first = max(22, len(f"{own} (trained under)") + 2)
    return [first, 6, *(max(22, len(name) + 2) for name in names)]


def print_row(cells: Sequence[str], widths: Sequence[int]) -> None:
    """Print cells, each padded to its column's width."""
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    print("".join(padded).rstrip(), flush=True)


def _data_of(project: Project, data: Mapping[str, Any]) -> tuple[Path, Path]:
    """Return the prepared data that a model was trained on, and its reference.

    Raises:
        UsageError: this project has no such data.
        SgmError: it has, and they were not made.
    """
    config = project.config()
    names = [*config.active, *config.experiments, *config.datasets]
    for name in dict.fromkeys(names):
        meta = project.prepared(name) / "dataset.json"
        if not meta.is_file():
            continue
        values = read_json(meta)
        if all(values.get(key) == data.get(key) for key in SAME):
            if not (project.reference(name) / "reference.json").is_file():
                raise SgmError(f"{project.reference(name)} is missing; run: sgm reference {name}")
            return meta.parent, project.reference(name)
    raise UsageError(
        f"model: the data it was trained on, {data['name']!r}, is not prepared here; run: "
        "sgm prepare NAME and sgm reference NAME for its experiment"
    )
