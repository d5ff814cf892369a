"""schemathesis against the OpenAPI document of a real server: it finds nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from studio_server import images, points, serving, write

CONFIG = Path(__file__).with_name("schemathesis.toml")


@pytest.mark.slow
def test_nothing_is_found_by_schemathesis(tmp_path: Path) -> None:
    write(images(), tmp_path / "bundles" / "digits", "sgm-digits", 3, onnx=True)
    points(process="cld").save(tmp_path / "bundles" / "rolls")
    with serving(
        "--folder", str(tmp_path / "bundles"), "--max-n", "8", "--max-steps", "5"
    ) as client:
        document = client.json("/openapi.json")
        # Names of models that there are, or no request would get beyond the first check.
        field = document["components"]["schemas"]["Asked"]["properties"]["model"]
        field["enum"] = field["examples"]
        (tmp_path / "openapi.json").write_text(json.dumps(document))
        program = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
        assert program is not None
        done = subprocess.run(
            [
                program, "--config-file", str(CONFIG), "run", "openapi.json",
                "--url", f"http://127.0.0.1:{client.port}", "--max-examples", "30", "--seed", "1",
            ],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-5000:]
        assert "0 generated" not in done.stdout
        assert client.json("/api/health")["status"] == "ok"
