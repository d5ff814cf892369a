"""Data: raw files in, one verified folder out, the same layout whatever the source.

    raw --reader--> Raw --check, deduplicate, split--> train | validation | test + dataset.json

A reader (`swiss_roll`, `digits`, `folder`, ...) is one function `read(params, root) -> Raw`, named
by its parameters' `target`. Everything after it is common: `prepare` writes the folder,
`load_dataset` reads it back and checks every byte. No torch is imported here.
"""

from __future__ import annotations

from sgm_core.data.add import add_dataset
from sgm_core.data.dataset import Dataset, Split, load_dataset
from sgm_core.data.prepare import inspect, prepare
from sgm_core.data.raw import Raw
from sgm_core.data.snippet import experiment_snippet

__all__ = [
    "Dataset",
    "Raw",
    "Split",
    "add_dataset",
    "experiment_snippet",
    "inspect",
    "load_dataset",
    "prepare",
]
