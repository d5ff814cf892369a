r"""How much each noise level counts in the loss, as one multiplier per row of the training table.

All parametrisations regress |F - target|^2 = |D - x_0|^2 / c_out^2, so that a weight w(sigma) on
|D - x_0|^2 is the multiplier w c_out^2:

    auto        c_out^2 w = 1: EDM's weight for `edm`, the papers' for `native`
    edm         w = 1 / sigma^2 + 1 / sigma_d^2                         (arXiv 2206.00364)
    epsilon     w = SNR = 1 / sigma^2: every noise prediction counts alike  (arXiv 2006.11239)
    min_snr     w = min(SNR, gamma)                                     (arXiv 2303.09556)
    likelihood  w = SNR / p(ln sigma), p the density of the training times  (arXiv 2101.09258)

The last is maximum likelihood: because -dSNR/dt = m^T Sigma^-1 G G^T Sigma^-1 m for every process and
dSNR = -2 SNR d ln sigma,

    E_p[ SNR / p |D - x_0|^2 ] = 1/2 int -dSNR/dt E|x_0 - D|^2 dt,

the diffusion part of the negative ELBO in nats, the same for every process and every law of times
that covers the same levels. In the table's own quadrature 1 / p is n times the spacing of its levels.

With CLD's objective "dsm" the target has noise that u does not determine; the losses then differ by a
constant and have the same gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sgm_core.preconditioning import Preconditioning


def multipliers(
    preconditioning: Preconditioning, times: Tensor, weighting: str, min_snr_gamma: float = 5.0
) -> Tensor:
    """Return w(sigma) c_out^2 at the equally likely training times (n,), float64.

    Args:
        preconditioning: frame and process.
        times: (n,) increasing, see sgm_core.objective.training_times.
        weighting: "auto", "edm", "epsilon", "min_snr" or "likelihood".
        min_snr_gamma: of "min_snr".
    """
    if weighting == "auto":
        return torch.ones_like(times)
    sigma, c_out = preconditioning.output_scale(times)
    snr = sigma.square().reciprocal()
    if weighting == "edm":
        weight = snr + preconditioning.sigma_data**-2
    elif weighting == "epsilon":
        weight = snr
    elif weighting == "min_snr":
        weight = snr.clamp(max=min_snr_gamma)
    elif weighting == "likelihood":
        weight = snr * len(times) * spacing(sigma.log())
    else:
        raise ValueError(f"weighting {weighting!r}")
    return weight * c_out.square()


def spacing(levels: Tensor) -> Tensor:
    """Return the trapezoid rule's weights of increasing nodes (n,): half the gap between neighbours."""
    gaps = torch.nn.functional.pad(levels.diff(), (1, 1))
    return 0.5 * (gaps[1:] + gaps[:-1])
