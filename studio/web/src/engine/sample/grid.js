/**
 * Time grids: decreasing times from tMax, the last one at sigma_min (sgm_core/sample/grids.py).
 *
 * "log" and "rho" (rho = 7, arXiv 2206.00364) are spaced in sigma_eff, "quadratic" and "uniform" in t.
 */

import { shown, UsageError } from "../errors.js";

const RHO = 7;

/**
 * @param {import("../process/base.js").Process} process
 * @param {{steps: number, grid?: string, sigma_min?: number, sigma_max?: number}} settings
 * @returns {number[]} `steps` times
 */
export function makeGrid(process, { steps, grid = "log", sigma_min = 0.002, sigma_max }) {
  let [low, high] = process.sigmaRange();
  if (!(sigma_min > 0 && sigma_min < high)) {
    throw new UsageError(`sigma_min: ${shown(sigma_min)} is not valid: choose between 0 and ${high}`);
  }
  low = Math.max(low, sigma_min);
  let first = process.tMax;
  if (sigma_max !== undefined) {
    if (!(sigma_max > low && sigma_max <= high * (1 + 1e-9))) {
      throw new UsageError(
        `sigma_max: ${shown(sigma_max)} is not valid: choose between ${low} and ${high}`,
      );
    }
    first = process.timeOf(sigma_max);
    high = sigma_max;
  }
  if (steps === 1) return [first];
  const times = Array.from({ length: steps }, (_, i) => {
    const fraction = i / (steps - 1);
    if (grid === "log") return process.timeOf(high * (low / high) ** fraction);
    const [begin, end, power] =
      grid === "rho" ? [high, low, RHO] : [first, process.timeOf(low), grid === "quadratic" ? 2 : 1];
    const value = (begin ** (1 / power) + fraction * (end ** (1 / power) - begin ** (1 / power))) ** power;
    return grid === "rho" ? process.timeOf(value) : value;
  });
  times[0] = first;
  return times;
}
