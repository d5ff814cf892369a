"""Content-addressed results: a finished entry is complete, verified, and built once."""

from sgm_core.store.manifest import Entry
from sgm_core.store.store import Store

__all__ = ["Entry", "Store"]
