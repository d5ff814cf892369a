"""The files of deploy/: read by the programs they are for, as far as those run here; never started.

A pool is made of the template on a Prefect server of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from flows_checkout import checkout, environment, sgm
from prefect_server import answer, call, objects, server

__all__ = ["server"]  # the fixture
DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
COMPOSE, EXAMPLE = DEPLOY / "compose.yaml", DEPLOY / ".env.example"
KUBERNETES = "1.30"
VARIABLE = re.compile(r"\$\{(\w+)(:[?-])?([^}]*)\}")
SECRET = re.compile("PASSWORD|SECRET|AUTH_STRING|ACCESS_KEY|ADMIN_USERNAME")


def example() -> dict[str, str]:
    lines = [line for line in EXAMPLE.read_text().splitlines() if line and line[0] != "#"]
    return dict(line.split("=", 1) for line in lines)


def test_secrets_have_no_value_in_any_file() -> None:
    """Every secret is asked for by name, is in .env.example, and is empty there."""
    assert set(example().values()) == {""}
    used = {name: kind for name, kind, _ in VARIABLE.findall(COMPOSE.read_text())}
    asked = {name for name, kind in used.items() if kind == ":?"}
    assert asked == {name for name in example() if SECRET.search(name)}
    assert {name for name in used if SECRET.search(name)} == asked
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    for service in services.values():
        for name, value in service.get("environment", {}).items():
            if SECRET.search(name) or name in ("PGPASSWORD", "MINIO_ROOT_USER"):
                assert VARIABLE.fullmatch(value), name
    manifests = "".join(file.read_text() for file in (DEPLOY / "kubernetes").iterdir())
    assert "kind: Secret" not in manifests and "PASSWORD" not in manifests
    assert "postgresql://sgm@" in (DEPLOY / "mlflow-auth.ini").read_text()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("docker-compose"), reason="apt-get install docker-compose")
def test_compose_reads_its_file_and_stops_without_a_secret(tmp_path: Path) -> None:
    """Debian's docker-compose checks schema and variables without an engine."""

    def config(**values: str) -> subprocess.CompletedProcess[str]:
        file = tmp_path / "env"
        file.write_text("".join(f"{k}={v}\n" for k, v in {**example(), **values}.items()))
        clean = {k: v for k, v in os.environ.items() if k not in example()}
        return subprocess.run(
            ["docker-compose", "--env-file", str(file), "-f", str(COMPOSE), "config"],
            env=clean, capture_output=True, text=True, check=False,
        )  # fmt: skip

    secrets = {name: f"its-{name}" for name in example() if SECRET.search(name)}
    done = config(**secrets)
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert set(services) == {"postgres", "minio", "prefect", "mlflow", "setup", "control", "gpu"}
    assert "--app-name=basic-auth" in services["mlflow"]["command"]
    assert any("--allowed-hosts=mlflow:5000" in word for word in services["mlflow"]["command"])
    for name, service in services.items():
        for port in service.get("ports", []):
            assert str(port).startswith("127.0.0.1:"), (name, port)
    for missing in secrets:
        done = config(**{**secrets, missing: ""})
        assert done.returncode != 0 and "fill in deploy/.env" in done.stderr, missing


def test_ports_are_bound_to_this_machine_unless_bind_says_otherwise() -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 4
    assert all(port.startswith("${BIND:-127.0.0.1}:") for port in ports), ports


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
def test_the_cluster_s_secret_is_made_of_the_named_file(tmp_path: Path) -> None:
    """Nothing is asked of a cluster: `--dry-run=client`."""
    names = ["PREFECT_API_AUTH_STRING", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"]
    names += ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
    (tmp_path / ".env.cluster").write_text("".join(f"{name}=a:b=c\n" for name in names))
    command = ["kubectl", "-n", "sgm", "create", "secret", "generic", "sgm", "-o", "json"]
    command += [f"--from-env-file={tmp_path}/.env.cluster", "--dry-run=client"]
    nowhere = {**os.environ, "KUBECONFIG": str(tmp_path / "none")}
    done = subprocess.run(command, env=nowhere, check=True, capture_output=True, text=True)
    assert set(json.loads(done.stdout)["data"]) == set(names)


@pytest.mark.slow
def test_a_pool_of_the_cluster_and_an_older_automation_are_what_init_finds(
    server: dict[str, str], tmp_path: Path
) -> None:
    """`sgm init --server` leaves the pool alone and brings the automation up to date."""
    template = DEPLOY / "kubernetes" / "base-job-template.json"
    make = ["-m", "prefect", "work-pool", "create", "gpu", "--type", "kubernetes"]
    made = subprocess.run(
        [sys.executable, *make, "--base-job-template", str(template)],
        env=environment(**server), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    folder = checkout(tmp_path / "project", git=False)

    def init() -> str:
        return sgm(folder, "init", "--server", **server).stdout

    assert "Prefect server: work pool control, automation" in init()
    (pool,) = [p for p in objects(server, "work_pools") if p["name"] == "gpu"]
    assert pool["type"] == "kubernetes"
    assert pool["base_job_template"] == json.loads(template.read_text())

    (automation,) = call(server, "automations/filter", {})
    url = f"{server['PREFECT_API_URL']}/automations/{automation['id']}"
    assert automation["trigger"]["within"] == 90
    trigger = {k: v for k, v in automation["trigger"].items() if k != "id"}
    kept = {name: automation[name] for name in ("name", "description", "actions")}
    older = {**kept, "trigger": {**trigger, "within": 600}}
    answer(url, older, method="PUT")
    assert "Prefect server: automation\n" in init()
    assert answer(url)["trigger"]["within"] == 90
    assert "Prefect server: all there" in init()


def test_the_cluster_s_manifests_fit_kubernetes_schemas() -> None:
    documents = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "team.yaml").read_text()))
    assert len(documents) == 7
    for document in documents:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        documents[-1]["spec"]["replica"] = 1
        kubernetes_validate.validate(documents[-1], KUBERNETES, strict=True)


def _job(**values: Any) -> dict[str, Any]:
    """The job that Prefect's Kubernetes worker makes of the template for a run."""
    from prefect.client.schemas.objects import FlowRun
    from prefect.utilities.templating import apply_values
    from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

    template = json.loads((DEPLOY / "kubernetes" / "base-job-template.json").read_text())
    known = template["variables"]["properties"]
    assert set(values) <= set(known)
    defaults = {name: entry["default"] for name, entry in known.items() if "default" in entry}
    filled = apply_values(template["job_configuration"], {**defaults, **values})
    configuration = KubernetesWorkerJobConfiguration(**filled)
    configuration.prepare_for_flow_run(FlowRun(flow_id=uuid.uuid4(), name="some-cells"))
    return dict(configuration.job_manifest)


@pytest.mark.slow
def test_the_job_of_a_run_fits_prefect_and_kubernetes() -> None:
    template = json.loads((DEPLOY / "kubernetes" / "base-job-template.json").read_text())
    jsonschema.Draft202012Validator.check_schema(template["variables"])
    placeholders = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(template["job_configuration"])))
    assert placeholders == set(template["variables"]["properties"])
    env = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}  # what prefect.yaml asks for
    job = _job(name="cells", command="prefect flow-run execute", gpus=2, env=env)
    pod = job["spec"]["template"]["spec"]
    for name in (
        "parallelism",
        "completions",
    ):  # Prefect insists on them here, a cluster ignores them
        assert pod.pop(name) == 1
    kubernetes_validate.validate(job, KUBERNETES, strict=True)
    (container,) = pod["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert {"secretRef": {"name": "sgm"}} in container["envFrom"]
    assert {"name": "PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "value": "30"} in container["env"]
