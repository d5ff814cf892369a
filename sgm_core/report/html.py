"""report.html: the whole of an experiment in one file that works offline, for light and dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

from sgm_core.config.experiment import ExperimentConfig
from sgm_core.report import provenance, rungs, sampler_table, under
from sgm_core.report.choice import FAILED, LEFT_OUT, Choice
from sgm_core.report.content import Content
from sgm_core.report.leaderboard import floor_of
from sgm_core.report.markdown import RANKED, with_interval
from sgm_core.report.page import image, image_by_scheme, page
from sgm_core.report.results import SAMPLERS_TITLE, Result, direction, meaning, number
from sgm_core.report.scene import CELLS, DARK, LIGHT, SIDE_BY_SIDE, Pictures
from sgm_core.report.words import measured, plain
from sgm_core.search import plan_in_words

CHARTS = {
    "heatmap.png": "the ranking metric by process and network",
    "nfe.png": "quality against network evaluations per sample",
    "training_time.png": "quality against training time",
    "loss.png": "training loss",
}
SEEDS = "the same seeds in the best cells, side by side"


def report_page(content: Content, pictures: Pictures) -> str:
    """Return the page.

    Args:
        content: what is reported.
        pictures: of every part (see sgm_core.report.drawing).
    """
    experiment, results, frame, choice = (
        content.experiment, content.results, content.frame, content.choice
    )  # fmt: skip
    best = next((r for r in results if r.name == choice.cell), None)
    parts = [
        _head(content, best),
        _since(frame),
        _table(frame, choice),
        rungs.html_sections(frame, content.cheap, results),
        _samples(content, pictures[CELLS]),
        _best_pictures(best),
        under.html_section(results, choice.cell),
        "<h2>The grid in charts</h2>",
        *(_chart(pictures, name, words) for name, words in CHARTS.items()),
        _samplers(content, pictures),
        _excluded(choice),
        provenance.html_section(best),
        _facts(experiment, results),
    ]
    return page(f"{experiment.name} · report", "\n".join(part for part in parts if part))


def _chart(pictures: Pictures, name: str, words: str) -> str:
    picture = image_by_scheme(pictures[LIGHT][name], pictures[DARK][name], words)
    return f'<figure class="card chart">{picture}</figure>'


def _samplers(content: Content, pictures: Pictures) -> str:
    table = sampler_table.html_section(content.samplers, content.metric)
    if not table:
        return ""
    words = "quality against network evaluations under each sampler"
    return f"<h2>{SAMPLERS_TITLE}</h2>{_chart(pictures, 'samplers.png', words)}{table}"


def _since(frame: pd.DataFrame) -> str:
    """What is new since the last report."""
    since = [str(text) for text in frame.attrs.get("since") or []]
    if not since:
        return ""
    rows = "".join(f"<li>{escape(text)}</li>" for text in since)
    return f"<h2>Since the last report</h2><ul>{rows}</ul>"


def _head(content: Content, best: Result | None) -> str:
    experiment, frame, choice = content.experiment, content.frame, content.choice
    main = str(frame.attrs["metric"])
    # A pair that went on has a row for its full training only, one that did not for its cheap one.
    total = int((frame["status"] != LEFT_OUT).sum()) + sum(map(len, content.cheap))
    done = total - int((frame["status"] == FAILED).sum())
    title = (
        f"<header><h1>{escape(experiment.name)}</h1>"
        f'<p class="quiet">{done} of {total} cells finished on the dataset '
        f"{escape(experiment.dataset)}: {escape(', '.join(experiment.processes))} with "
        f"{escape(', '.join(experiment.nets))}.</p>"
    )
    if best is None:
        reason = f'<p class="reason">{escape(choice.reason)}</p>'
        return f'{title}<div class="card"><div class="best"></div>{reason}</div></header>'
    row = frame[frame["cell"] == best.name].iloc[0]
    low, high = number(row[f"{main}_low"]), number(row[f"{main}_high"])
    span = f"95 %: {measured(low)} to {measured(high)}" if math.isfinite(low) else "test split"
    facts = [
        ("name", "best cell", best.name, f"{best.process} with {best.net}"),
        ("", f"{main} on the test split", _measured(row[main]), span),
        ("", "real against real", _measured(row[f"{main}_floor"]), meaning(main)),
        ("", "evaluations a sample", _number(row["nfe"]), best.document.get("sampler", "")),
        ("", "training", f"{_number(row['train_seconds'])} s", f"{row['parameters']:,} parameters"),
    ]
    boxes = "".join(
        f'<div class="{kind}"><small>{escape(label)}</small><b>{escape(value)}</b>'
        f"<small>{escape(str(note))}</small></div>"
        for kind, label, value, note in facts
    )
    return (
        f'{title}<div class="card"><div class="best">{boxes}</div>'
        f'<p class="reason quiet">{escape(choice.reason)}</p></div></header>'
    )


def _table(frame: pd.DataFrame, choice: Choice) -> str:
    main, metrics = str(frame.attrs["metric"]), list(frame.attrs["metrics"])
    head = [
        _th("rank", "ascending"),
        _th("cell", kind="words name"),
        _th(f"{main}, validation"),
        *(_th(metric, hint=f"{meaning(metric)}; {direction(metric)}") for metric in metrics),
        _th("NFE"),
        _th("s / sample"),
        _th("training s"),
        _th("parameters"),
        _th("status", kind="words"),
    ]
    rows = []
    for row in frame.to_dict("records"):
        kind = "chosen" if row["cell"] == choice.cell else "out" if pd.isna(row["rank"]) else ""
        name = escape(str(row["cell"]))
        cells = [
            _td(row["rank"]),
            f'<td class="words name" data-v="{name}">{name}</td>',
            _td(row[f"{main}_validation"], math.nan),
            *(_td(row[m], row[f"{m}_low"], row[f"{m}_high"]) for m in metrics),
            *(_td(row[c]) for c in ("nfe", "seconds_per_sample", "train_seconds")),
            _td(row["parameters"], whole=True),
            _status(str(row["status"])),
        ]
        rows.append(f'<tr class="{kind}">{"".join(cells)}</tr>')
    floors = "".join(f"<td>{_measured(floor_of(frame, m))}</td>" for m in metrics)
    foot = f'<tr><td></td><td class="words name">real against real</td><td></td>{floors}'
    note = str(frame.attrs.get("note", ""))
    return (
        f'<h2>Leaderboard</h2><p class="quiet">{escape(RANKED)} Click a heading to sort.</p>'
        f'<div class="card scroll"><table class="sortable"><thead><tr>{"".join(head)}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody><tfoot>{foot}{'<td></td>' * 5}</tr></tfoot></table></div>"
        + (f'<p class="quiet">{escape(note)}</p>' if note else "")
    )


def _samples(content: Content, pictures: Mapping[str, bytes]) -> str:
    main, choice, count = content.metric, content.choice, len(content.results)
    shown = [result for result in content.ranked if result.name in pictures]
    figures = [
        f'<figure class="card{" chosen" if result.name == choice.cell else ""}">'
        f"{image(pictures[result.name], f'samples of {result.name}')}"
        f"<figcaption><b>{escape(result.name)}</b>"
        f"<span>{escape(main)} {_measured(result.value(main))}</span></figcaption></figure>"
        for result in shown
    ]
    if not figures:
        return ""
    more = f" The first {len(shown)} of {count}." if count > len(shown) else ""
    return (
        "<h2>Samples of every cell</h2><p class='quiet'>The same seeds in every cell: each picture "
        f"starts from the same noise. Best first.{more}</p>"
        f'<div class="cells">{"".join(figures)}</div>'
        f'<figure class="card dark">{image(pictures[SIDE_BY_SIDE], SEEDS)}</figure>'
    )


def _best_pictures(best: Result | None) -> str:
    if best is None:
        return ""
    found = []
    for name, title, words in (
        ("samples.png", "Real and generated", "real items beside those of the best cell"),
        ("trajectory.png", "From noise to data", "states and predictions by noise level"),
        ("field.png", "The score field", "the direction in which the density rises"),
        (
            "nearest.png",
            "Closest to the training data",
            "the samples that are nearest to a training image, each above that image; s is the distance "
            "relative to how far that image is from its own neighbours",
        ),
    ):
        file = best.outcome.evaluation.path / name
        if file.is_file():
            found.append(
                f'<h2>{title}</h2><p class="quiet">{escape(best.name)}: {words}.</p>'
                f'<figure class="card dark">{image(file.read_bytes(), words)}</figure>'
            )
    return "\n".join(found)


def _excluded(choice: Choice) -> str:
    if not choice.excluded:
        return ""
    rows = "".join(
        f'<tr><td class="words">{escape(cell)}</td><td class="words wide">{escape(why)}</td></tr>'
        for cell, why in choice.excluded.items()
    )
    return f"<h2>Not ranked</h2><div class='card scroll'><table><tbody>{rows}</tbody></table></div>"


def _facts(experiment: ExperimentConfig, results: Sequence[Result]) -> str:
    """How the numbers came about, so that they can be made again."""
    facts: list[tuple[str, Any]] = [("dataset", experiment.dataset)]
    if results:
        document = results[0].document
        facts += [("data digest", getattr(results[0].outcome.spec, "data_digest", ""))]
        facts += [("seeds of the samples", f"from {document.get('seed', '')}")]
        facts += [("noise levels", f"{document.get('grid', '')} grid")]
    facts += [
        ("training", _fields(experiment.training.model_dump())),
        ("sampling", _fields(experiment.sampling.model_dump())),
        ("evaluation", _fields(experiment.evaluation.model_dump())),
        ("selection", _fields(experiment.selection.model_dump())),
        ("search", plan_in_words(experiment)),
    ]
    rows = "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in facts)
    return f'<h2>How it was made</h2><dl class="card">{rows}</dl>'


def _fields(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _th(name: str, sort: str = "", kind: str = "", hint: str = "") -> str:
    order = f' aria-sort="{sort}"' if sort else ""
    title = f' title="{escape(hint)}"' if hint else ""
    return (
        f'<th scope="col" class="{kind}"{order}{title}>'
        f'<button type="button">{escape(name)}</button></th>'
    )


def _td(value: Any, low: Any = None, high: Any = None, whole: bool = False) -> str:
    if pd.isna(value):
        return '<td data-v="">-</td>'
    shown = f"{int(value):,}" if whole else _number(value)
    span = ""
    if low is not None:
        shown, _, span = with_interval(value, low, high).rstrip(")").partition(" (")
    small = f"<small>{escape(span)}</small>" if span else ""
    return f'<td data-v="{float(value)!r}">{shown}{small}</td>'


def _status(status: str) -> str:
    kind = "words" if status == "ok" else "words bad"
    return f'<td class="{kind}" data-v="{escape(status)}">{escape(status)}</td>'


def _number(value: Any) -> str:
    return "-" if pd.isna(value) or not math.isfinite(float(value)) else plain(float(value))


def _measured(value: Any) -> str:
    return with_interval(value, None, None)
