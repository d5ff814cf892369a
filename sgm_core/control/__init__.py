"""Controllable generation: sampling given a linear measurement, and paths between samples.

Operators (Mask, Gray, Downsample) say what is known, `Conditioned` turns a denoiser into the one of
the conditional law, `paths` has encoding, interpolation and SDEdit on states; `api` does all of it
with a `ScoreModel` in the data's own range.
"""

from __future__ import annotations

from sgm_core.control.conditioned import Conditioned
from sgm_core.control.operators import Downsample, Gray, Mask, Operator

__all__ = ["Conditioned", "Downsample", "Gray", "Mask", "Operator"]
