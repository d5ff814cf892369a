r"""V A^T (A V A^T + s^2 I)^-1 r by Lanczos' method, safe for a covariance V that is only estimated.

With q_1 = r / |r|, an orthonormal basis Q of span{r, S r, S^2 r, ...}, S = A V A^T, and a_i = A^T q_i,
the solution is c = V a (T + s^2)^-1 Q^T r with the small matrix T = a^T V a: exact as soon as the basis
holds as many vectors as S has distinct eigenvalues that r sees.

V = sigma^2 dD/dy of a network is neither symmetric nor positive definite: its error grows like sigma,
and with it conjugate gradients blow up (digits, sigma = 20: estimates of 60,000 for pixels in [-1, 1]).
What is antisymmetric in T is error for certain, and the symmetric error that cannot be seen is of the
same size. So T is taken together with one more direction b, the part of c that is not observed:

* its symmetric part with negative eigenvalues set to zero replaces it, which bounds the regression of
  b on the observation;
* the root mean square of its antisymmetric part's singular values is added to s^2.

Where the Jacobian cannot be trusted the correction is small; where it is exact nothing changes. Every
sample has a basis of its own: a sample does not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sgm_core.control.operators import Operator
from sgm_core.denoise import per_item

Spread = Callable[[Tensor], Tensor]
# A direction is new if this much of it is left when the known ones are taken out.
NEW = 1e-10


def gain(
    spread: Spread, operator: Operator, residual: Tensor, variance: float, iterations: int
) -> Tensor:
    """Return V A^T (A V A^T + variance I)^-1 residual, (B, *shape).

    Args:
        spread: x -> V x on (B, *shape), sample by sample; called at most `iterations` + 1 times.
        operator: A.
        residual: (B, *observation).
        variance: s^2, of the observation's noise.
        iterations: largest size of the basis.
    """
    lifted, images = _basis(spread, operator, residual, iterations)
    if not lifted:
        return torch.zeros_like(operator.adjoint(residual))
    length, m = _norm(residual), len(lifted)
    gram = _products(lifted, lifted)
    inverse_gram = torch.linalg.pinv(gram, hermitian=True)
    table, doubt = _trusted(_products(lifted, images), gram)
    z = _solve(table, variance + doubt, length)
    first = _combine(z, images)
    # The part of the solution that the observed directions do not span, at their length.
    inside = inverse_gram @ _products(lifted, [first])
    beyond = first - _combine(inside[..., 0], lifted)
    size = _norm(beyond)
    fresh = torch.where(size > NEW * _norm(first), size, torch.inf).reciprocal()
    scale = gram.diagonal(dim1=-2, dim2=-1).amax(-1).sqrt()
    lifted.append(per_item(fresh * scale, beyond) * beyond)
    images.append(spread(lifted[-1]))
    table, doubt = _trusted(_products(lifted, images), _products(lifted, lifted))
    z = _solve(table[:, :m, :m], variance + doubt, length)
    cross = (table[:, :, :m] @ z[..., None])[..., 0]
    seen = (inverse_gram @ cross[:, :m, None])[..., 0]
    unseen = cross[:, m:] / torch.where(scale > 0, scale, torch.inf).square()[:, None]
    return _combine(torch.cat([seen, unseen], 1), lifted)


def _basis(
    spread: Spread, operator: Operator, residual: Tensor, iterations: int
) -> tuple[list[Tensor], list[Tensor]]:
    """Return a_i = A^T q_i and V a_i; zeros once a sample's space is exhausted."""
    basis: list[Tensor] = []
    lifted: list[Tensor] = []
    images: list[Tensor] = []
    left, size = residual, _norm(residual)
    scale = torch.zeros_like(size)
    for _ in range(iterations):
        alive = size > NEW * scale
        if not bool(alive.any()):
            break
        basis.append(per_item(torch.where(alive, size, torch.inf).reciprocal(), left) * left)
        lifted.append(operator.adjoint(basis[-1]))
        images.append(spread(lifted[-1]))
        left = operator.forward(images[-1])
        scale = torch.maximum(scale, _norm(left))
        for _ in range(2):  # twice is enough (Kahan): orthogonal to rounding
            for known in basis:
                left = left - per_item((known * left).flatten(1).sum(1), left) * known
        size = _norm(left)
    return lifted, images


def _trusted(table: Tensor, gram: Tensor) -> tuple[Tensor, Tensor]:
    """Return the positive semi-definite part of matrices (B, m, m), and how far to doubt it (B,).

    Args:
        gram: inner products of the basis. The mean is over a sample's own vectors: where its space
            is smaller than that of others in the batch, the rest are zeros.
    """
    own = (gram.diagonal(dim1=-2, dim2=-1) > 0).sum(-1).clamp(min=1)
    doubt = 0.5 * (table - table.mT).flatten(1).norm(dim=1) / own.to(table).sqrt()
    values, vectors = torch.linalg.eigh(0.5 * (table + table.mT))
    return (vectors * values.clamp(min=0)[:, None]) @ vectors.mT, doubt


def _solve(table: Tensor, variance: Tensor, length: Tensor) -> Tensor:
    """Return (T + variance)^-1 e_1 |r|, (B, m); nothing where that is singular."""
    values, vectors = torch.linalg.eigh(table)
    total = values.clamp(min=0) + variance[:, None]
    inverse = torch.where(total > 0, total, torch.inf).reciprocal()
    return (vectors @ (vectors[:, 0] * inverse * length[:, None])[..., None])[..., 0]


def _products(a: list[Tensor], b: list[Tensor]) -> Tensor:
    """Return the inner products of each sample, (B, len(a), len(b))."""
    left, right = (torch.stack(v, 1).flatten(2) for v in (a, b))
    return left @ right.mT


def _combine(weights: Tensor, vectors: list[Tensor]) -> Tensor:
    """Return sum_j weights_j vectors_j of each sample, for weights (B, m)."""
    parts = [per_item(w, v) * v for w, v in zip(weights.mT, vectors, strict=True)]
    return torch.stack(parts).sum(0)


def _norm(x: Tensor) -> Tensor:
    return x.flatten(1).norm(dim=1)
