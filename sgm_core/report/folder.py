"""A folder that changes in one step.

build NAME.new beside it -> rename NAME to NAME.old -> rename NAME.new to NAME -> drop NAME.old
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from sgm_core.store.files import fsync_dir, os_errors


@contextlib.contextmanager
def swapped(out: Path) -> Iterator[Path]:
    """Give an empty folder to fill; it takes the place of `out` when the block ends without error.

    A killed run leaves `out` as it was or, if killed between the two renames, absent; never half
    written. The next run starts afresh. Hidden files of the old folder, such as the `.gitignore`
    that DVC keeps there, are carried over; everything else in it is replaced.

    Raises:
        SgmError: the folder cannot be written, or the disk is full; `out` is as it was.
    """
    new, old = out.with_name(f".{out.name}.new"), out.with_name(f".{out.name}.old")
    with os_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        try:
            yield new
            for hidden in sorted(out.glob(".*")) if out.is_dir() else []:
                if hidden.is_file() and not (new / hidden.name).exists():
                    shutil.copy2(hidden, new / hidden.name)
            shutil.rmtree(old, ignore_errors=True)
            if out.exists():
                out.rename(old)
            new.rename(out)
        finally:
            shutil.rmtree(new, ignore_errors=True)
        fsync_dir(out.parent)
        shutil.rmtree(old, ignore_errors=True)
