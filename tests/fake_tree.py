# ruff: noqa: E501 (the fake trainer is a string)
"""A copy of the cell machinery around a trainer that only counts: quick, and killable anywhere.

The copy holds the real sgm_core.cell, spec, store, code, worker, config and a fake
sgm_core.train.run and sgm_core.evaluate.run. The trainer writes one number per step, checkpoints it
atomically, and appends to `log` what it did; `net.width` and the variable FAKE choose its behaviour.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from sgm_core.cell import CellSpec, Job
from sgm_core.config.process import PROCESSES
from sgm_core.store.files import write_json

REAL = Path(__file__).resolve().parent.parent
COPIED = [
    "config",
    "store",
    "calling.py",
    "cell.py",
    "code.py",
    "device.py",
    "ending.py",
    "errors.py",
    "heap.py",
    "job.py",
    "nursery.py",
    "renew.py",
    "search.py",
    "spec.py",
    "worker.py",
    "evaluate/names.py",
]

TRAINER = '''
"""A trainer that adds one a step."""
from __future__ import annotations
import os, signal, sys, time
from sgm_core.errors import SgmError
from sgm_core.train.helper import STEP
from sgm_core.store.files import read_json, write_atomic, write_json

class Stopped(SgmError):
    exit_code = 143

def note(text):
    with open(os.environ["FAKE_LOG"], "a") as log:
        log.write(text + "\\n")

def train_cell(spec, dataset, work, emit):
    stop = []
    old = signal.signal(signal.SIGTERM, lambda *_: stop.append(1)) if os.environ.get("FAKE_MAIN", "1") == "1" else None
    checkpoint, name = work / "checkpoint.json", spec["name"]
    done = read_json(checkpoint)["step"] if checkpoint.exists() else 0
    note(f"start {name} {done} {os.getpid()} threads={os.environ.get('OMP_NUM_THREADS')} gpu={os.environ.get('CUDA_VISIBLE_DEVICES')}")
    fake = spec["training"].get("fail") or os.environ.get("FAKE", "")
    if fake == "nan":
        raise SgmError(f"cell {name}: the loss is NaN at step 3; lower training.lr")
    if fake == "memory":
        raise MemoryError
    if fake == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if fake == "bug":
        raise ZeroDivisionError("one by zero")
    if fake == "exit":
        print("the last line", file=sys.stderr)
        os._exit(7)
    if fake == "noise":
        print("a library prints this")
        os.system("echo and a program this")
    if fake == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for step in range(done, spec["training"]["steps"]):
        if fake == "suicide":
            os.kill(os.getpid(), signal.SIGKILL)
        if "FAKE_STEP" in os.environ:
            time.sleep(float(os.environ["FAKE_STEP"]))
        done = step + STEP
        emit({"event": "progress", "phase": "train", "step": done, "steps": spec["training"]["steps"], "loss": float("nan")})
        if done % spec["checkpoint_every"] == 0:
            write_json(checkpoint, {"step": done})
        if stop:
            write_json(checkpoint, {"step": done})
            note(f"stopped {name} {done}")
            raise Stopped("stopped")
    write_atomic(work / "model.safetensors", f"{spec['seed']} {done}".encode() * 100)
    checkpoint.unlink(missing_ok=True)
    if old is not None:
        signal.signal(signal.SIGTERM, old)
    note(f"trained {name}")
    return {"steps": done}
'''

EVALUATOR = """
import os, time
from sgm_core.store.files import write_json
from sgm_core.train.run import note

def evaluate(model, dataset, reference, sampling, evaluation, out, emit):
    if "FAKE_EVALUATE" in os.environ:
        time.sleep(float(os.environ["FAKE_EVALUATE"]))
    assert (model / "model.safetensors").exists()
    write_json(out / "metrics.json", {"rows": []})
    note(f"evaluated {model.name}")
    return {"rows": 0}
"""

PLAIN = "from __future__ import annotations\n"
# The real registry, with two files for all samplers.
NAMES = """
SAMPLERS = {
    name: "sgm_core.sample." + ("sscs:S" if name.startswith("sscs") else "multistep:M")
    for name in SAMPLERS
}
DEFAULT_SAMPLER = "multistep"
"""


def make_tree(root: Path) -> Path:
    """Write the copy below `root` and return the folder that holds the package."""
    package = root / "tree" / "sgm_core"
    for name in COPIED:
        source = REAL / "sgm_core" / name
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, package / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, package / name)
    modules = [p.target.partition(":")[0].rpartition(".")[2] for p in PROCESSES.values()]
    names = (REAL / "sgm_core" / "sample" / "names.py").read_text() + NAMES
    files = {
        "__init__.py": "",
        "train/__init__.py": "",
        "train/helper.py": "STEP = 1\n",
        "train/run.py": TRAINER,
        "evaluate/__init__.py": "",
        "evaluate/run.py": EVALUATOR,
        "sample/__init__.py": "from sgm_core.sample.names import SAMPLERS\n",
        "sample/names.py": names,
        "sample/multistep.py": PLAIN,
        "sample/sscs.py": PLAIN,
        "process/__init__.py": PLAIN,
        "nets/__init__.py": PLAIN,
        **{f"process/{name}.py": PLAIN for name in ["base", *modules]},
        **{f"nets/{name}.py": PLAIN for name in ("mlp", "unet")},
        "process/vp.py": "from sgm_core.process import base\n\nRATE = 1\n",
    }
    for name, text in files.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    return package.parent


def make_job(root: Path, seed: int = 0, steps: int = 20, process: str = "vp", **more: Any) -> Job:
    """Write a tiny dataset and reference below `root` and return a job on them."""
    write_json(
        root / "dataset" / "dataset.json",
        {"digest": "d" * 64, "shape": [2], "kind": "points", "labels": []},
    )
    write_json(root / "reference" / "reference.json", {"digest": "e" * 64})
    training = {"steps": steps, "device": "cpu", "threads": 1, **more}
    spec = CellSpec(
        experiment="toy",
        name=f"{process}-mlp-s{seed}",
        process={"kind": process},
        net={"kind": "mlp", "width": 8},
        training=training,
        seed=seed,
        data_digest="d" * 64,
    )
    return Job(
        spec=spec,
        checkpoint_every=2,
        dataset=root / "dataset",
        reference=root / "reference",
        store=root / "store",
        sampling={"sampler": "multistep", "steps": 5},
        evaluation={"samples": 10, "batch": 10},
    )


def environment(tree: Path, root: Path, **variables: str) -> dict[str, str]:
    """The variables under which a process uses the copy."""
    fake = {"PYTHONPATH": str(tree), "FAKE_LOG": str(root / "log"), **variables}
    return {**fake, "PYTHONDONTWRITEBYTECODE": "1"}


def inherited(**variables: str) -> dict[str, str]:
    """This process's variables with others on top."""
    return {**os.environ, **variables}


def log_of(root: Path) -> list[str]:
    """What the fake trainer and evaluator noted."""
    log = root / "log"
    return log.read_text().splitlines() if log.exists() else []


PYTHON = sys.executable
