"""The documents say what is there: generated pages are current, commands and files exist."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sgm_core.config.process import PROCESSES
from sgm_core.sample.names import SAMPLERS

ROOT = Path(__file__).resolve().parents[1]


def test_the_reference_of_params_is_up_to_date() -> None:
    check = [sys.executable, "docs/make_params.py", "--check"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(check, cwd=ROOT, env=environment)
    assert done.returncode == 0, "run: python docs/make_params.py"


def test_every_make_target_in_the_documents_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.M))
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"`?make ([a-z-]+)", page.read_text()):
            assert target in targets, f"{page.name} names make {target}"


def test_every_local_link_and_picture_exists() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} links {link}"


def test_every_test_that_the_operations_name_exists() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    for name in set(re.findall(r"`(test_[a-z_]+)`", page)):
        assert (ROOT / "tests" / f"{name}.py").is_file(), f"operations.md names {name}"


def test_the_page_of_processes_shows_every_process_and_sampler() -> None:
    """Made by docs/make_processes.py; a new process or sampler needs a run of it."""
    page = (ROOT / "docs" / "processes.md").read_text(encoding="utf-8")
    for process in PROCESSES:
        assert f"| `{process}` |" in page, f"the table of processes lacks {process}"
        assert (ROOT / "docs" / "images" / "processes" / f"{process}.png").is_file(), process
        assert f"(images/processes/{process}.png)" in page, f"no picture of {process} is shown"
    for sampler in SAMPLERS:
        assert sampler == "ode" or f"\n| {sampler} |" in page, f"no order of {sampler} is given"
    assert "`ode`" in page


def test_every_sgm_command_in_the_readme_exists() -> None:
    help_text = subprocess.run(
        [sys.executable, "-m", "flows", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    commands = set(re.findall(r"^\s+([a-z]+)\s", help_text, re.M))
    readme = (ROOT / "README.md").read_text()
    for command in re.findall(r"(?:^|`)sgm ([a-z]+)", readme, re.M):
        assert command in commands, f"README names sgm {command}"


def test_sgm_core_imports_no_orchestrator_and_config_no_torch() -> None:
    code = (
        "import sys; import sgm_core.config, sgm_core.cell, sgm_core.store; "
        "heavy = {'torch', 'prefect', 'mlflow', 'dvc'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    for file in (ROOT / "sgm_core").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            roots = {name.partition(".")[0] for name in names}
            assert not roots & {"prefect", "mlflow", "dvc", "flows"}, file


def test_the_figures_of_speed_are_those_of_the_benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Edit no number between the marks: `python benchmarks/run.py --render` writes them."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import run

    results = json.loads(run.RESULTS.read_text())
    for page in run.PAGES:
        text = page.read_text()
        assert run.BLOCK.search(text)
        assert run.rendered(text, results) == text, page


def test_a_processor_without_bfloat16_has_a_sentence_for_a_table(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import networks
    import run
    import steps

    results = json.loads(run.RESULTS.read_text())
    found = {**results["steps"]["result"], "unet_bf16": run.EMULATED}
    tables = steps.tables(found)
    assert tables["unet_bf16"] == run.EMULATED["skipped"] and "| ours |" in tables["unet"]
    assert tables["summary"].splitlines()[-1] == "| the same in bf16 |  |  |  |  |"
    steps.charts(found, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["steps-toy.png", "steps-unet.png"]
    raced = networks.tables({**results["networks"]["result"], "bf16": run.EMULATED})
    assert raced["bf16"] == run.EMULATED["skipped"]
    assert [line[:9] for line in raced["ratio"].splitlines()[2:]] == ["| float32"]


def test_what_another_machine_measured_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import run

    def entry(day: str, **parts: object) -> dict[str, Any]:
        return {"result": {"toy": {"rows": [day]}, **parts}, "date": day, "machine": {"of": day}}

    first = entry("1", bf16={"rows": [1]}, words=["no part"])
    second = run.kept(first, entry("2", bf16=run.EMULATED, words=[]))
    assert second["result"] == {"toy": {"rows": ["2"]}, "bf16": {"rows": [1]}, "words": []}
    third = run.kept(second, entry("3", bf16=run.EMULATED))
    assert third["elsewhere"] == {"bf16": {"date": "1", "machine": {"of": "1"}}}
    assert "elsewhere" not in run.kept(third, entry("4", bf16={"rows": [4]}))
    assert run.kept(None, entry("5", bf16=run.EMULATED))["result"]["bf16"] == run.EMULATED
