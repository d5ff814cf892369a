"""The variants of a published model as a section of its card: size, time, error, change of quality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sgm_core.report.card import DESCRIPTION, shortened
from sgm_core.report.markdown import escape, table

HEADING = "## Variants"


def variants_section(variants: Mapping[str, Any], quality: Mapping[str, Any] | None) -> str:
    """Return Markdown.

    Args:
        variants: name -> {"status", "reason"?, "metrics"}, as bundle.json has them.
        quality: what they were compared in: {"metric", "samples", "fp32", ...}; None: they were not.
    """
    changed = quality is not None
    head = ["variant", "status", "KB", "ms, 1", "ms, 16", "RMSE"]
    head += [f"change of {escape(quality['metric'])}"] if quality is not None else []
    rows = [[escape(name), *_cells(entry, changed)] for name, entry in variants.items()]
    about = (
        "CPU milliseconds of one evaluation of 1 item and of 16; RMSE of the network's output against "
        "fp32 over all noise levels"
    )
    if quality is not None:
        about += (
            f"; gain in {escape(quality['metric'])} over fp32 on {int(quality['samples']):,} samples, "
            "with its paired 95 % interval (negative: worse)"
        )
    reasons = [
        f"{escape(name)} is rejected: {escape(entry['reason'])}."
        for name, entry in variants.items()
        if "reason" in entry
    ]
    parts = [f"{HEADING}\n", table(head, rows, "llrrrrr"), f"{about}.", *reasons]
    return "\n".join(parts) + "\n"


def with_variants(card: str, section: str) -> str:
    """Return a description for the registry that ends with this section, in place of an older one; it
    holds as many of the card's own sections as fit before it."""
    own = card.partition(HEADING)[0].rstrip()
    return f"{shortened(own, DESCRIPTION - len(section) - 2).rstrip()}\n\n{section}"


def _cells(entry: Mapping[str, Any], changed: bool) -> list[str]:
    metrics = entry["metrics"]
    cells = [
        str(entry["status"]),
        f"{metrics['bytes'] / 1024:,.0f}",
        f"{metrics['cpu_ms_1']:.3g}",
        f"{metrics['cpu_ms_16']:.3g}",
        f"{metrics['rmse']:.2g}",
    ]
    gain = [metrics.get(key) for key in ("gain", "gain_low", "gain_high")]
    if not changed:
        return cells
    known = all(value is not None for value in gain)
    return [*cells, "{:+.1%} ({:+.1%} to {:+.1%})".format(*gain) if known else ""]
