/**
 * The regularised lower incomplete gamma function of whole order,
 *
 *     P(n, y) = 1 - exp(-y) sum_{j<n} y^j / j! = exp(-y) sum_{j>=n} y^j / j!,
 *
 * the second form (positive terms) where the first cancels.
 */

/**
 * @param {number} n order, from 1
 * @param {number} y from 0
 */
export function gammaP(n, y) {
  if (y <= 0) return 0;
  if (y > n + 12) {
    let [term, left] = [Math.exp(-y), 0];
    for (let j = 0; j < n; j++) {
      left += term;
      term *= y / (j + 1);
    }
    return 1 - left;
  }
  let term = Math.exp(-y);
  for (let j = 1; j <= n; j++) term *= y / j;
  let total = 0;
  for (let j = n; term > 1e-18 * total; j++) {
    total += term;
    term *= y / (j + 1);
  }
  return total;
}
