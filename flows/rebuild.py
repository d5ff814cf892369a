"""Trains one cell again from its lineage; run in a clean clone by `sgm reproduce`.

    python rebuild.py LINEAGE.json DATASET WORK    ->  {"differs", "folder", "weights_sha256"}

Everything is imported from the clone (its folder is first on the path), so this file uses only what
a checkout of any age has: the cell's specification and the trainer.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main(lineage: Path, dataset: Path, work: Path) -> dict[str, Any]:
    """Train the cell of a lineage, unless the clone would train something else."""
    from sgm_core.spec import CellSpec
    from sgm_core.train.run import train_cell

    record = json.loads(lineage.read_text(encoding="utf-8"))
    spec, wanted = CellSpec(**record["spec"]), record["identity"]
    found = spec.identity()
    differs = sorted(key for key, value in found.items() if value != wanted.get(key))
    if differs:
        return {"differs": differs}
    folder = work / spec.key  # another cell's training must not be gone on with
    folder.mkdir(parents=True, exist_ok=True)
    plan = {**spec.as_dict(), "checkpoint_every": 500}
    summary = train_cell(
        plan, dataset, folder, lambda event: print(json.dumps(event), file=sys.stderr)
    )
    return {"differs": [], "folder": str(folder), "weights_sha256": summary["weights_sha256"]}


if __name__ == "__main__":
    print(json.dumps(main(*map(Path, sys.argv[1:4]))))
