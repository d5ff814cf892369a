"""Datasets: where the items come from and how they are split."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from sgm_core.config.base import Frozen


class DatasetParams(Frozen):
    """Fields of every dataset."""

    kind: ClassVar[str]
    target: ClassVar[str]
    # 1 for points, 3 for images, None where the files decide.
    data_rank: ClassVar[int | None] = 3
    seed: int = Field(0, ge=0, description="seed of the split (and of synthetic data)")
    validation: float = Field(0.15, gt=0, lt=1, description="share of the validation split")
    test: float = Field(0.15, gt=0, lt=1, description="share of the test split")

    @model_validator(mode="after")
    def _shares(self) -> DatasetParams:
        if self.validation + self.test > 0.9:
            raise ValueError(
                f"validation + test = {self.validation + self.test:g} leaves less than 10 % "
                "to train on; lower them"
            )
        return self


class SwissRollParams(DatasetParams):
    """Five swiss rolls in the plane, one at the origin and four at (+-0.8, +-0.8)."""

    kind: ClassVar[str] = "swiss_roll"
    target: ClassVar[str] = "sgm_core.data.swiss_roll:read"
    data_rank: ClassVar[int | None] = 1
    n: int = Field(100_000, ge=10, le=100_000_000, description="points drawn")
    noise: float = Field(0.2, ge=0, description="noise of make_swiss_roll before the scale 0.01")


class DigitsParams(DatasetParams):
    """scikit-learn's handwritten digits: 1,797 real 8 x 8 images in ten classes."""

    kind: ClassVar[str] = "digits"
    target: ClassVar[str] = "sgm_core.data.digits:read"


class FashionMNISTParams(DatasetParams):
    """Fashion-MNIST: 70,000 images 28 x 28 in ten classes (torchvision or the idx.gz files)."""

    kind: ClassVar[str] = "fashion_mnist"
    target: ClassVar[str] = "sgm_core.data.fashion_mnist:read"
    path: str = Field("", description="folder with the idx.gz files (empty: the usual places)")


class EmojiParams(DatasetParams):
    """Colour emoji rendered at size x size RGB; the class is the Unicode group."""

    kind: ClassVar[str] = "emoji"
    target: ClassVar[str] = "sgm_core.data.emoji:read"
    size: int = Field(64, ge=8, le=136)
    font: str = Field("", description="path of NotoColorEmoji.ttf (empty: the usual places)")


class FolderParams(DatasetParams):
    """A folder of images: flat, or one sub-folder per class."""

    kind: ClassVar[str] = "folder"
    target: ClassVar[str] = "sgm_core.data.folder:read"
    path: str = Field(description="folder, relative to the project")
    height: int = Field(0, ge=0, le=4096, description="pixels (0: as in the files)")
    width: int = Field(0, ge=0, le=4096, description="pixels (0: as in the files)")
    channels: int = Field(0, description="1, 3, or 0: as in the files")
    skip_unreadable: bool = Field(
        False, description="leave unreadable files out instead of failing"
    )

    @model_validator(mode="after")
    def _channels(self) -> FolderParams:
        if self.channels not in (0, 1, 3):
            raise ValueError(f"channels = {self.channels} is not possible; write 1, 3 or 0")
        if bool(self.height) != bool(self.width):
            raise ValueError("give both height and width, or neither")
        return self


class TableParams(DatasetParams):
    """Points from CSV or Parquet (one row a point), or arrays from .npy / .npz."""

    kind: ClassVar[str] = "table"
    target: ClassVar[str] = "sgm_core.data.table:read"
    data_rank: ClassVar[int | None] = None
    path: str = Field(description="file, relative to the project")
    label: str = Field("", description="column (CSV, Parquet) or array (.npz) with class labels")


DATASETS: dict[str, type[DatasetParams]] = {
    p.kind: p
    for p in (
        SwissRollParams,
        DigitsParams,
        FashionMNISTParams,
        EmojiParams,
        FolderParams,
        TableParams,
    )
}
