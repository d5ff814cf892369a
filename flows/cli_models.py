"""Commands of `sgm` that use a trained model: sample, interpolate, edit, under, likelihood."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from flows.choices import one_model, options_of, process_of

models_app = typer.Typer()

Model = Annotated[
    str | None, typer.Argument(help="folder, cell name or key, or models:/NAME@alias")
]
OneModel = Annotated[str, typer.Argument(help="folder, cell name or key, or models:/NAME@alias")]
From = Annotated[str | None, typer.Option("--from", help="the model, in place of MODEL")]
Out = Annotated[Path, typer.Option("--out", "-o", help="FILE.npy or FILE.png")]
Steps = Annotated[int | None, typer.Option(min=1, help="solver steps (default: the model's)")]
SamplerName = Annotated[str | None, typer.Option(help="sampler (default: the model's)")]
Options = Annotated[
    list[str] | None, typer.Option("--option", help="the sampler's own, NAME=NUMBER; repeatable")
]
Process = Annotated[
    str | None,
    typer.Option(
        help="under another process: a kind, a label of params.yaml, or '{kind: ve, sigma_min: 0.002}'"
    ),
]
MOST = 10_000_000  # samples of one command
Seed = Annotated[int, typer.Option(min=0, help="sample i uses seed + i")]
Label = Annotated[str | None, typer.Option(help="class: its index or its name")]
Guidance = Annotated[float | None, typer.Option(min=0, help="1: none")]


def _settings(
    steps: int | None,
    sampler: str | None,
    guidance: float | None,
    option: list[str] | None,
    process: str | None,
) -> dict[str, Any]:
    """The arguments of `ScoreModel.sample` that all of these commands share."""
    return {
        "steps": steps,
        "sampler": sampler,
        "guidance": guidance,
        "options": options_of(option),
        "process": process_of(process),
    }


@models_app.command()
def sample(
    out: Out,
    model: Model = None,
    source: From = None,
    n: Annotated[int, typer.Option("--n", "-n", min=1, max=MOST, help="how many samples")] = 16,
    steps: Steps = None,
    sampler: SamplerName = None,
    option: Options = None,
    process: Process = None,
    seed: Seed = 0,
    label: Label = None,
    guidance: Guidance = None,
    image: Annotated[Path | None, typer.Option(help="complete this image (with --mask)")] = None,
    mask: Annotated[
        Path | None, typer.Option(help="white (128 of 255 and above; .npy: 1): to be filled")
    ] = None,
    gray: Annotated[Path | None, typer.Option(help="colour this image")] = None,
) -> None:
    """Draw samples from a model into a file; --image and --mask: completions, --gray: colourings."""
    chosen, name = _settings(steps, sampler, guidance, option, process), one_model(model, source)
    if image or mask or gray:
        from flows.controlling import fill_to_file

        files = {"image": image, "mask": mask, "gray": gray}
        return fill_to_file(name, out, files, n, seed, label, chosen)
    from flows.sampling import sample_to_file

    sample_to_file(name, out, n, seed, label, chosen)


@models_app.command()
def interpolate(
    out: Out,
    model: Model = None,
    source: From = None,
    seeds: Annotated[str | None, typer.Option(help="two seeds: 3,17")] = None,
    images: Annotated[str | None, typer.Option(help="two images: a.png,b.png")] = None,
    count: Annotated[
        int, typer.Option(min=2, max=MOST, help="samples on the path, ends included")
    ] = 9,
    steps: Steps = None,
    sampler: Annotated[str | None, typer.Option(help="a deterministic one")] = None,
    option: Options = None,
    process: Process = None,
    label: Label = None,
    guidance: Guidance = None,
) -> None:
    """Draw a path of samples between two seeds or two images into a file."""
    from flows.controlling import interpolate_to_file

    chosen = _settings(steps, sampler, guidance, option, process)
    interpolate_to_file(one_model(model, source), out, seeds, images, count, label, chosen)


@models_app.command()
def edit(
    model: OneModel,
    image: Annotated[Path, typer.Argument(help="PNG, JPEG or .npy")],
    out: Out,
    strength: Annotated[
        float, typer.Option(help="share of the sampler's steps to walk again, up to 1")
    ] = 0.5,
    n: Annotated[int, typer.Option("--n", "-n", min=1, max=MOST, help="how many variations")] = 4,
    steps: Steps = None,
    sampler: SamplerName = None,
    option: Options = None,
    process: Process = None,
    seed: Seed = 0,
    label: Label = None,
    guidance: Guidance = None,
) -> None:
    """Draw variations of an image: noise it part of the way, and sample from there (SDEdit)."""
    from flows.controlling import edit_to_file

    chosen = _settings(steps, sampler, guidance, option, process)
    edit_to_file(model, image, out, strength, n, seed, label, chosen)


@models_app.command()
def under(
    model: Model = None,
    source: From = None,
    steps: Annotated[int, typer.Option(min=1, help="solver steps")] = 100,
    n: Annotated[
        int | None,
        typer.Option("--n", "-n", min=10, max=MOST, help="samples per seed (2000; images 500)"),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="disjoint blocks of seeds")] = 3,
    sampler: SamplerName = None,
    option: Options = None,
) -> None:
    """Sample one model under every process, and tell the spread from the noise of the seeds."""
    from flows.under import print_under

    print_under(one_model(model, source), steps, n, seeds, sampler, options_of(option))


@models_app.command()
def likelihood(
    model: OneModel,
    file: Annotated[Path, typer.Argument(help="FILE.npy: items (n, ...) in the data's range")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="FILE.npy for log p of each item, nats")
    ] = None,
    rtol: Annotated[float, typer.Option(help="tolerance of the ODE solver")] = 1e-5,
    exact: Annotated[
        bool, typer.Option("--exact", help="exact trace instead of random signs (slower)")
    ] = False,
    process: Process = None,
    bound: Annotated[
        bool, typer.Option("--bound", help="also the papers' lower bound (augmented processes)")
    ] = False,
) -> None:
    """Print the mean log density of items under a model, for images also bits per dimension."""
    from flows.likelihood import likelihood_of_file

    chosen = process_of(process)
    likelihood_of_file(model, file, out, rtol, exact, process=chosen, bound=bound)
