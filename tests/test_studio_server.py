"""The studio's server as a process: what it draws is what `ScoreModel` draws, whoever else asks."""

from __future__ import annotations

import concurrent.futures
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studio_server import (
    LABELS,
    Client,
    images,
    numbers,
    points,
    serving,
    text_of,
    write,
)

from sgm_core import ScoreModel
from sgm_core.control.api import edit, inpaint, interpolate

IMAGE, POINT = (1, 6, 6), (2,)
FLOAT32 = 2e-4  # of a range of 16: rounding of the network in batches of other sizes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("bundles")
    write(images(), place / "digits", "sgm-digits", 3, onnx=True)
    write(points(), place / "rolls" / "1", "sgm-rolls", 1)
    native = points(process="cld", training={"parametrisation": "native"})
    native.save(place / "langevin")  # a plain model, without a bundle
    return place


@pytest.fixture(scope="module")
def models(folder: Path) -> dict[str, ScoreModel]:
    places = {"sgm-digits": "digits", "sgm-rolls": "rolls/1", "langevin": "langevin"}
    return {name: ScoreModel.load(folder / place) for name, place in places.items()}


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Client]:
    with serving("--folder", str(folder), "--requests", "16", "--max-steps", "900") as client:
        yield client


# -- what is drawn ------------------------------------------------------------------------------


def test_frames_and_samples_are_those_of_the_model(
    client: Client, models: dict[str, ScoreModel]
) -> None:
    seen: list[Any] = []
    model = models["sgm-digits"]
    wanted = model.sample(
        3, seed=7, steps=6, label="two", callback=lambda *frame: seen.append(frame)
    )
    events = client.generate(model="sgm-digits", n=3, seed=7, steps=6, label="two")
    assert [name for name, _ in events] == ["start", *["frame"] * 6, "done"]
    assert events[0][1] == {
        "model": "sgm-digits", "version": 3, "variant": "onnx", "device": "cpu",
        "n": 3, "steps": 6, "shape": [1, 6, 6],
    }  # fmt: skip
    for (_, frame), (step, steps, t, sigma, x_t, x_0) in zip(events[1:-1], seen, strict=True):
        assert (frame["step"], frame["steps"]) == (step, steps)
        assert (frame["t"], frame["sigma"]) == pytest.approx((t, sigma))
        # x_t holds the noise: compare at its size.
        np.testing.assert_allclose(numbers(frame["x_t"], IMAGE), x_t, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(numbers(frame["x_0"], IMAGE), x_0, rtol=1e-4, atol=1e-3)
    done = events[-1][1]
    np.testing.assert_allclose(numbers(done["x"], IMAGE), wanted.x, atol=FLOAT32)
    assert (done["nfe"], done["labels"]) == (wanted.nfe, [2, 2, 2])


CASES: list[dict[str, Any]] = [
    {"model": "sgm-digits", "n": 4},  # all classes in turn, the model's settings
    {"model": "sgm-digits", "n": 2, "label": 1, "guidance": 2.5, "steps": 5},
    {"model": "sgm-digits", "n": 2, "label": -1, "variant": "fp32", "steps": 5},
    {"model": "sgm-digits", "sampler": "ddim", "options": {"eta": 0.5}, "steps": 5},
    {"model": "sgm-digits", "process": "cld", "sampler": "sscs", "steps": 5},
    {"model": "sgm-rolls", "n": 50, "process": "ve", "sampler": "heun", "steps": 5},
    {"model": "sgm-rolls", "n": 3, "seed": 2**64 - 3, "steps": 5},
    {"model": "langevin", "n": 3, "process": "vp", "steps": 5},
    {"model": "langevin", "n": 3, "sampler": "sscs2", "steps": 5},
]


@pytest.mark.parametrize("asked", CASES, ids=[json.dumps(case)[10:] for case in CASES])
def test_every_setting_is_the_models_own(
    client: Client, models: dict[str, ScoreModel], asked: dict[str, Any]
) -> None:
    given = {key: value for key, value in asked.items() if key not in ("model", "variant")}
    model = models[asked["model"]]
    x = client.x(model.shape, **asked, frames=False)
    np.testing.assert_allclose(x, model.generate(**given), rtol=1e-4, atol=FLOAT32)


def test_the_adaptive_sampler_agrees_to_its_tolerance(
    client: Client, models: dict[str, ScoreModel]
) -> None:
    asked: dict[str, Any] = {"n": 5, "sampler": "ode"}
    wanted = models["sgm-rolls"].generate(**asked)
    np.testing.assert_allclose(client.x(POINT, model="sgm-rolls", **asked), wanted, atol=0.02)


@pytest.mark.parametrize("name", ["sgm-digits", "langevin"])
def test_a_completed_item_is_that_of_the_model(
    client: Client, models: dict[str, ScoreModel], name: str
) -> None:
    model = models[name]
    item = np.arange(np.prod(model.shape), dtype=np.float32).reshape(model.shape) % 16
    known = np.arange(item.size).reshape(model.shape) % 2
    wanted = inpaint(model, item, known, n=2, seed=3, steps=4).x
    hole = {"image": text_of(item), "mask": text_of(known, "u1")}
    events = client.generate(model=name, n=2, seed=3, steps=4, **hole)
    assert events[0][1]["variant"] == "fp32"
    assert len(events) == 2 + 4
    x = numbers(events[-1][1]["x"], model.shape)
    np.testing.assert_allclose(x, wanted, rtol=1e-3, atol=2e-3)
    assert (x[:, known == 1] == item[known == 1]).all()


def test_a_changed_item_and_a_path_are_those_of_the_model(
    client: Client, models: dict[str, ScoreModel]
) -> None:
    model = models["sgm-digits"]
    item = np.arange(36, dtype=np.float32).reshape(IMAGE) % 16
    wanted = edit(model, item, 0.5, n=2, seed=3, steps=8, label=1).x
    change = {"image": text_of(item), "strength": 0.5, "label": 1}
    events = client.generate(model="sgm-digits", n=2, seed=3, steps=8, **change)
    frames = [fields for name, fields in events if name == "frame"]
    assert events[0][1]["steps"] == frames[-1]["steps"] == len(frames) < 8
    np.testing.assert_allclose(numbers(events[-1][1]["x"], IMAGE), wanted, atol=FLOAT32)
    given: dict[str, Any] = {"sampler": "multistep", "steps": 6, "label": 2}
    between = interpolate(model, 3, 17, 4, **given).x
    x = client.x(IMAGE, model="sgm-digits", n=4, path=[3, 17], **given)
    np.testing.assert_allclose(x, between, atol=FLOAT32)
    np.testing.assert_allclose(x[:1], model.generate(1, seed=3, **given), atol=FLOAT32)


def test_frames_come_as_often_as_asked(client: Client) -> None:
    events = client.generate(model="sgm-rolls", steps=7, every=3)
    assert [fields["step"] for name, fields in events if name == "frame"] == [3, 6, 7]
    assert len(client.generate(model="sgm-rolls", steps=7, frames=False)) == 2


def test_a_sample_does_not_depend_on_who_else_asks(
    client: Client, models: dict[str, ScoreModel]
) -> None:
    """Fifteen at once, of two models and many settings: each gets what it gets alone."""
    kinds: list[dict[str, Any]] = [
        {"model": "sgm-rolls", "steps": 20},
        {"model": "sgm-rolls", "steps": 20, "n": 3, "frames": False},
        {"model": "sgm-rolls", "steps": 30, "sampler": "ddim"},
        {"model": "sgm-digits", "steps": 15, "label": 0},
        {"model": "sgm-digits", "steps": 15, "label": 2, "frames": False},
    ]
    asked = [{**kinds[i % 5], "seed": 100 * i} for i in range(15)]
    shapes = [models[one["model"]].shape for one in asked]
    with concurrent.futures.ThreadPoolExecutor(15) as pool:
        together = list(pool.map(lambda shape, one: client.x(shape, **one), shapes, asked))
    for shape, one, x in zip(shapes, asked, together, strict=True):
        np.testing.assert_allclose(x, client.x(shape, **one), rtol=1e-4, atol=FLOAT32)
    assert _metric(client, "sgm_studio_run_requests_sum") > _metric(
        client, "sgm_studio_run_requests_count"
    ), "some were drawn in one run"


# -- what is listed -----------------------------------------------------------------------------


def test_the_list_of_models_says_what_can_be_asked(client: Client) -> None:
    listed = client.json("/api/models")
    by_name = {model["name"]: model for model in listed["models"]}
    assert set(by_name) == {"sgm-digits", "sgm-rolls", "langevin"}
    digits = by_name["sgm-digits"]
    assert (digits["version"], digits["aliases"], digits["kind"]) == (3, ["champion"], "image")
    assert (digits["shape"], digits["labels"]) == ([1, 6, 6], LABELS)
    assert digits["process"]["kind"] == digits["processes"][0] == "vp"
    assert digits["net"]["kind"] == "unet" and digits["defaults"]["steps"] == 25
    assert digits["samplers"]["ddim"]["eta"]["high"] == 1.0
    assert digits["samplers"]["heun"]["s_tmax"]["high"] is None
    assert "heun" in digits["fits"]["vp"] and "heun" not in digits["fits"]["cld"]
    assert set(digits["variants"]) == {"fp32", "onnx"} and digits["variant"] == "onnx"
    assert digits["browser"] is True and digits["most"] == 4096
    assert by_name["langevin"]["variants"]["fp32"]["file"] == "model.safetensors"
    assert listed["limits"]["steps"] == 900
    assert client.json("/api/health")["status"] == "ok"


def test_files_are_those_of_the_bundle_and_nothing_else(client: Client, folder: Path) -> None:
    base = "/api/models/sgm-digits/3/files/"
    manifest = client.json(base + "bundle.json")
    for path, entry in manifest["files"].items():
        status, headers, content = client.ask(base + path)
        assert (status, headers["etag"]) == (200, f'"{entry["sha256"]}"')
        assert content == (folder / "digits" / path).read_bytes()
        assert "immutable" in headers["cache-control"]
        again, _, nothing = client.ask(base + path, headers={"if-none-match": headers["etag"]})
        assert (again, nothing) == (304, b"")
    for path in (
        "../../rolls/1/config.json", "..%2f..%2frolls%2f1%2fconfig.json", "/etc/passwd",
        "%2fetc%2fpasswd", "nothing.json", "", "config.json/", "./config.json",
    ):  # fmt: skip
        status, _, content = client.ask(base + path)
        assert status == 404, path
        assert "detail" in json.loads(content)
    assert client.ask("/api/models/sgm-digits/4/files/config.json")[0] == 404
    assert client.ask("/api/models/none/1/files/config.json")[0] == 404
    assert client.ask("/api/models/langevin/1/files/model.safetensors")[0] == 200


def test_the_page_has_its_types_and_its_policy(client: Client) -> None:
    status, headers, content = client.ask("/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"<html" in content
    policy = headers["content-security-policy"]
    assert "script-src 'self' 'wasm-unsafe-eval'" in policy and "unsafe-inline" not in policy
    assert client.ask("/app.js")[1]["content-type"].startswith("text/javascript")
    wasm = "/tfjs-backend-wasm-simd.wasm"
    assert client.ask(wasm)[1]["content-type"] == "application/wasm"
    status, _, content = client.ask("/../pyproject.toml")
    assert status == 404 and "detail" in json.loads(content)


# -- what is refused ----------------------------------------------------------------------------

HOLE = {"image": text_of(np.zeros(36)), "mask": text_of(np.zeros(36), "u1")}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"model": "sgm-digit"}, "unknown model 'sgm-digit'; did you mean 'sgm-digits'?"),
    ({"version": 9}, "version: sgm-digits has no version 9; choose one of: champion, 3"),
    ({"version": "challenger"}, "has no version 'challenger'"),
    ({"label": 3}, "label: 3 is not valid: choose 0 to 2"),
    ({"label": [1]}, "label: [1] is not valid: write a whole number or a text"),
    ({"sampler": "ddim", "options": {"eta": "a"}}, "options.eta: 'a' is not valid: write a"),
    ({"label": "tow"}, "unknown label 'tow'; did you mean 'two'?"),
    ({"sampler": "dimm"}, "unknown sampler; did you mean 'ddim'?"),
    ({"sampler": "ddim", "options": {"eta": 2}}, "eta: 2"),
    ({"sampler": "ddim", "options": {"eat": 1}}, "no option 'eat'; did you mean 'eta'?"),
    ({"sampler": "sscs"}, "samplers 'sscs' and 'sscs2' split a Langevin process"),
    ({"sampler": "heun", "process": "cld"}, "sampler 'heun' is for processes with one channel"),
    ({"process": "vpp"}, "unknown process 'vpp'; did you mean 'vp'?"),
    ({"process": "os:system"}, "unknown process 'os:system'"),
    ({"variant": "onnx_int8"}, "unknown variant 'onnx_int8'"),
    ({"n": 0}, "n: 0 is not valid: input should be greater than or equal to 1"),
    ({"n": 5000}, "n: 5000 is not valid: this server draws 1 to 4096 samples"),
    ({"n": "3"}, "n: '3' is not valid: write a whole number"),
    ({"n": True}, "n: True is not valid: write a whole number"),
    ({"steps": 0}, "steps"),
    ({"steps": 901}, "steps: 901 is not valid: this server takes 1 to 900"),
    ({"steps": 10**9}, "steps: 1000000000 is not valid: this server takes 1 to 900"),
    ({"steps": 2.5}, "steps"),
    ({"seed": -1}, "seed: "),
    ({"seed": 2**64 - 1, "n": 2}, "seed: 18446744073709551615 is not valid: seed + n"),
    ({"guidance": -1}, "guidance"),
    ({"guidance": 1e9}, "guidance"),
    ({"model": "sgm-rolls", "guidance": 2.0}, "sgm-rolls has no classes; leave it out"),
    ({"model": "sgm-rolls", "label": 0}, "label: 0 was given and this model has no classes"),
    ({"every": 0}, "every: "),
    ({"n": 4096, "steps": 900}, "write at least 33, or frames: false"),
    ({"step": 5}, "step: there is no such field"),
    ({"image": HOLE["image"]}, "mask: is missing; image needs it, or strength"),
    ({"mask": HOLE["mask"]}, "image: is missing; mask needs it"),
    ({**HOLE, "image": "?"}, "image: is not base64"),
    ({**HOLE, "image": "AAAA"}, "image: holds 3 bytes; this model takes 36 numbers of float32"),
    ({**HOLE, "mask": "AAAA"}, "mask: holds 3 bytes; this model takes 36 numbers of uint8"),
    ({**HOLE, "mask": text_of(np.full(36, 7), "u1")}, "mask: holds values other than 0 and 1"),
    ({**HOLE, "mask": text_of(np.ones(36), "u1")}, "mask: leaves nothing to draw"),
    ({**HOLE, "variant": "onnx"}, "variant: 'onnx' cannot complete an image"),
]
PATH = {"path": [1, 2], "sampler": "ddim"}
WRONG += [
    ({**PATH}, "n: 1 is not valid: a path has at least 2 samples"),
    ({**PATH, "n": 3, "path": [1]}, "path"),
    ({**PATH, "n": 3, "path": [1, -2]}, "path"),
    ({**PATH, "n": 3, "sampler": "multistep_sde"}, "draws fresh noise; a path needs one of"),
    ({**PATH, "n": 3, "options": {"eta": 1.0}}, "options: eta draws fresh noise"),
    ({**PATH, "n": 3, "image": HOLE["image"]}, "image: does not go with path"),
    ({**HOLE, "strength": 0.5}, "strength: does not go with mask"),
    ({"strength": 0.5}, "image: is missing; strength needs it"),
    ({"image": HOLE["image"], "strength": 0}, "strength"),
]
SEEN = {"mask": text_of([1] + [0] * 35, "u1")}
WRONG += [
    ({**SEEN, "image": text_of([np.nan] * 36)}, "image: holds NaN"),
    ({**SEEN, "image": text_of([99.0] * 36)}, "image: has values 99 to 99"),
]


@pytest.mark.parametrize("asked, told", WRONG, ids=[told[:40] for _, told in WRONG])
def test_a_wrong_request_is_one_sentence(client: Client, asked: dict[str, Any], told: str) -> None:
    status, sentence = client.refused(**{"model": "sgm-digits", **asked})
    assert status == 422
    assert told in sentence and "\n" not in sentence


def test_a_body_that_is_no_request_is_refused(client: Client) -> None:
    for body in (b"", b"{", b"[]", b"\xff\xfe", b'{"model": "sgm-digits", "guidance": NaN}'):
        status, _, content = client.ask("/api/generate", body)
        assert status == 422 and json.loads(content)["detail"]
    for kind in ("application/x-www-form-urlencoded", "text/plain", ""):
        form = {"content-type": kind}
        status, _, content = client.ask("/api/generate", {"model": "sgm-digits"}, headers=form)
        told = f"content-type: {kind!r} is not valid: send application/json"
        assert (status, json.loads(content)["detail"]) == (422, told)
    status, _, content = client.ask("/api/generate", b"x" * (4 * 2**20 + 1))
    assert status == 413 and "4194304 bytes" in json.loads(content)["detail"]


def test_another_host_origin_or_method_is_refused(client: Client) -> None:
    status, _, content = client.ask("/api/models", headers={"host": "evil.example"})
    assert status == 403 and "--allowed-host evil.example" in json.loads(content)["detail"]
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        asked = {"model": "sgm-rolls", "steps": 1}
        assert client.ask("/api/generate", asked, headers={"origin": origin})[0] == 403
    own = {"origin": f"http://127.0.0.1:{client.port}"}
    assert client.ask("/api/generate", {"model": "sgm-rolls", "steps": 1}, headers=own)[0] == 200
    for method, path, allowed in (
        ("GET", "/api/generate", "POST"), ("DELETE", "/api/models", "GET"), ("PUT", "/", "GET, HEAD")
    ):  # fmt: skip
        status, headers, _ = client.ask(path, method=method)
        assert (status, headers["allow"]) == (405, allowed)
    assert client.ask("/api/nothing")[0] == 404


# -- many at once -------------------------------------------------------------------------------

LONG = {"model": "sgm-rolls", "n": 2000, "steps": 900, "frames": False}


def test_a_busy_server_says_so_and_a_client_that_leaves_makes_room(client: Client) -> None:
    connections = []
    for seed in range(16):
        connection = client.connect()
        body = json.dumps({**LONG, "seed": seed}).encode()
        connection.request("POST", "/api/generate", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 200 and answer.readline() == b"event: start\n"
        connections.append((connection, answer))
    status, headers, content = client.ask("/api/generate", {"model": "sgm-rolls", "steps": 1})
    assert status == 429 and int(headers["retry-after"]) >= 1
    assert "busy with 16 requests" in json.loads(content)["detail"]
    assert client.json("/api/health")["requests"] == 16
    for connection, answer in connections:
        answer.close()
        connection.close()
    _until(lambda: client.json("/api/health")["requests"] == 0)
    # Nothing is computed for those who left: what is asked now is drawn at once.
    assert client.x(POINT, model="sgm-rolls", steps=2).shape == (1, 2)
    assert _metric(client, "sgm_studio_clients_left_total") >= 16
    before = _metric(client, "sgm_studio_network_rows_sum")
    time.sleep(0.5)
    assert _metric(client, "sgm_studio_network_rows_sum") == before


# -- versions that come and go (last: they change the folder) -------------------------------------


def test_a_new_version_is_served_without_a_restart_and_a_damaged_one_never(
    client: Client, folder: Path
) -> None:
    asked = {"model": "sgm-rolls", "n": 4, "steps": 4}
    old = client.x(POINT, **asked)
    new = points(seed=5)
    wanted = new.generate(4, steps=4)
    stage = folder / ".new"
    write(new, stage, "sgm-rolls", 2).rename(folder / "rolls" / "2")
    seen = set()

    def switched() -> bool:
        """Every answer on the way is one of the two models', whole."""
        events = client.generate(**asked)
        version, x = events[0][1]["version"], numbers(events[-1][1]["x"], POINT)
        np.testing.assert_allclose(x, {1: old, 2: wanted}[version], rtol=1e-4, atol=FLOAT32)
        seen.add(version)
        return version == 2

    _until(switched)
    assert seen <= {1, 2}
    np.testing.assert_allclose(client.x(POINT, **asked, version=1), old, atol=FLOAT32)

    damaged = write(points(seed=6), folder / ".bad", "sgm-rolls", 3)
    weights = bytearray((damaged / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (damaged / "model.safetensors").write_bytes(weights)
    damaged.rename(folder / "rolls" / "3")
    _until(lambda: client.json("/api/health")["status"] == "degraded")
    (problem,) = client.json("/api/health")["problems"]
    assert (problem["model"], problem["version"]) == ("sgm-rolls", 3)
    assert "model.safetensors was altered" in problem["detail"]
    assert client.generate(**asked)[0][1]["version"] == 2
    assert _metric(client, 'sgm_studio_model_version{model="sgm-rolls"}') == 2


def _until(true: Callable[[], bool]) -> None:
    """Wait for something to happen; the test's own time limit ends what never does."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.2)


def _metric(client: Client, name: str) -> float:
    text = client.ask("/metrics")[2].decode()
    return sum(
        float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name + " ")
    )
