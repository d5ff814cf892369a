"""`sgm sample --image --mask`, `sgm sample --gray`, `sgm interpolate`, `sgm edit`: files in and out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flows.choices import as_written, check_file
from flows.sampling import check_drawing, check_out, label_of, open_model, write_result
from sgm_core.errors import UsageError

WIDEST = 24  # images in one row of a strip


def fill_to_file(
    model: str,
    out: Path,
    files: dict[str, Path | None],
    n: int,
    seed: int,
    label: str | None,
    options: dict[str, Any],
) -> None:
    """Draw `n` completions of an image (`image` and `mask`) or colourings (`gray`) into a file.

    Args:
        files: paths under "image", "mask" and "gray"; in the mask, white (1) is to be filled.
        options: of `ScoreModel.sample`; None stands for the model's own setting.

    Raises:
        UsageError: files are missing, do not fit together or do not fit the model.
    """
    image, mask, gray = files["image"], files["mask"], files["gray"]
    if gray is not None and (image is not None or mask is not None):
        raise UsageError("--gray goes without --image and --mask; leave one of them out")
    if gray is None and (image is None or mask is None):
        missing = "--image" if image is None else "--mask"
        raise UsageError(f"{missing} is missing; completing an image needs --image and --mask")
    check_out(out)
    loaded = open_model(model)
    check_drawing(loaded, out, n, options)
    given = {"n": n, "seed": seed, "label": _label(loaded, label), **options}
    from sgm_core.control.api import colourise, inpaint

    if gray is not None:
        shade, notes = _read_gray(loaded, gray)
        with as_written():
            write_result(out, loaded, colourise(loaded, shade, **given), notes)
        return
    assert image is not None and mask is not None
    item, notes = read_item(loaded, image, "--image")
    hidden, more = _read_mask(loaded, mask)
    _check_finite(item, ~hidden, "--image", image)
    with as_written():
        write_result(out, loaded, inpaint(loaded, item, ~hidden, **given), notes + more)


def interpolate_to_file(
    model: str,
    out: Path,
    seeds: str | None,
    images: str | None,
    count: int,
    label: str | None,
    options: dict[str, Any],
) -> None:
    """Draw a path of `count` samples between two seeds ("3,17") or two images ("a.png,b.png").

    Raises:
        UsageError: not exactly one pair was given, or it does not fit the model.
    """
    if (seeds is None) == (images is None):
        raise UsageError("a path has two ends; write --seeds 3,17 or --images a.png,b.png")
    name, text = ("--seeds", seeds) if seeds is not None else ("--images", images)
    pair = [part.strip() for part in str(text).split(",")]
    wrong = len(pair) != 2 or not all(pair)
    if wrong or (seeds is not None and not all(p.isdecimal() and int(p) < 2**64 for p in pair)):
        example = "3,17" if seeds is not None else "a.png,b.png"
        raise UsageError(f"{name}: {text!r} is not valid; write two, for example {example}")
    check_out(out)
    loaded = open_model(model)
    check_drawing(loaded, out, count, options)
    ends: list[Any] = [int(part) for part in pair] if seeds is not None else []
    notes: list[str] = []
    for part in pair if images is not None else []:
        item, more = read_item(loaded, Path(part), "--images")
        _check_finite(item, True, "--images", Path(part))
        ends.append(item)
        notes += more
    from sgm_core.control.api import interpolate

    first, second = ends
    chosen = {"label": _label(loaded, label), **options}
    with as_written():
        result = interpolate(loaded, first, second, count, **chosen)
        write_result(out, loaded, result, notes, columns=count if count <= WIDEST else None)


def edit_to_file(
    model: str,
    image: Path,
    out: Path,
    strength: float,
    n: int,
    seed: int,
    label: str | None,
    options: dict[str, Any],
) -> None:
    """Draw `n` variations of an image into a file (SDEdit).

    Raises:
        UsageError: the image does not fit the model, or an option is wrong.
    """
    check_out(out)
    loaded = open_model(model)
    check_drawing(loaded, out, n, options)
    item, notes = read_item(loaded, image, "image")
    _check_finite(item, True, "image", image)
    from sgm_core.control.api import edit

    chosen = {"seed": seed, "label": _label(loaded, label), **options}
    with as_written():
        write_result(out, loaded, edit(loaded, item, strength, n=n, **chosen), notes)


def read_item(model: Any, file: Path, name: str) -> tuple[Any, list[str]]:
    """Return an item (*shape) in the data's range, and what was done to it in words.

    A .npy file holds the item itself, in the data's own range; any other file is an image, which is
    scaled to cover the model's size and cropped at its centre where it has another size.

    Raises:
        UsageError: there is no such file, it is damaged or it does not fit the model.
    """
    import numpy as np

    low, high = model.space.range
    if file.suffix.lower() != ".npy":
        picture, notes = _picture(model, file, name, model.shape[0])
        return picture / 255.0 * (high - low) + low, notes
    array = _array(file, name)
    array = array[None] if (1, *array.shape) == model.shape else array
    if array.shape != model.shape:
        raise UsageError(f"{name}: {file} has shape {array.shape}; this model takes {model.shape}")
    seen = array[np.isfinite(array)]
    if len(model.shape) == 3 and seen.size and (seen.min() < low or seen.max() > high):
        raise UsageError(
            f"{name}: {file} has values {seen.min():g} to {seen.max():g}; "
            f"this model's data lie in {low:g} to {high:g}"
        )
    return array, []


def _read_mask(model: Any, file: Path) -> tuple[Any, list[str]]:
    """Return where an item is to be filled, True or False, broadcastable to its shape.

    A .npy file has 1 (True) there and 0 elsewhere, any other file is an image: white is filled, that
    is what is 128 or brighter of 255.
    """
    import numpy as np

    if file.suffix.lower() == ".npy":
        notes: list[str] = []
        values = _array(file, "--mask")
        if not ((values == 0) | (values == 1)).all():
            raise UsageError(
                f"--mask: {file} holds values other than 0 and 1; write 1 where it is to be filled "
                "and 0 where it is known"
            )
        hidden = values == 1
        try:
            np.broadcast_to(hidden, model.shape)
        except ValueError:
            raise UsageError(
                f"--mask: {file} has shape {hidden.shape}; this model takes {model.shape}"
            ) from None
    else:
        picture, notes = _picture(model, file, "--mask", 1)
        hidden = picture >= 128
    if not hidden.any():
        raise UsageError(
            f"--mask: {file} leaves nothing to fill; paint what is to be filled white (.npy: 1)"
        )
    return hidden, notes


def _read_gray(model: Any, file: Path) -> tuple[Any, list[str]]:
    """Return the mean over channels of an image, (H, W), in the data's range."""
    if len(model.shape) != 3 or model.shape[0] < 3:
        raise UsageError(
            f"--gray: this model makes items of shape {model.shape}; "
            "colourising needs a model of images with 3 channels"
        )
    if file.suffix.lower() == ".npy":
        array = _array(file, "--gray")
        if array.shape != model.shape[1:]:
            raise UsageError(
                f"--gray: {file} has shape {array.shape}; this model takes {model.shape[1:]}"
            )
        _check_finite(array, True, "--gray", file)
        return array, []
    low, high = model.space.range
    picture, notes = _picture(model, file, "--gray", 3)
    return picture.mean(0) / 255.0 * (high - low) + low, notes


def _picture(model: Any, file: Path, name: str, channels: int) -> tuple[Any, list[str]]:
    """Read an image file at the model's size, (channels, H, W) from 0 to 255."""
    from sgm_core.data.image import Unreadable, read_header, read_image

    check_file(file, name)
    if len(model.shape) != 3 or channels not in (1, 3):
        raise UsageError(
            f"{name}: {file} is no .npy file; this model has items of shape {model.shape}, "
            "give one as .npy"
        )
    height, width = model.shape[1:]
    try:
        header = read_header(file)
        picture = read_image(file, height, width, channels)
    except Unreadable as error:
        raise UsageError(f"{name}: {file} {error}; give a PNG, a JPEG or a .npy") from None
    same = (header.height, header.width) == (height, width)
    words = f"{file} scaled from {header.width} x {header.height} to {width} x {height}"
    return picture.astype(float), [] if same else [words]


def _check_finite(item: Any, known: Any, name: str, file: Path) -> None:
    """Refuse NaN and infinite values where an item is known."""
    import numpy as np

    if not np.isfinite(item[np.broadcast_to(known, item.shape)]).all():
        raise UsageError(f"{name}: {file} holds NaN or infinite values; replace them by numbers")


def _array(file: Path, name: str) -> Any:
    import numpy as np

    check_file(file, name)
    try:
        array = np.load(file, allow_pickle=False)
    except (ValueError, OSError, EOFError):
        raise UsageError(f"{name}: {file} is not a .npy file of numbers") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise UsageError(f"{name}: {file} is not a .npy file of numbers")
    return array.astype(np.float64)


def _label(model: Any, label: str | None) -> Any:
    """Return the class that was asked for; none was: no class."""
    return -1 if label is None else label_of(model, label)
