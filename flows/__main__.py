"""`python -m flows` is the `sgm` command."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    try:
        from flows.cli import main
    except ModuleNotFoundError as error:
        print(
            f"sgm: the package {error.name} is missing from {sys.executable}; activate the "
            "project's environment (. .venv/bin/activate) or install the project",
            file=sys.stderr,
        )
        sys.exit(1)
    main()
