"""The studio's engine (JavaScript, TensorFlow.js) against sgm_core: one Node process for all cases."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save
from studio_jobs import ROOT, STATIC, floats, packed, run_jobs
from studio_models import MODELS, SHAPED, model_of

from sgm_core.config.process import PROCESSES
from sgm_core.control.api import edit, inpaint, interpolate
from sgm_core.data.swiss_roll import curve
from sgm_core.model import ScoreModel
from sgm_core.objective import Batch, training_times
from sgm_core.process import make_process
from sgm_core.sample.names import DEFAULT_SAMPLER, SAMPLERS, sampler_fits
from sgm_core.weighting import multipliers

TRAINED = [*MODELS, *(name for name in SHAPED if "patches" in name)]
TIMES = [1e-7, 1e-5, 1e-3, 0.03, 0.3, 0.7, 0.999]
# A tolerance at which an accepted step stays accepted when a bit changes, and some options.
HOMES = ("vp", "cld")
OPTIONS = {"ode": {"rtol": 1e-6, "atol": 1e-6}, "multistep": {"order": 3}, "ddim": {"eta": 0.5}}


def runs(name: str, full: bool = False) -> Iterator[tuple[str, str]]:
    """Processes and samplers that a model is run with: all that fit, or what covers every one once."""
    for process, params in PROCESSES.items():
        for sampler in SAMPLERS:
            usual = sampler == DEFAULT_SAMPLER
            home = "vp" if sampler_fits(sampler, False) else "cld"  # of a sampler
            some = usual or process == home if name == "points" else usual and process in HOMES
            if sampler_fits(sampler, params.langevin) and (full or some):
                yield process, sampler


def options_of(model: ScoreModel, process: str, sampler: str) -> dict[str, Any]:
    chosen = {"n": 2, "seed": 2**33 + 5, "process": process, "sampler": sampler}
    if model.labels:
        chosen |= {"label": [1, -1], "guidance": 1.5}
    return {**chosen, "options": OPTIONS.get(sampler, {})}


LABELS = {"images with classes": [1, -1], "points with classes": 1}
PATH = {"n": 3, "path": [4, 5], "sampler": "ddim", "label": -1}


def hole_of(model: ScoreModel) -> dict[str, Any]:
    """An item of which the first half is known."""
    size = int(np.prod(model.shape))
    low, high = model.space.range
    item = low + (high - low) * (0.5 + 0.4 * np.sin(np.arange(size)))
    return {"image": item.tolist(), "mask": (np.arange(size) < size / 2).astype(int).tolist()}


def edit_of(model: ScoreModel) -> dict[str, Any]:
    return {"image": hole_of(model)["image"], "strength": 0.4, "n": 2, "seed": 3, "label": -1}


class Bench:
    """Models, jobs with what Python says of them, and what the engine answered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models = {name: model_of(name) for name in (*MODELS, *SHAPED)}
        self.jobs: dict[Any, dict[str, Any]] = {}
        for name, model in self.models.items():
            model.save(folder / name)

    def add(self, key: Any, kind: str, **job: Any) -> None:
        self.jobs[key] = {"kind": kind, **job}

    def run(self, seconds: float = 250) -> None:
        answers = run_jobs(list(self.jobs.values()), self.folder, seconds)
        self.answers = dict(zip(self.jobs, answers, strict=True))

    def answer(self, key: Any) -> dict[str, Any]:
        found = self.answers[key]
        assert "error" not in found, (key, found)
        return found


def network_inputs(model: ScoreModel) -> dict[str, torch.Tensor | None]:
    """Levels from 0.002 to 80, every class and none."""
    n = 8
    generator = torch.Generator().manual_seed(0)
    shape = (n, model.preconditioning.in_channels, *model.shape)
    labels = torch.arange(n) % (len(model.labels) + 1) - 1 if model.labels else None
    return {
        "inputs": torch.randn(shape, generator=generator),
        "sigma": torch.logspace(-2.7, 1.9, n),
        "labels": labels,
    }


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    bench = Bench(tmp_path_factory.mktemp("engine"))
    for name, model in bench.models.items():
        given = network_inputs(model)
        job: dict[str, Any] = {k: packed(v) for k, v in given.items() if v is not None}
        job |= {"model": name, "labels": given["labels"].tolist() if model.labels else None}
        bench.add(("forward", name), "forward", **job)
        if name in TRAINED:
            target = torch.randn(8, *model.shape, generator=torch.Generator().manual_seed(1))
            bench.add(("gradient", name), "gradient", **job, target=packed(target))
        if name in SHAPED:
            bench.add(("run", name), "generate", model=name, options={"n": 2, "seed": 3})
            continue
        half = save({k: v.half().contiguous() for k, v in model.net.state_dict().items()})
        (bench.folder / name / "model.fp16.safetensors").write_bytes(half)
        load = {"file": "model.fp16.safetensors", "sha256": hashlib.sha256(half).hexdigest()}
        bench.add(("half", name), "forward", **job, load=load)
        for process, sampler in runs(name):
            chosen = options_of(model, process, sampler)
            bench.add(("run", name, process, sampler), "generate", model=name, options=chosen)
        options = {
            **hole_of(model),
            "n": 2,
            "seed": 7,
            "label": LABELS.get(name, -1),
            "guidance": 1.5,
        }
        bench.add(("inpaint", name), "generate", model=name, options=options)
        bench.add(("edit", name), "generate", model=name, options=edit_of(model))
        bench.add(("path", name), "generate", model=name, options=PATH)
    for kind in PROCESSES:
        bench.add(("kernel", kind), "kernel", process={"kind": kind}, times=TIMES)
    bench.add("table", "table", model="points with classes", levels=50)
    training = {"sigma_data": 0.5, "data_range": [-0.2, 0.2]}
    net = {"kind": "mlp", "width": 32, "depth": 2, "fourier": 16, "fourier_scale": 3.0}
    bench.add(
        "training",
        "training",
        config={"shape": [2], "net": net, "training": {"p_mean": -2.0}, **training},
        items=packed(curve(500)),
        folder="trained",
    )
    bench.add(
        "images trained",
        "training_images",
        config={
            "img_size": 9,
            "num_channels": 1,
            "labels": ["a", "b"],
            "net": {"kind": "unet", "channels": 4, "attention": [1]},
        },
    )
    bench.add("leaks", "leaks", models=list(MODELS))
    bench.add("stop", "stop", model="images", after=3)
    (bench.folder / "altered").mkdir()
    for file in ("config.json", "model.safetensors"):
        data = bytearray((bench.folder / "points" / file).read_bytes())
        if file == "model.safetensors":
            data[-1] ^= 1
        (bench.folder / "altered" / file).write_bytes(data)
    bench.add("altered", "generate", model="altered", options={})
    bench.add("hash", "hash", texts=["", "abc", "x" * 55, "x" * 56, "x" * 64, "x" * 1000])
    for key, options in {
        "sampler": {"sampler": "euler"},
        "option": {"sampler": "ddim", "options": {"order": 2}},
        "steps": {"steps": 0},
        "label": {"label": "a"},
        "process": {"process": "vpp"},
        "heun": {"sampler": "heun", "process": "cld"},
        "seed": {"seed": -1},
    }.items():
        bench.add(("wrong", key), "generate", model="points", options=options)
    bench.run()
    return bench


@pytest.mark.parametrize("name", [*MODELS, *SHAPED])
def test_forward_is_that_of_pytorch(bench: Bench, name: str) -> None:
    model = bench.models[name]
    with torch.no_grad():
        expected = model.net(**network_inputs(model)).numpy()
    found = floats(bench.answer(("forward", name)), expected.shape)
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", SHAPED)
def test_pruned_networks_groups_and_patches_draw_the_same(bench: Bench, name: str) -> None:
    same_items(bench.answer(("run", name)), bench.models[name].generate(2, seed=3))


def check_run(bench: Bench, name: str, process: str, sampler: str) -> None:
    model = bench.models[name]
    expected = model.sample(**options_of(model, process, sampler))
    answer = bench.answer(("run", name, process, sampler))
    found = floats(answer["x"], expected.x.shape)
    scale = max(1.0, float(np.abs(expected.x).max()))
    error = float(np.abs(found - expected.x).max()) / scale
    assert error < 1e-3, (process, sampler, error)
    if sampler != "ode":
        assert answer["nfe"] == expected.nfe, (process, sampler)
        assert answer["frames"] == 25


@pytest.mark.parametrize("name", MODELS)
def test_same_seed_same_samples(bench: Bench, name: str) -> None:
    for process, sampler in runs(name):
        check_run(bench, name, process, sampler)


@pytest.mark.parametrize("name", MODELS)
def test_inpainting_edits_and_paths_are_those_of_python(bench: Bench, name: str) -> None:
    model, hole = bench.models[name], hole_of(bench.models[name])
    image, mask = (np.reshape(hole[k], model.shape) for k in ("image", "mask"))
    label = LABELS.get(name, -1)
    expected = inpaint(model, image, mask, n=2, seed=7, label=label, guidance=1.5)
    same_items(bench.answer(("inpaint", name)), expected.x)
    expected = edit(model, image, 0.4, n=2, seed=3)
    same_items(bench.answer(("edit", name)), expected.x)
    expected = interpolate(model, 4, 5, 3, sampler="ddim")
    same_items(bench.answer(("path", name)), expected.x)


def same_items(answer: dict[str, Any], expected: np.ndarray) -> None:
    scale = max(1.0, float(np.abs(expected).max()))
    found = floats(answer["x"], expected.shape)
    np.testing.assert_allclose(found, expected, atol=1e-3 * scale, rtol=0)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", MODELS)
def test_same_seed_same_samples_everywhere(tmp_path: Path, name: str) -> None:
    bench = Bench(tmp_path)
    cases = list(runs(name, full=True))
    for process, sampler in cases:
        chosen = options_of(bench.models[name], process, sampler)
        bench.add(("run", name, process, sampler), "generate", model=name, options=chosen)
    bench.run(seconds=900)
    for case in cases:
        check_run(bench, name, *case)


@pytest.mark.parametrize("name", MODELS)
def test_half_precision_weights_are_read(bench: Bench, name: str) -> None:
    model = ScoreModel.load(bench.folder / name)
    weights = {name: v.half().float() for name, v in model.net.state_dict().items()}
    model.net.load_state_dict(weights)
    with torch.no_grad():
        expected = model.net(**network_inputs(model)).numpy()
    found = floats(bench.answer(("half", name)), expected.shape)
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", PROCESSES)
def test_kernels_are_exact(bench: Bench, kind: str) -> None:
    process = make_process(kind)
    inside = [min(max(t, process.t_min), process.t_max) for t in TIMES]
    times = torch.tensor(inside, dtype=torch.float64)
    answer = bench.answer(("kernel", kind))
    for name, values in {
        "mean": process.mean(times),
        "covariance": process.covariance(times),
        "cholesky": process.cholesky(times),
        "statistic": process.precision_mean(times) / process.snr(times)[:, None],
        "sigma": process.sigma_eff(times),
        "back": times,
    }.items():
        expected = values.numpy()
        found = np.array(answer[name]).reshape(expected.shape)
        # The factor of a nearly singular matrix has fewer digits than the matrix.
        rtol = 1e-6 if name == "cholesky" else 1e-9
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-18, err_msg=name)


@pytest.mark.parametrize("name", TRAINED)
def test_gradients_are_those_of_pytorch(bench: Bench, name: str) -> None:
    """PyTorch's in float64: its own float32 errs as much as the page's, and not alike on all processors."""
    model, net = bench.models[name], deepcopy(bench.models[name].net).double()
    answer = bench.answer(("gradient", name))
    given = {k: v.double() if k != "labels" else v for k, v in network_inputs(model).items()}
    target = torch.randn(8, *model.shape, generator=torch.Generator().manual_seed(1)).double()
    weight = torch.arange(1.0, 9.0).double()
    loss = Batch(given["inputs"], given["sigma"], target, weight).loss(net(**given))  # type: ignore[arg-type]
    loss.backward()
    assert answer["loss"] == pytest.approx(loss.item(), rel=1e-5)
    gradients = {n: p.grad.numpy() for n, p in net.named_parameters() if p.grad is not None}
    # What is zero but for rounding (a bias that a normalisation takes away) has no relative error.
    least = 1e-4 * max(np.abs(g).max() for g in gradients.values())
    for weights, expected in gradients.items():
        found, size = floats(answer["gradients"][weights], expected.shape), np.abs(expected).max()
        error = np.abs(found - expected).max() / max(least, size)
        assert error < (1e-5 if size > least else 1e-3), (weights, error)


def test_training_times_and_weights(bench: Bench) -> None:
    frame = bench.models["points with classes"].preconditioning
    answer = bench.answer("table")
    for law in ("lognormal", "loguniform", "uniform"):
        times = training_times(frame.process, law, 50)
        np.testing.assert_allclose(answer["times"][law], times.numpy(), rtol=1e-8, err_msg=law)
        for weighting in ("edm", "epsilon", "min_snr", "likelihood"):
            expected = multipliers(frame, times, weighting).numpy()
            found = np.array(answer["weights"][law][weighting])
            np.testing.assert_allclose(found, expected / expected.mean(), rtol=1e-6)


def test_training_learns_and_python_reads_what_it_learnt(bench: Bench) -> None:
    answer = bench.answer("training")
    assert answer["last"] < 0.92 * answer["first"]
    assert answer["tensors"][0] == answer["tensors"][1]
    model = ScoreModel.load(bench.folder / "trained")
    x = model.generate(200, seed=3)
    np.testing.assert_allclose(floats(answer["x"], x.shape), x, atol=1e-3)
    distance = np.linalg.norm(x[:, None] - curve(500)[None], axis=-1).min(1)
    assert np.median(distance) < 0.02  # the roll is 0.28 wide


def test_training_of_images_learns(bench: Bench) -> None:
    answer = bench.answer("images trained")
    assert answer["last"] < 0.5 * answer["first"], answer
    assert answer["tensors"][0] == answer["tensors"][1]


def test_no_tensor_is_left(bench: Bench) -> None:
    answer = bench.answer("leaks")
    assert answer["before"] == answer["after"]
    assert answer["disposed"] == 0


def test_signal_stops_within_one_step(bench: Bench) -> None:
    answer = bench.answer("stop")
    assert answer == {"name": "AbortError", "frames": 3}


def test_altered_weights_are_refused(bench: Bench) -> None:
    answer = bench.answers["altered"]
    assert answer["error"] == "UsageError"
    assert "SHA-256" in answer["message"]


def test_own_hash_is_sha256(bench: Bench) -> None:
    job, answer = bench.jobs["hash"], bench.answer("hash")
    digests = [hashlib.sha256(text.encode()).hexdigest() for text in job["texts"]]
    assert answer == {"plain": digests, "browser": digests}


@pytest.mark.parametrize(
    "key, words",
    {
        "sampler": 'unknown sampler "euler"; choose one of:',
        "option": 'sampler "ddim" has no option "order"; choose one of: eta',
        "steps": "sampling.steps: 0 is not valid: write a whole number from 1",
        "label": 'label: "a" was given and this model has no classes; leave it out',
        "process": 'unknown process "vpp"; choose one of: vp,',
        "heun": 'use "sscs"',
        "seed": "seed: -1 is not valid: write a whole number from 0",
    }.items(),
)
def test_mistakes_get_one_sentence(bench: Bench, key: str, words: str) -> None:
    answer = bench.answers["wrong", key]
    assert answer["error"] == "UsageError", answer
    assert words in answer["message"]
    assert json.dumps(answer["message"]).count("\\n") == 0


def test_webgl_is_taken_only_where_it_is_faster_and_says_the_same() -> None:
    node, script = shutil.which("node"), Path(__file__).parent / "studio_faster.mjs"
    if node is None:
        pytest.skip("node is not installed: the choice of a backend is not tested")
    source = ROOT / "studio" / "web" / "src" / "page" / "faster.js"
    done = subprocess.run([node, script, source], capture_output=True, text=True, check=True)
    others = ("slower", "wrong", "nan", "missing", "hanging")
    refused = {name: [False, True] for name in others}
    assert json.loads(done.stdout) == {"faster": [True, False], **refused}


def test_static_is_what_the_sources_build(tmp_path: Path) -> None:
    node, web = shutil.which("node"), ROOT / "studio" / "web"
    if node is None or not (web / "node_modules").is_dir():
        pytest.skip("node or studio/web/node_modules is missing (npm ci): the build is not tested")
    done = subprocess.run(
        [node, "build.mjs", "--out", str(tmp_path)], cwd=web, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    built = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    committed = {file.name: file.read_bytes() for file in STATIC.iterdir()}
    assert built.keys() == committed.keys()
    stale = [name for name, data in committed.items() if built[name] != data]
    assert not stale, f"run `npm run build` in studio/web: {stale}"


def test_download_is_small() -> None:
    sizes = {f.name: len(gzip.compress(f.read_bytes())) for f in STATIC.iterdir()}
    assert sum(sizes.values()) < 400_000, sizes


def test_lock_names_no_host() -> None:
    lock = json.loads((ROOT / "studio" / "web" / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert all("integrity" in entry and "resolved" not in entry for entry in packages.values())
