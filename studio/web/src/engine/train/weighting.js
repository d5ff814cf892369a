/**
 * How much each noise level counts in the loss (sgm_core/weighting.py). All parametrisations regress
 * |F - target|^2 = |D - x_0|^2 / c_out^2, so that a weight w(sigma) on |D - x_0|^2 is w c_out^2:
 *
 *     auto        1                          edm      w = 1 / sigma^2 + 1 / sigma_d^2
 *     epsilon     w = SNR = 1 / sigma^2      min_snr  w = min(SNR, gamma)
 *     likelihood  w = SNR / p(ln sigma), p the density of the training times
 */

/**
 * @param {import("../frame.js").Frame} frame
 * @param {number[]} times increasing, equally likely
 * @returns {number[]} w(sigma) c_out^2
 */
export function multipliers(frame, times, weighting, gamma) {
  if (weighting === "auto") return times.map(() => 1);
  const rows = times.map((t) => frame.coefficients(t));
  const level = rows.map(({ sigma }) => Math.log(sigma));
  return rows.map(({ sigma, cOut }, i) => {
    const snr = sigma ** -2;
    // The trapezoid rule's weight of a node: half the gap between its neighbours.
    const before = i > 0 ? level[i] - level[i - 1] : 0;
    const after = i + 1 < level.length ? level[i + 1] - level[i] : 0;
    const weight = {
      edm: snr + frame.sigmaData ** -2,
      epsilon: snr,
      min_snr: Math.min(snr, gamma),
      likelihood: snr * times.length * 0.5 * (before + after),
    }[weighting];
    return weight * cOut ** 2;
  });
}
