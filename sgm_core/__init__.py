"""Score-based generative models: processes, networks, objectives, samplers, metrics.

`from sgm_core import ScoreModel` is the small face; torch is imported only when it is touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sgm_core.model import ScoreModel

__all__ = ["ScoreModel"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "ScoreModel":
        from sgm_core.model import ScoreModel

        return ScoreModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
