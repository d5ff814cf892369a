// The score as arrows on a grid of the plane, asked of the model; the latest question wins.

const SIDE = 19;
const REACH = 2;

/** x_t = c + m (x - c) of points (n, 2): where a point of level y appears at a mean factor m. */
export function toward(points, center, factor) {
  return points.map((v, i) => center[i % 2] + factor * (v - center[i % 2]));
}

/** A fetcher of arrows: `ask({sigma})` calls back with {at, to} unless asked again meanwhile. */
export function createArrows(lab, show, fail) {
  const at = new Float32Array(2 * SIDE * SIDE);
  for (let i = 0; i < SIDE * SIDE; i += 1) {
    at[2 * i] = REACH * (((i % SIDE) * 2) / (SIDE - 1) - 1);
    at[2 * i + 1] = REACH * ((Math.floor(i / SIDE) * 2) / (SIDE - 1) - 1);
  }
  let wanted = null;
  let asking = false;

  return {
    /**
     * Ask for the arrows at noise level sigma, in scales of the data. Under VP the state is
     * x_t = c + m (y - c), m = 1 / sqrt(1 + sigma^2), and sigma_t^2 score = m D - x_t.
     */
    async ask(sigma) {
      wanted = sigma;
      if (asking) return;
      asking = true;
      try {
        while (wanted !== null) {
          const level = wanted;
          wanted = null;
          const { center } = lab.look;
          const factor = 1 / Math.hypot(1, level);
          const x0 = await lab.denoise(toward(at, center, 1 / factor), level);
          show({ at, to: toward(x0, center, factor) });
        }
      } catch (error) {
        fail(error.message);
      } finally {
        asking = false;
      }
    },
  };
}
