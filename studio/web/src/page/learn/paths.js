// One point's path forward in time, by the process's exact transitions.

import { add, cholesky, multiply, subtract, transpose } from "../../engine/math/matrix.js";
import { normals, uniforms } from "./random.js";

const STEPS = 480;

/**
 * A path of the forward SDE from x_0 (2,), in model space:
 *
 *     u_t = Psi u_s + L xi,  L L^T = Sigma_t - Psi Sigma_s Psi^T,  Psi = Psi(t, s).
 *
 * @returns {Float32Array[]} one (n, 2) for each channel: position, then velocity
 */
export function forwardPath(process, x0, seed) {
  const normal = normals(uniforms(seed));
  const draw = (factor) =>
    multiply(
      factor,
      factor.map(() => [normal(), normal()]),
    );
  const path = Array.from({ length: process.k }, () => new Float32Array(2 * (STEPS + 1)));
  const time = (i) => process.tMin + ((process.tMax - process.tMin) * i) / STEPS;
  const mean = process.mean(time(0)).map((m) => x0.map((x) => m * x));
  let u = add(mean, draw(process.cholesky(time(0))));
  path.forEach((channel, c) => channel.set(u[c], 0));
  for (let i = 1; i <= STEPS; i += 1) {
    const [s, t] = [time(i - 1), time(i)];
    const psi = process.transition(s, t);
    const carried = multiply(psi, process.covariance(s), transpose(psi));
    u = add(multiply(psi, u), draw(cholesky(subtract(process.covariance(t), carried))));
    for (let c = 0; c < process.k; c += 1) path[c].set(u[c], 2 * i);
  }
  return path;
}
