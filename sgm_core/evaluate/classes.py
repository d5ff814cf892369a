"""A judge of classes that shares nothing with the score network: an RBF support vector machine.

It is fitted on real training pictures (thumbnails of at most 1,024 numbers in [0, 1]) and asked
which class a sample shows. Width: gamma = 2 / (p var), C = 10, about 99 % on held-out digits. The
same pictures give the same machine, so it is fitted anew where it is needed: nothing is pickled.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
# Fitting grows with the square of this: 5,000 pictures of 784 pixels take seconds.
FIT_LIMIT = 5000
PREDICT_LIMIT = 5000


class Judge:
    """The fitted machine.

    Args:
        thumbs: training pictures (N, p) float32 in [0, 1]; the first 5,000 of a seeded order count.
        labels: their classes (N,), at least two different ones.
    """

    def __init__(self, thumbs: Array, labels: Array) -> None:
        from sklearn.svm import SVC

        rows = np.random.default_rng(0).permutation(len(thumbs))[:FIT_LIMIT]
        self._only: int | None = None
        x, y = thumbs[rows], labels[rows]
        self.items = len(rows)
        if len(np.unique(y)) < 2:
            # A machine needs two classes; with one there is nothing to ask.
            self._only = int(y[0])
            return
        width = float(x.var()) * x.shape[1]
        self._machine = SVC(C=10.0, gamma=2.0 / width if width > 0 else 1.0).fit(x, y)

    def predict(self, thumbs: Array) -> Array:
        """Return the class of each picture, for the first 5,000 of them: (min(n, 5000),)."""
        x = thumbs[:PREDICT_LIMIT]
        if self._only is not None:
            return np.full(len(x), self._only, dtype=np.int64)
        return np.asarray(self._machine.predict(x), dtype=np.int64)
