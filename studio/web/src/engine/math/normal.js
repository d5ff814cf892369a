/** The standard normal law: distribution function and quantiles, to about 1e-14. */

/** Return P(Z > x) for x >= 0: a series near 0, Laplace's continued fraction further out. */
function upper(x) {
  const density = Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);
  if (x < 3) {
    let [term, total] = [x, x];
    for (let k = 3; Math.abs(term) > 1e-18; k += 2) {
      term *= (x * x) / k;
      total += term;
    }
    return 0.5 - density * total;
  }
  let fraction = x;
  for (let k = 60; k > 0; k--) fraction = x + k / fraction;
  return density / fraction;
}

/** Return P(Z <= x). */
export const normalCdf = (x) => (x >= 0 ? 1 - upper(x) : upper(-x));

/** Return x with P(Z <= x) = p: a rational start, then Halley's method. */
export function normalQuantile(p) {
  if (p > 0.5) return -normalQuantile(1 - p);
  // Abramowitz and Stegun 26.2.23, good to 5e-4.
  const r = Math.sqrt(-2 * Math.log(p));
  const top = 2.515517 + r * (0.802853 + r * 0.010328);
  let x = top / (1 + r * (1.432788 + r * (0.189269 + r * 0.001308))) - r;
  for (let round = 0; round < 5; round++) {
    const density = Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);
    const error = (normalCdf(x) - p) / density;
    x -= error / (1 + 0.5 * x * error);
  }
  return x;
}
