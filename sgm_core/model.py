"""`ScoreModel`: the small face of it all, to train a score model and to draw from it.

model = ScoreModel(num_timesteps=1000, img_size=28, num_channels=1)
for batch in batches:
    loss = model.train_step(batch)
pictures = model.generate(16, steps=25, seed=0)
model.save("my-model");  model = ScoreModel.load("my-model")
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgm_core.arguments import check_shape, numbers, resolve, whole
from sgm_core.bundle import read_bundle, write_bundle
from sgm_core.config.base import build
from sgm_core.config.net import NETS
from sgm_core.config.process import PROCESSES
from sgm_core.config.training import SamplingConfig, TrainingConfig
from sgm_core.denoise import Denoiser, Guided, outer_state
from sgm_core.errors import UsageError, unknown
from sgm_core.objective import Objective, training_times
from sgm_core.parts import build_parts
from sgm_core.sample import make_sampler
from sgm_core.train.loop import LoopSettings, TrainState, advance

# callback(step, steps, t, sigma_eff, x_t, x0_hat): arrays in the data's own range, x_t the
# position seen through the process, rescaled to y = x_0 + sigma_eff eps.
StepCallback = Callable[[int, int, float, float, np.ndarray, np.ndarray], bool | None]


@dataclass(frozen=True)
class SampleResult:
    """Drawn samples and what they cost.

    Attributes:
        x: data range; points (n, d) float64, images (n, C, H, W) float32 clipped to the range.
        labels: class of each sample, or None.
        nfe: network evaluations per sample, counted.
        seconds, cpu_seconds: for all samples.
    """

    x: np.ndarray
    labels: np.ndarray | None
    nfe: int
    seconds: float
    cpu_seconds: float


class ScoreModel:
    """A score-based generative model: process, network, and their training and sampling.

    Args:
        num_timesteps: number of noise levels that training draws from.
        img_size: height and width of images, or a pair.
        num_channels: 1 to 4.
        shape: data shape instead of the two above: (d,) for points, (C, H, W) for images.
        process: name or {"kind": name, ...parameters} (vp, subvp, ve, cld).
        net: name or {"kind": name, ...parameters}; default by shape (mlp, unet).
        labels: class names; empty for an unconditional model.
        data_range: range of images; they are mapped to [-1, 1].
        center, scale: instead, model space is (x - center) / scale; one number or one a coordinate.
        sigma_data: standard deviation of the data in model space (images 0.5, points 1).
        training: fields of TrainingConfig that differ from their defaults. The learning rate is
            constant unless `steps` (or `schedule`) is given: then it falls to zero over `steps`.
        sampling: fields of SamplingConfig that differ from their defaults.
        seed: seed of the initial weights and of training noise.
        device: "cpu", "cuda", ...

    Raises:
        UsageError: an argument is wrong; the message names it.
    """

    def __init__(
        self,
        num_timesteps: int = 1000,
        img_size: int | tuple[int, int] = 64,
        num_channels: int = 3,
        *,
        shape: Sequence[int] | None = None,
        process: str | Mapping[str, Any] = "vp",
        net: str | Mapping[str, Any] | None = None,
        labels: Sequence[str] = (),
        data_range: tuple[float, float] | None = None,
        center: float | Sequence[float] | None = None,
        scale: float | Sequence[float] | None = None,
        sigma_data: float | None = None,
        training: Mapping[str, Any] | None = None,
        sampling: Mapping[str, Any] | None = None,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        size = tuple(img_size) if isinstance(img_size, (tuple, list)) else (img_size, img_size)
        full = tuple(shape) if shape is not None else (num_channels, *size)
        check_shape(full)
        self.num_timesteps = whole("num_timesteps", num_timesteps, 1)
        low, high = numbers("data_range", data_range or (-1.0, 1.0), (2,))
        if not low < high:
            raise UsageError(f"data_range: {data_range!r} is not valid: the first must be smaller")
        channels = (1, full[0]) if len(full) == 1 else (1,)
        spread = sigma_data if sigma_data is not None else (0.5 if len(full) == 3 else 1.0)
        data = {
            "name": "",
            "kind": "images" if len(full) == 3 else "points",
            "shape": list(full),
            "range": [low, high],
            "center": numbers("center", (low + high) / 2 if center is None else center, channels),
            "scale": numbers(
                "scale", (high - low) / 2 if scale is None else scale, channels, positive=True
            ),
            "sigma_data": numbers("sigma_data", spread, (1,), positive=True)[0],
            "labels": list(labels),
        }
        fields = dict(training or {})
        if not {"steps", "schedule"} & fields.keys():
            fields["schedule"] = "constant"  # nobody said how many calls of train_step will come
        self.training = build(TrainingConfig, fields, ["training"])
        self._assemble(
            {
                "process": resolve(PROCESSES, process, "process"),
                "net": resolve(NETS, net or ("unet" if len(full) == 3 else "mlp"), "net"),
                "parametrisation": self.training.parametrisation,
                "data": data,
                "sampling": build(SamplingConfig, sampling or {}, ["sampling"]).model_dump(),
            },
            seed,
            device,
        )

    def _assemble(self, config: dict[str, Any], seed: int, device: str) -> None:
        self.config, self.seed, self.device = config, seed, torch.device(device)
        parts = build_parts(
            config["process"], config["net"], config["data"], config["parametrisation"], seed
        )
        self.process, self.preconditioning = parts.process, parts.preconditioning
        self.net = parts.net.to(self.device).eval()
        self.parameters = parts.parameters
        self.shape = tuple(config["data"]["shape"])
        self.labels: list[str] = list(config["data"]["labels"])
        self._state: TrainState | None = None
        tail = [1] * (len(self.shape) - 1)
        self._center = np.asarray(config["data"]["center"]).reshape(-1, *tail)
        self._scale = np.asarray(config["data"]["scale"]).reshape(-1, *tail)

    # -- training -------------------------------------------------------------------------------

    def train_step(self, batch: Any, labels: Any = None) -> float:
        """Do one AdamW step of denoising score matching; return its loss.

        Args:
            batch: (B, *shape) in the data's own range, array or tensor.
            labels: (B,) class indices for a conditional model.

        Raises:
            UsageError: the batch has another shape or is not finite, or labels do not fit.
        """
        x = torch.as_tensor(np.asarray(batch), dtype=torch.float32)
        if x.ndim != len(self.shape) + 1 or tuple(x.shape[1:]) != self.shape or not len(x):
            raise UsageError(
                f"batch: shape {tuple(x.shape)} does not fit; give (B, "
                f"{', '.join(map(str, self.shape))})"
            )
        if not bool(torch.isfinite(x).all()):
            raise UsageError("batch: holds NaN or infinite values; remove them")
        if self._state is None:
            t = self.training
            times = training_times(
                self.process, t.time_sampling, self.num_timesteps, t.p_mean, t.p_std
            )
            objective = Objective(self.preconditioning, times, self.device)
            self._state = TrainState(
                self.net, objective, LoopSettings.of(t.model_dump()), self.seed
            )
        x0 = ((x - torch.from_numpy(self._center)) / torch.from_numpy(self._scale)).float()
        chosen = None
        if labels is not None and self.labels:
            chosen = torch.from_numpy(self._labels(labels, len(x))).to(self.device)
        return float(advance(self._state, x0.to(self.device), chosen).loss)

    # -- sampling -------------------------------------------------------------------------------

    def generate(self, n: int = 1, **options: Any) -> np.ndarray:
        """Draw n samples; see `sample` for the options. Returns (n, *shape) in the data's range."""
        return self.sample(n, **options).x

    def sample(
        self,
        n: int = 1,
        *,
        seed: int = 0,
        steps: int | None = None,
        sampler: str | None = None,
        grid: str | None = None,
        sigma_min: float | None = None,
        label: Any = None,
        guidance: float | None = None,
        batch: int = 1000,
        callback: StepCallback | None = None,
    ) -> SampleResult:
        """Draw n samples.

        Args:
            seed: sample i uses seed + i: the same noise, and so the same sample up to float
                rounding, at any batch size.
            steps, sampler, grid, sigma_min, guidance: default to the model's `sampling` settings.
            label: a class index or name, or one per sample; None: classes in turn for a
                conditional model; -1: no class.
            batch: samples per pass.
            callback: called each step with the first pass's state; False stops there.

        Raises:
            UsageError: an option is wrong; the message names it, its value and the fix.
        """
        n, seed, batch = whole("n", n, 1), whole("seed", seed, 0), whole("batch", batch, 1)
        if seed + n > 2**64:
            raise UsageError(f"seed: {seed} is not valid: seed + n must not exceed 2^64")
        given = {
            "steps": steps,
            "sampler": sampler,
            "grid": grid,
            "sigma_min": sigma_min,
            "guidance": guidance,
        }
        chosen = {k: v for k, v in given.items() if v is not None}
        settings = build(SamplingConfig, {**self.config["sampling"], **chosen}, [])
        labels = None if not self.labels and label is None else self._labels(label, n)
        denoiser, guided = self.denoiser(), settings.guidance != 1.0 and labels is not None
        call = Guided(denoiser, settings.guidance) if guided else denoiser
        walk = make_sampler(
            settings.sampler,
            steps=settings.steps,
            grid=settings.grid,
            sigma_min=settings.sigma_min,
        )
        wall, cpu, parts, nfe = time.perf_counter(), time.process_time(), [], 0
        for first in range(0, n, batch):
            seeds = np.arange(seed + first, seed + min(n, first + batch), dtype=np.uint64)
            one = None if labels is None else torch.from_numpy(labels[first : first + batch])
            on_device = None if one is None else one.to(self.device)
            report = self._reporter(walk, callback) if callback and first == 0 else None
            denoiser.nfe = 0
            x = walk(
                call,
                (len(seeds), *self.shape),
                seeds,
                callback=report,
                device=self.device,
                labels=on_device,
            )
            nfe = max(nfe, denoiser.nfe)
            parts.append(self._to_data(x))
        shown = None if labels is None or (labels < 0).all() else labels
        cost = time.perf_counter() - wall, time.process_time() - cpu
        return SampleResult(np.concatenate(parts), shown, nfe, *cost)

    def denoiser(self) -> Denoiser:
        """Return E[x_0 | u_t] of the averaged weights, in model space."""
        net = self.net if self._state is None else self._state.ema_net
        return Denoiser(net.eval(), self.preconditioning)

    def score(self, x: np.ndarray, t: float) -> np.ndarray:
        """Return the score of the data smoothed to sigma_eff(t), at x in the data's own range.

        score(y) = (D(y; sigma) - y) / sigma^2 per model-space unit, divided by `scale`.

        Args:
            x: (n, *shape). Returns the same shape.
        """
        marginal = self.process.marginal
        y = torch.from_numpy((np.asarray(x, dtype=np.float64) - self._center) / self._scale)
        y = y.to(self.device)
        with torch.no_grad():
            x0 = self.denoiser()(outer_state(marginal.mean(t), y), t)
        sigma = float(marginal.sigma_eff(t))
        return np.asarray(((x0 - y) / sigma**2).cpu().numpy() / self._scale)

    def _reporter(self, walk: Any, callback: StepCallback) -> Callable[..., bool | None]:
        statistic = self.preconditioning.statistic

        def report(step: int, t: float, u: Tensor, x0: Tensor) -> bool | None:
            row = statistic(t).to(u)
            y = torch.einsum("k,nk...->n...", row, u)
            sigma = float(self.process.marginal.sigma_eff(t))
            shown = (self._to_data(v, clip=False) for v in (y, x0))
            return callback(step, walk.steps, t, sigma, *shown)

        return report

    def _to_data(self, x: Tensor, clip: bool = True) -> np.ndarray:
        array = x.double().cpu().numpy() * self._scale + self._center
        if len(self.shape) == 1:
            return np.asarray(array)
        low, high = self.config["data"]["range"]
        return np.asarray(np.clip(array, low, high) if clip else array, dtype=np.float32)

    def _labels(self, label: Any, n: int) -> np.ndarray:
        """Return (n,) int64 class indices from None, an index, a name, or one per sample."""
        if not self.labels:
            if np.ndim(label) == 0 and label == -1:
                return np.full(n, -1)
            raise UsageError(
                f"label: {label!r} was given and this model has no classes; leave it out"
            )
        if label is None:
            return np.arange(n) % len(self.labels)
        if isinstance(label, str):
            if label not in self.labels:
                raise unknown("label", label, self.labels)
            label = self.labels.index(label)
        array = np.asarray(label)
        if array.dtype.kind not in "iu" or array.ndim > 1 or (array.ndim and len(array) != n):
            raise UsageError(
                f"label: {label!r} is not valid: give one class, or {n} of them, as whole numbers"
            )
        if array.size and (array.min() < -1 or array.max() >= len(self.labels)):
            raise UsageError(
                f"label: {label!r} is not valid: choose 0 to {len(self.labels) - 1}, or -1 for none"
            )
        return np.broadcast_to(array, (n,)).astype(np.int64)

    # -- files ----------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> None:
        """Write model.safetensors (averaged weights) and config.json; no pickle."""
        net = self.denoiser().net
        write_bundle(Path(folder), net.state_dict(), {**self.config, "parameters": self.parameters})

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> ScoreModel:
        """Read a model that `save` or the pipeline wrote.

        Raises:
            UsageError: the folder holds no model.
            SgmError: a file is damaged or was altered.
        """
        config, weights = read_bundle(Path(folder))
        config.setdefault("sampling", SamplingConfig().model_dump())
        model = cls.__new__(cls)
        model.num_timesteps = 1000
        model.training = TrainingConfig(parametrisation=config["parametrisation"])
        model._assemble(config, 0, device)
        model.net.load_state_dict(weights)
        return model
