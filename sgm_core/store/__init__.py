"""Content-addressed results: a finished entry is complete, verified, and built once."""

from sgm_core.store.store import Entry, Store

__all__ = ["Entry", "Store"]
