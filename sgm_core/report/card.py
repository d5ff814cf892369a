"""The model card of a published version: what it is, how good, how to use it, its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sgm_core.config.experiment import ExperimentConfig
from sgm_core.evaluate.decision import Verdict
from sgm_core.report import provenance
from sgm_core.report.markdown import escape, table, with_interval
from sgm_core.report.results import Outcome, Result, direction, meaning, ranking_metric, read
from sgm_core.report.words import measured, plain

DESCRIPTION = 4900  # characters; a column of MLflow's database holds 5,000
NOT_COVERED = (
    "The intervals cover the sampling of test items and of generated items, not the spread over "
    "training seeds."
)


def model_card(
    name: str,
    version: str | int,
    experiment: ExperimentConfig,
    outcome: Outcome,
    reason: str,
    lineage: Mapping[str, object],
    verdict: Verdict | None = None,
    *,
    pictures: Sequence[str] = ("samples.png", "trajectory.png", "field.png", "nearest.png"),
    alias: str = "champion",
) -> str:
    """Return the card of a registered version as Markdown.

    Args:
        name, version: as registered, e.g. "sgm-digits", 3.
        experiment: the experiment's parameters.
        outcome: the finished cell that is published.
        reason: why this cell was chosen (`Choice.reason`).
        lineage: what the version was made from (keys, hashes, commits), in the order to show.
        verdict: what was decided about it, if it was.
        pictures: files beside the card; those that the evaluation lacks are left out.
        alias: the registry alias that the examples of use name.
    """
    result = read([outcome], experiment)[0]
    data = dict(result.config["data"])
    parts = [
        f"# {escape(name)}, version {escape(version)}\n",
        _summary(result, data, reason),
        _decision(verdict),
        _pictures(outcome, pictures),
        "## How good it is\n",
        _metrics(result, ranking_metric(experiment)),
        _provenance(result),
        "## How to use it\n",
        _usage(name, alias, data),
        "## What it was made from\n",
        _making(result, data),
        "## Limits\n",
        _limits(result, data),
        "## Lineage\n",
        table(["what", "value"], [[escape(k), f"`{_code(v)}`"] for k, v in lineage.items()]),
    ]
    return "\n".join(part for part in parts if part)


def _summary(result: Result, data: Mapping[str, Any], reason: str) -> str:
    return (
        f"A score-based generative model of {_what(data)}: process **{escape(result.process)}**, "
        f"network **{escape(result.net)}**, {int(result.summary['parameters']):,} parameters. "
        f"Why this one: {escape(reason)}\n"
    )


def _decision(verdict: Verdict | None) -> str:
    """The evidence for or against the promotion: gains over the champion, and the floors."""
    if verdict is None:
        return ""
    parts = ["## What was decided\n", f"{escape(verdict.reason)}.\n"]
    gains = sorted(verdict.gains, key=lambda gain: gain != verdict.gain)
    if gains:
        lines = [
            [
                f"**{escape(gain.metric)}**" if gain == verdict.gain else escape(gain.metric),
                measured(gain.new),
                measured(gain.champion),
                f"{gain.value:.1%} ({gain.low:.1%} to {gain.high:.1%})",
            ]
            for gain in gains
        ]
        head = ["metric", "this model", "champion", "gain (paired 95 % interval)"]
        parts += [table(head, lines, "lrrr"), ""]
    floors = [
        [escape(f.name), "yes" if f.holds else "**no**", escape(f.text)] for f in verdict.floors
    ]
    parts.append(table(["floor", "holds", "measured"], floors))
    if verdict.evidence:
        parts += ["\nWhat the decision was made from:\n", _evidence(verdict.evidence)]
    return "\n".join(parts)


def _evidence(evidence: Mapping[str, Mapping[str, Any]]) -> str:
    """A column per model; what both share stands in both."""
    known = [key for made in evidence.values() for key in made]
    lines = [
        [escape(key), *(f"`{_code(_flat(made.get(key, '')))}`" for made in evidence.values())]
        for key in dict.fromkeys(known)
    ]
    names = ["this model" if who == "new" else who for who in evidence]
    return table(["", *names], lines)


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_short(entry)}" for key, entry in value.items()) or "none"
    return _short(value)


def shortened(card: str, most: int = DESCRIPTION) -> str:
    """Return the first sections of a card that fit into a description of the registry."""
    sections, text = card.split("\n## "), ""
    note = "\n*The whole card is README.md among the version's files, and card/ in its run.*\n"
    for place, section in enumerate(sections):
        more = section if place == 0 else f"\n## {section}"
        if len(text) + len(more) + len(note) > most:
            return (text or more[: most - len(note)]) + note
        text += more
    return text


def _provenance(result: Result) -> str:
    lines = provenance.markdown_table(result)
    return f"### {provenance.TITLE}\n\n{lines}" if lines else ""


def _what(data: Mapping[str, Any]) -> str:
    shape = " x ".join(str(size) for size in data["shape"])
    labels = data.get("labels") or []
    kind = "images" if data["kind"] == "images" else "points"
    classes = f" in {len(labels)} classes" if labels else ""
    return f"the dataset `{_code(data['name'])}` ({shape} {kind}{classes})"


def _pictures(outcome: Outcome, names: Sequence[str]) -> str:
    there = [name for name in names if (outcome.evaluation.path / name).is_file()]
    return "".join(f"![{escape(name.split('.')[0])}]({name})\n\n" for name in there)


def _metrics(result: Result, main: str) -> str:
    document = result.document
    rows = [row for row in result.rows if row["split"] == "test"]
    rows.sort(key=lambda row: row["metric"] != main)
    lines = [
        [
            f"**{escape(row['metric'])}**" if row["metric"] == main else escape(row["metric"]),
            with_interval(row["value"], row["low"], row["high"]),
            with_interval(row["floor"], row["floor_low"], row["floor_high"]),
            f"{row['n']:,} / {row['n_reference']:,}",
            escape(f"{meaning(row['metric'])}; {direction(row['metric'])}"),
        ]
        for row in rows
    ]
    head = ["metric", "value (95 % interval)", "real against real", "n / n real", "meaning"]
    return (
        table(head, lines, "lrrrl")
        + "\nTest split, fresh samples: "
        + f"sampler `{_code(document['sampler'])}`, grid `{_code(document['grid'])}`, "
        + f"{document['nfe']} network evaluations a sample, seeds from {document['seed']}, "
        + f"{plain(float(document['seconds_per_sample']))} s a sample. "
        + "“Real against real” is the metric between two sets of real items: by this metric "
        + "a model at that level cannot be told from the data.\n"
    )


def _usage(name: str, alias: str, data: Mapping[str, Any]) -> str:
    shape = ", ".join(["16", *(str(size) for size in data["shape"])])
    labels = data.get("labels") or []
    label = ', "label": 0' if labels else ""  # the registered model takes the class's index
    named = f", each of class {_code(labels[0])}" if labels else ""
    first = "import mlflow"  # of the example; nothing here imports it
    return f"""```python
{first}

model = mlflow.pyfunc.load_model("models:/{_code(name)}@{_code(alias)}")
x = model.predict(None, params={{"n": 16, "seed": 0{label}}})  # ({shape}){named}
```

With the files of this version and no registry:

```python
from sgm_core.model import ScoreModel

model = ScoreModel.load("path/to/model")  # checks the weights' hash; no pickle
x = model.generate(16, seed=0)
```

The same seed gives the same sample at any batch size, up to the rounding of the network. `n`,
`sampler`, `steps`, `seed`, `label` and `guidance` are optional.
"""


def _making(result: Result, data: Mapping[str, Any]) -> str:
    spec = result.outcome.spec
    summary = result.summary
    training = dict(getattr(spec, "training", {}))
    rows = [
        ["data", f"`{_code(data['name'])}`, digest `{_code(getattr(spec, 'data_digest', ''))}`"],
        ["process", _fields(spec.process)],
        ["network", _fields(spec.net)],
        ["training", _fields(training)],
        ["seed", str(spec.seed)],
        ["cost", f"{int(summary['steps']):,} steps, {plain(float(summary['train_seconds']))} s"],
        ["sampling by default", _fields(result.config.get("sampling", {}))],
    ]
    return table(["part", "value"], [row for row in rows if row[1]])


def _limits(result: Result, data: Mapping[str, Any]) -> str:
    only = f"It knows the dataset `{_code(data['name'])}` and nothing else"
    points = [f"{only}; its samples share that data's gaps and biases.", NOT_COVERED]
    if data["kind"] == "images" and not _inception(result):
        points.append(
            "The Frechet and kernel distances use features learned on this dataset; they compare "
            "models of this dataset and cannot be held against figures of other projects."
        )
    copied = result.row("memorised")
    if copied is not None and copied["value"] is not None:
        points.append(
            f"{float(copied['value']):.1%} of its samples lie suspiciously near a training item"
            f"{_ratio(copied)}; do not use it where reproducing one does harm."
        )
    else:
        points.append("How far it reproduces single training items was not measured.")
    return "\n".join(f"* {point}" for point in points) + "\n"


def _ratio(row: Mapping[str, Any]) -> str:
    """How near samples are to the training data, relative to held-out items."""
    ratio = row["details"].get("nn_ratio")
    if ratio is None:
        return ""
    return f" (the median sample is {float(ratio):.2f} times as far from it as a held-out item)"


def _inception(result: Result) -> bool:
    row = result.row("fd")
    return row is not None and "inception" in str(row["details"].get("extractor", ""))


def _fields(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{escape(k)} {escape(_short(v))}" for k, v in values.items())


def _short(value: Any) -> str:
    if isinstance(value, float):
        return plain(value)
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _code(value: object) -> str:
    """Text inside backticks: one line, no backtick, no column mark."""
    return " ".join(str(value).split()).replace("`", "'").replace("|", "/").replace('"', "'")
