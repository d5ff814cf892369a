"""`ScoreModel`: the small face of it all, to train a score model and to draw from it.

model = ScoreModel(num_timesteps=1000, img_size=28, num_channels=1)
for batch in batches:
    loss = model.train_step(batch)
pictures = model.generate(16, steps=25, seed=0)
model.save("my-model");  model = ScoreModel.load("my-model")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from sgm_core.arguments import named, resolve, whole
from sgm_core.bundle import read_bundle, write_bundle
from sgm_core.config.base import build
from sgm_core.config.custom import ALL_PROCESSES
from sgm_core.config.net import NETS
from sgm_core.config.training import SamplingConfig, TrainingConfig
from sgm_core.denoise import Denoiser, outer_state
from sgm_core.errors import UsageError
from sgm_core.generate import SampleResult, StepCallback, Wrap, generate, settings_of
from sgm_core.objective import Objective
from sgm_core.parts import build_parts
from sgm_core.process import make_process
from sgm_core.process.base import Process
from sgm_core.process.edm import EDM
from sgm_core.sample.noise import SEEDS, Seeds, seed_list
from sgm_core.space import DataSpace, describe
from sgm_core.train.loop import LoopSettings, TrainState, advance

if TYPE_CHECKING:
    from sgm_core.likelihood import LogProb

# A process by name, as {"kind": name, ...parameters}, or itself; None: the one trained under.
ProcessLike = str | Mapping[str, Any] | Process | None


class ScoreModel:
    """A score-based generative model: process, network, and their training and sampling.

    Args:
        num_timesteps: number of noise levels that training draws from.
        img_size: height and width of images, or a pair.
        num_channels: 1 to 4.
        shape: data shape instead of the two above: (d,) for points, (C, H, W) for images.
        process: name or {"kind": name, ...parameters} (vp, ve, cld, ...; or "module:Class").
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
        data = describe(
            full,
            labels=labels,
            data_range=data_range,
            center=center,
            scale=scale,
            sigma_data=sigma_data,
        )
        self.num_timesteps = whole("num_timesteps", num_timesteps, 1)
        fields = dict(training or {})
        if not {"steps", "schedule"} & fields.keys():
            fields["schedule"] = "constant"  # nobody said how many calls of train_step will come
        self.training = build(TrainingConfig, fields, ["training"])
        self._assemble(
            {
                "process": resolve(ALL_PROCESSES, process, "process"),
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
        self.space = DataSpace(config["data"])
        self.shape, self.labels = self.space.shape, self.space.labels
        self._state: TrainState | None = None

    # -- training -------------------------------------------------------------------------------

    def train_step(self, batch: Any, labels: Any = None) -> float:
        """Do one AdamW step of denoising score matching; return its loss.

        Args:
            batch: (B, *shape) in the data's own range, array or tensor.
            labels: (B,) class indices for a conditional model.

        Raises:
            UsageError: the batch has another shape or is not finite, or labels do not fit.
        """
        x0 = self.space.to_model(batch, "batch").float().to(self.device)
        if self._state is None:
            fields = self.training.model_dump()
            objective = Objective.of(self.preconditioning, fields, self.num_timesteps, self.device)
            self._state = TrainState(self.net, objective, LoopSettings.of(fields), self.seed)
        chosen = None
        if labels is not None and self.labels:
            chosen = torch.from_numpy(self.space.classes(labels, len(x0))).to(self.device)
        return float(advance(self._state, x0, chosen).loss)

    # -- sampling -------------------------------------------------------------------------------

    def generate(self, n: int = 1, **options: Any) -> np.ndarray:
        """Draw n samples; see `sample` for the options. Returns (n, *shape) in the data's range."""
        return self.sample(n, **options).x

    def sample(
        self,
        n: int = 1,
        *,
        seed: Seeds = 0,
        steps: int | None = None,
        sampler: str | None = None,
        options: Mapping[str, float] | None = None,
        grid: str | None = None,
        sigma_min: float | None = None,
        sigma_max: float | None = None,
        label: Any = None,
        guidance: float | None = None,
        process: ProcessLike = None,
        batch: int = 1000,
        callback: StepCallback | None = None,
        start: Tensor | None = None,
        wrap: Wrap | None = None,
    ) -> SampleResult:
        """Draw n samples.

        Args:
            seed: sample i uses seed + i, or the i-th of n seeds: the same noise, and so the same
                sample up to float rounding, at any batch size.
            steps, sampler, grid, sigma_min, guidance: default to the model's `sampling` settings.
            options: the sampler's own, {"eta": 0.5}; the model's settings where the sampler is its.
            sigma_max: first noise level of the grid, in model space (default: the process's last).
            label: a class index or name, or one per sample; None: classes in turn for a
                conditional model; -1: no class.
            process: forward process to sample under, see `denoiser`.
            batch: samples per pass.
            callback: called each step with the first pass's state; False stops there.
            start: states (n, k, *shape) at the grid's first time instead of draws of the prior.
            wrap: denoiser -> denoiser, called once; puts conditions on what is drawn. A wrapped
                denoiser that treats items differently needs batch >= n.

        Raises:
            UsageError: an option is wrong; the message names it, its value and the fix.
        """
        n, batch = whole("n", n, 1), whole("batch", batch, 1)
        settings = self.settings(
            steps=steps,
            sampler=sampler,
            options=options,
            grid=grid,
            sigma_min=sigma_min,
            guidance=guidance,
        )
        labels = None if not self.labels and label is None else self.space.classes(label, n)
        return generate(
            self.denoiser(process),
            self.space,
            settings,
            n,
            seeds=_seeds(seed, n),
            batch=batch,
            labels=labels,
            device=self.device,
            sigma_max=sigma_max,
            callback=callback,
            start=start,
            wrap=wrap,
        )

    def settings(self, **given: Any) -> SamplingConfig:
        """Return the model's sampling settings with those that were given (not None) in place."""
        return settings_of(self.config["sampling"], given)

    def denoiser(self, process: ProcessLike = None) -> Denoiser:
        """Return E[x_0 | u_t] of the averaged weights, in model space.

        Args:
            process: the forward process whose states u it takes: a name, {"kind": name,
                ...parameters} or a Process; None for the one the model was trained under. Any will
                do, because E[x_0 | u_t] depends on u through y = x_0 + sigma_eff eps only.

        Raises:
            UsageError: there is no such process, or a parameter of it is wrong.
        """
        net = (self.net if self._state is None else self._state.ema_net).eval()
        return Denoiser(net, self.preconditioning, _process(process))

    def to_model(self, x: Any) -> Tensor:
        """Return x (n, *shape) of the data's range in model space, float64 on the model's device.

        Raises:
            UsageError: x has another shape, or holds NaN or infinite values.
        """
        return self.space.to_model(x).to(self.device)

    def to_data(self, x: Tensor, clip: bool = True) -> np.ndarray:
        """Return x (n, *shape) of the model space in the data's range; images clipped to it."""
        return self.space.to_data(x, clip)

    # -- what the model knows -------------------------------------------------------------------

    def score(self, x: np.ndarray, t: float) -> np.ndarray:
        """Return the score of the data smoothed to sigma_eff(t), at x in the data's own range.

        score(y) = (D(y; sigma) - y) / sigma^2 per model-space unit, divided by `scale`.

        Args:
            x: (n, *shape). Returns the same shape.
        """
        marginal, y = self.process.marginal, self.to_model(x)
        with torch.no_grad():
            x0 = self.denoiser()(outer_state(marginal.mean(t), y), t)
        sigma = float(marginal.sigma_eff(t))
        return np.asarray(((x0 - y) / sigma**2).cpu().numpy() / self.space.scale)

    def log_prob(
        self, x: Any, *, label: Any = -1, process: ProcessLike = None, **options: Any
    ) -> LogProb:
        """Return log p(x) of the model in nats per item, a density over the data's own units.

            log p(x) = log p_model((x - center) / scale) - sum ln scale

        Args:
            x: (n, *shape) in the data's range.
            label: the class that the density is conditional on; -1: none.
            process: see `denoiser`; the density is the same up to the range of noise levels. None:
                the trained one; for a network that was fed with all channels of an augmented
                process its scalar twin, whose states look as in training.
            options: of sgm_core.likelihood.log_prob (sigma_min, divergence, rtol, atol, ...).

        Raises:
            UsageError: x does not fit the model, or an option is wrong.
        """
        from sgm_core.likelihood import log_prob

        if process is None and self.preconditioning.in_channels > 1:
            process = EDM(*self.process.marginal.sigma_range())
        return self._density(log_prob, x, label, process, options)

    def bound(
        self,
        x: Any,
        *,
        draws: int = 1,
        label: Any = -1,
        process: ProcessLike = None,
        **options: Any,
    ) -> LogProb:
        """Return the augmented processes' lower bound of log p(x), in the units of `log_prob`.

            log p(x) >= E_q [log p(x, aux) - log q(aux)]             (arXiv 2112.07068, 2303.01748)

        The exact value is `log_prob`'s, whatever the process; the bound compares with the papers.

        Args:
            x: (n, *shape) in the data's range.
            draws: auxiliary states per item; the value is their mean.
            label: see `log_prob`.
            process: see `denoiser`; None: the one trained under.
            options: of sgm_core.likelihood.bound (sigma_min, divergence, rtol, atol, ...).

        Raises:
            UsageError: the process has no auxiliary channels, or x or an option is wrong.
        """
        from sgm_core.likelihood import bound

        return self._density(bound, x, label, process, {"draws": draws, **options})

    def _density(
        self,
        law: Callable[..., LogProb],
        x: Any,
        label: Any,
        process: ProcessLike,
        options: dict[str, Any],
    ) -> LogProb:
        """Return what `law` (log_prob or bound) says of items in the data's range, in its units."""
        z = self.to_model(x)
        if self.labels or np.ndim(label) or label not in (None, -1):
            classes = torch.from_numpy(self.space.classes(label, len(z)))
            options = {**options, "labels": classes.to(self.device)}
        result = law(self.denoiser(process), z, **options)
        return replace(result, value=result.value - self.space.log_volume)

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
        return cls.of(*read_bundle(Path(folder)), device)

    @classmethod
    def of(
        cls, config: Mapping[str, Any], weights: Mapping[str, Tensor], device: str = "cpu"
    ) -> ScoreModel:
        """Build a model from the content of its config.json and its weights."""
        model = cls.__new__(cls)
        model.num_timesteps = 1000
        model.training = TrainingConfig(parametrisation=config["parametrisation"])
        model._assemble({"sampling": SamplingConfig().model_dump(), **config}, 0, device)
        model.net.load_state_dict(weights)
        return model


def _seeds(seed: Seeds, n: int) -> np.ndarray:
    """Return the seed of each of n samples, (n,) uint64."""
    if np.ndim(seed):
        return seed_list(seed, n)
    first = whole("seed", seed, 0)
    if first + n > SEEDS:
        raise UsageError(f"seed: {first} is not valid: seed + n must not exceed 2^64")
    return np.uint64(first) + np.arange(n, dtype=np.uint64)


def _process(wanted: ProcessLike) -> Process | None:
    if wanted is None or isinstance(wanted, Process):
        return wanted
    kind, parameters = named(wanted, "process")
    return make_process(kind, **parameters)
