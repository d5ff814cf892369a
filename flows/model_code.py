"""The published model for MLflow, as code and plain files: loading it executes no pickle.

This file is stored with every registered version (models-from-code) together with a copy of
`sgm_core`; the weights are safetensors. Loading therefore needs no checkout:

    model = mlflow.pyfunc.load_model("models:/sgm-digits@champion")
    model.predict(None, params={"n": 4, "sampler": "ddim", "steps": 10, "seed": 3, "label": 7})

returns samples in the data's own range: (n, d) for points, (n, C, H, W) for images. Every
parameter is optional. MLflow checks the types against the signature; ranges and names are checked
here. MLflow drops a parameter that the signature does not have with only a warning, before the
model is asked; since a misspelt `step` would silently sample with the default, the names that the
caller wrote are read from the call itself (see `_asked`).
"""

from __future__ import annotations

import inspect
from typing import Any

import mlflow
from mlflow.pyfunc import PyFuncModel
from mlflow.pyfunc.model import PythonModel

MAX_N = 1_000_000
MAX_STEPS = 100_000

# name -> (MLflow type, default, meaning); None stands for the model's own setting.
PARAMETERS: dict[str, tuple[str, Any, str]] = {
    "n": ("long", 16, "how many samples"),
    "sampler": ("string", None, "name of the sampler"),
    "steps": ("long", None, "network evaluations per sample"),
    "seed": ("long", 0, "sample i uses seed + i"),
    "label": ("long", None, "index of the class (conditional models); none: all classes in turn"),
    "guidance": ("double", None, "classifier-free guidance, 1 for none"),
}


class SampleModel(PythonModel):
    """A `sgm_core.model.ScoreModel` behind MLflow's interface."""

    # There is no input whose type MLflow could check; without this it warns on every load.
    _skip_type_hint_validation = True

    def load_context(self, context: Any) -> None:
        """Load the weights; their SHA-256 is verified."""
        from sgm_core.model import ScoreModel

        self.model = ScoreModel.load(context.artifacts["model"])

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Draw samples; `model_input` is not used.

        Raises:
            ValueError: a parameter is unknown or out of range; one sentence.
        """
        from sgm_core.errors import SgmError

        given = {k: v for k, v in {**(params or {}), **_asked()}.items() if v is not None}
        try:
            self._check(given)
            n = given.pop("n", PARAMETERS["n"][1])
            return self.model.sample(n, **given).x
        except SgmError as error:
            raise ValueError(str(error)) from None

    def _check(self, given: dict[str, Any]) -> None:
        from sgm_core.errors import UsageError, unknown

        for name in given:
            if name not in PARAMETERS:
                raise unknown("parameter", name, PARAMETERS)
        ranges = {
            "n": (1, MAX_N),
            "steps": (1, MAX_STEPS),
            "seed": (0, 2**62),
            "guidance": (0, 100),
        }
        for name, (low, high) in ranges.items():
            if name in given and not low <= given[name] <= high:
                raise UsageError(
                    f"{name} = {given[name]!r} is not valid: give a number from {low} to {high}"
                )


def _asked() -> dict[str, Any]:
    """Return the parameters of the running `PyFuncModel.predict` that the signature does not have.

    Read-only, and empty whenever the model is called in another way.
    """
    frame = inspect.currentframe()
    try:
        while frame is not None:
            if frame.f_code is PyFuncModel.predict.__code__:
                params = frame.f_locals.get("params")
                names = params if isinstance(params, dict) else {}
                return {str(k): v for k, v in names.items() if k not in PARAMETERS}
            frame = frame.f_back
        return {}
    finally:
        del frame


mlflow.models.set_model(SampleModel())
