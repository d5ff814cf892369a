"""A cell's dataset as an input of its MLflow run: name, digest, source, shape, DVC's md5."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flows.lineage import data_tags
from flows.project import Project
from sgm_core.store.files import read_json

if TYPE_CHECKING:
    from sgm_core.cell import Job

DIGEST_CHARACTERS = 36  # MLflow stores no more; the whole digest is a tag


def dataset_input(project: Project, job: Job) -> Any:
    """Return the `mlflow.entities.DatasetInput` of a job's prepared dataset."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    meta = read_json(job.dataset / "dataset.json")
    profile = {key: meta.get(key) for key in ("kind", "shape", "range", "counts", "labels")}
    source = {"uri": str(job.dataset), "provenance": meta.get("provenance", "")}
    dataset = Dataset(
        name=str(meta["name"]),
        digest=job.spec.data_digest[:DIGEST_CHARACTERS],
        source_type="local",
        source=json.dumps(source),
        profile=json.dumps(profile),
    )
    tags = {"mlflow.data.context": "training", "sgm.data_digest": job.spec.data_digest}
    tags |= data_tags(project, job.spec.experiment)
    return DatasetInput(dataset, [InputTag(k, v) for k, v in tags.items()])
