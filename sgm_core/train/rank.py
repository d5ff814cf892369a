"""One rank of a training that spans devices: `python -m sgm_core.train.rank`, started by its group.

The job comes on stdin: {spec, dataset, work, world, meeting}. stdout carries events as JSON lines, an
error at the end among them ("unexpected": nothing that we raised; it may only tell that another rank
is gone). It ends with its parent.
"""

from __future__ import annotations

import json
import os
import sys
import traceback

from sgm_core.ending import die_with_parent
from sgm_core.errors import SgmError
from sgm_core.train.group import PARENT, RANK
from sgm_core.train.run import train_rank
from sgm_core.worker import private_stdout


def main() -> int:
    """Run one rank; return its exit code."""
    emit = private_stdout()
    die_with_parent(int(os.environ.pop(PARENT)))
    job, number = json.loads(sys.stdin.read()), int(os.environ[RANK])
    try:
        train_rank(job, number, emit)
    except SgmError as error:
        said = {"message": str(error), "exit_code": error.exit_code, "unexpected": False}
        emit({"event": "error", **said})
        return error.exit_code
    except Exception as error:
        traceback.print_exc()
        text = " ".join(f"rank {number}: {type(error).__name__}: {error}".split())
        emit({"event": "error", "message": text, "exit_code": 1, "unexpected": True})
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not through the destructors of a group whose other ranks may be gone.
    os._exit(code)
