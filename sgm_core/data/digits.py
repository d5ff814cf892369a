"""scikit-learn's handwritten digits: 1,797 real 8 x 8 images, grey levels 0 to 16, ten classes.

Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998 (test part).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sgm_core.data.raw import Raw

if TYPE_CHECKING:
    from sgm_core.config.data import DigitsParams


def read(params: DigitsParams, root: Path) -> Raw:
    """Return the 1,797 digits that scikit-learn ships."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return Raw(
        "images",
        digits.images.astype(np.uint8)[:, None],
        labels=digits.target.astype(np.int64),
        label_names=tuple(str(digit) for digit in range(10)),
        range=(0.0, 16.0),
        provenance="sklearn.datasets.load_digits (UCI, Optical Recognition of Handwritten Digits)",
    )
