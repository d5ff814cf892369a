"""Cells: the grid, the keys, and that nothing heavy is imported to look one up."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fake_tree import PYTHON, environment, inherited, log_of, make_job, make_tree

from sgm_core.cell import Job, cells_of, device_class, jobs_of
from sgm_core.config import ExperimentConfig, parse_config
from sgm_core.device import gpus
from sgm_core.errors import SgmError, UsageError
from sgm_core.store.files import write_json

# What a caller does with jobs, in a process that sees only the copied tree.
SCRIPT = """
import dataclasses, json, os, sys
from pathlib import Path
from sgm_core.cell import Job, ensure_cell, lookup
command, jobs = sys.argv[1], [Job.from_json(t) for t in json.load(open(sys.argv[2]))]
events = []
if command == "keys":
    answer = [[j.spec.key, j.evaluation_spec(j.spec.key).key] for j in jobs]
elif command in ("ensure", "quick"):
    if command == "quick":  # what the disk takes to flush is not the subject
        os.fsync = lambda descriptor: None
    answer = [ensure_cell(j, events.append).cached for j in jobs]
else:
    answer = [lookup(j) is not None for j in jobs]
heavy = [m for m in ("torch", "numpy", "scipy", "pandas", "prefect", "mlflow") if m in sys.modules]
loaded = [m for m in sys.modules if m in ("sgm_core.train.run", "sgm_core.evaluate.run")]
print(json.dumps({"answer": answer, "heavy": heavy, "loaded": loaded, "events": events}))
"""


def ask(tree: Path, root: Path, command: str, jobs: list[Job], **env: str) -> dict[str, Any]:
    """Run SCRIPT in a process of its own."""
    file = root / "jobs.json"
    file.write_text(json.dumps([job.to_json() for job in jobs]))
    done = subprocess.run(
        [PYTHON, "-P", "-c", SCRIPT, command, str(file)],
        capture_output=True,
        text=True,
        env=inherited(**environment(tree, root, **env)),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def experiment(**changes: Any) -> ExperimentConfig:
    """A 2 x 2 grid on points."""
    values = {
        "dataset": "swiss_roll",
        "processes": {"vp": {}, "short": {"kind": "vp", "beta_max": 10}},
        "nets": {"small": {"kind": "mlp", "width": 8}, "mlp": {}},
        "seeds": [0, 1],
        **changes,
    }
    config = parse_config(
        {"datasets": {"swiss_roll": {}}, "experiments": {"toy": values}, "active": []}
    )
    return config.experiment("toy")


def test_the_grid_is_processes_by_nets_by_seeds_in_order() -> None:
    cells = cells_of(experiment(), "d" * 64, [2])
    assert [cell.name for cell in cells] == [
        f"{process}-{net}-s{seed}"
        for process in ("vp", "short")
        for net in ("small", "mlp")
        for seed in (0, 1)
    ]
    vp = {"kind": "vp", "beta_min": 0.1, "beta_max": 10.0, "schedule": "linear", "s": 0.008}
    assert cells[4].process == vp
    assert cells[0].net["width"] == 8
    assert cells[0].net["depth"] == 3
    assert "checkpoint_every" not in cells[0].training
    assert cells[0].training["device"] in ("cpu", "cuda")


def test_a_net_for_other_data_is_named() -> None:
    with pytest.raises(UsageError, match=r"toy\.nets\.small: 'mlp' does not fit .* kind: unet"):
        cells_of(experiment(), "d" * 64, [1, 8, 8])


@pytest.mark.parametrize("label", ["a/b", "a b", "", ".hidden"])
def test_a_label_that_is_no_file_name_is_named(label: str) -> None:
    with pytest.raises(UsageError, match="is not a name"):
        cells_of(experiment(nets={label: {"kind": "mlp"}}), "d" * 64, [2])


def test_two_cells_of_one_name_are_refused() -> None:
    processes = {"a": {"kind": "vp"}, "a-b": {"kind": "ve"}}
    nets = {"b-c": {"kind": "mlp"}, "c": {"kind": "mlp"}}
    with pytest.raises(UsageError, match="two cells would be named 'a-b-c-s0'"):
        cells_of(experiment(processes=processes, nets=nets), "d" * 64, [2])


def test_jobs_of_reads_the_prepared_dataset(tmp_path: Path) -> None:
    toy, folder = experiment(), tmp_path / "dataset"
    with pytest.raises(SgmError, match=r"dataset\.json does not exist; make the stage dataset"):
        jobs_of(toy, folder, tmp_path / "reference", tmp_path / "store")
    write_json(
        folder / "dataset.json", {"digest": "a" * 64, "shape": [2], "kind": "points", "labels": []}
    )
    jobs = jobs_of(toy, folder, tmp_path / "reference", tmp_path / "store")
    assert len(jobs) == 8
    assert jobs[0].spec.data_digest == "a" * 64
    assert jobs[0].sampling == toy.sampling.model_dump(mode="json")


def test_a_job_survives_json(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    assert Job.from_json(job.to_json()) == job
    for text in ("", "[]", "{}", '{"spec": 1}', json.dumps({**json.loads(job.to_json()), "x": 1})):
        with pytest.raises(UsageError, match="not a job"):
            Job.from_json(text)


def test_what_is_in_a_key_and_what_is_not(tmp_path: Path) -> None:
    tree, job = make_tree(tmp_path), make_job(tmp_path)
    spec = job.spec

    def with_spec(**changes: Any) -> Job:
        return dataclasses.replace(job, spec=dataclasses.replace(spec, **changes))

    same = [
        with_spec(name="other", experiment="other"),
        dataclasses.replace(job, checkpoint_every=99),
    ]
    measured_anew = [
        dataclasses.replace(job, evaluation={**job.evaluation, "batch": 3}),
        dataclasses.replace(job, sampling={**job.sampling, "steps": 6}),
        dataclasses.replace(job, evaluation={**job.evaluation, "samples": 11}),
    ]
    other = [
        with_spec(process={"kind": "ve"}),
        with_spec(process={"kind": "vp", "beta_max": 10.0}),
        with_spec(net={"kind": "mlp", "width": 9}),
        with_spec(training={**spec.training, "steps": 21}),
        with_spec(training={**spec.training, "device": "cuda"}),
        with_spec(seed=1),
        with_spec(data_digest="f" * 64),
    ]
    keys = ask(tree, tmp_path, "keys", [job, *same, *measured_anew, *other])["answer"]
    (cell, evaluation), rest = keys[0], keys[1:]
    assert rest[:2] == [[cell, evaluation]] * 2
    assert [key[0] for key in rest[2:5]] == [cell] * 3
    evaluations = {evaluation, *(key[1] for key in rest[2:])}
    assert len(evaluations) == 1 + len(measured_anew) + len(other)
    assert len({cell, *(key[0] for key in rest[5:])}) == 1 + len(other)


def test_editing_vp_changes_vp_keys_only_and_a_sampler_its_evaluations_only(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    jobs = [make_job(tmp_path, process=process) for process in ("vp", "ve", "cld")]
    jobs[2] = dataclasses.replace(jobs[2], sampling={"sampler": "sscs", "steps": 5})
    before = ask(tree, tmp_path, "keys", jobs)["answer"]

    (tree / "sgm_core" / "process" / "vp.py").write_text("# words\nRATE = 2\n")
    after = ask(tree, tmp_path, "keys", jobs)["answer"]
    assert [a != b for a, b in zip(after, before, strict=True)] == [True, False, False]

    (tree / "sgm_core" / "sample" / "sscs.py").write_text("X = 1\n")
    last = ask(tree, tmp_path, "keys", jobs)["answer"]
    assert [a[0] for a in last] == [a[0] for a in after]
    assert [a[1] != b[1] for a, b in zip(last, after, strict=True)] == [False, False, True]


def test_looking_up_256_finished_cells_imports_nothing_heavy(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    jobs = [make_job(tmp_path, seed=seed, steps=1) for seed in range(256)]
    built = ask(tree, tmp_path, "quick", jobs)
    assert built["answer"] == [False] * 256
    assert "sgm_core.train.run" in built["loaded"]
    for command, some in (("lookup", jobs), ("ensure", jobs[:8])):
        again = ask(tree, tmp_path, command, some)
        assert again["answer"] == [True] * len(some)
        assert again["heavy"] == again["loaded"] == []
    assert len([line for line in log_of(tmp_path) if line.startswith("trained")]) == 256


def test_a_changed_measurement_evaluates_again_and_trains_nothing(tmp_path: Path) -> None:
    tree, job = make_tree(tmp_path), make_job(tmp_path)
    more = dataclasses.replace(job, evaluation={**job.evaluation, "samples": 20})
    assert ask(tree, tmp_path, "ensure", [job, more])["answer"] == [False, False]
    notes = [line.split()[0] for line in log_of(tmp_path)]
    assert notes == ["start", "trained", "evaluated", "evaluated"]


def test_a_reference_of_other_statistics_evaluates_again(tmp_path: Path) -> None:
    tree, job = make_tree(tmp_path), make_job(tmp_path)
    before = ask(tree, tmp_path, "keys", [job])["answer"][0]
    write_json(tmp_path / "reference" / "reference.json", {"digest": "0" * 64})
    after = ask(tree, tmp_path, "keys", [job])["answer"][0]
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_data_that_changed_after_planning_is_refused(tmp_path: Path) -> None:
    tree, job = make_tree(tmp_path), make_job(tmp_path)
    write_json(
        tmp_path / "dataset" / "dataset.json",
        {"digest": "0" * 64, "shape": [2], "kind": "points", "labels": []},
    )
    with pytest.raises(AssertionError, match=r"cell vp-mlp-s0: .*dataset has changed since"):
        ask(tree, tmp_path, "ensure", [job])


def test_an_edit_while_a_process_runs_is_refused(tmp_path: Path) -> None:
    tree, job = make_tree(tmp_path), make_job(tmp_path)
    edit = (
        "import sys; from pathlib import Path\n"
        "from sgm_core.cell import Job, ensure_cell\n"
        "import dataclasses\n"
        "job = Job.from_json(open(sys.argv[1]).read())\n"
        "ensure_cell(job, print)\n"
        "Path(sys.argv[2]).write_text('RATE = 7')\n"
        "try: ensure_cell(job, print)\n"
        "except Exception as error: print('refused:', error)\n"
    )
    (tmp_path / "job.json").write_text(job.to_json())
    vp = tree / "sgm_core" / "process" / "vp.py"
    done = subprocess.run(
        [PYTHON, "-P", "-c", edit, str(tmp_path / "job.json"), str(vp)],
        capture_output=True,
        text=True,
        env=inherited(**environment(tree, tmp_path)),
        check=True,
    )
    assert "refused: cell vp-mlp-s0: sgm_core was edited while this process" in done.stdout


@pytest.mark.parametrize("hidden", ["", "-1", "-1,0"])
def test_hidden_gpus_do_not_count(monkeypatch: pytest.MonkeyPatch, hidden: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert gpus() == []
    assert device_class("auto") == "cpu"
    assert device_class("cuda") == "cuda"


def test_visible_gpus_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = [Path("/dev/nvidia0"), Path("/dev/nvidia1")]
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(devices))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1, GPU-8f,-1,0")
    assert gpus() == ["1", "GPU-8f"]
