/**
 * The contract of all samplers: coefficient tables for (process, grid) are computed once, in float64;
 * then `step` walks the grid. The state stays float64 while the network runs in float32. The last step
 * returns the denoiser's estimate of x_0.
 */

import { UsageError } from "../errors.js";
import { NoiseStream } from "../math/noise.js";
import { applyTo } from "../state.js";
import { makeGrid } from "./grid.js";

/** What stops a run: the caller's signal. */
export class Stopped extends Error {
  constructor() {
    super("the run was stopped");
    this.name = "AbortError";
  }
}

const channel = typeof MessageChannel === "undefined" ? null : new MessageChannel();
const waiting = [];
if (channel) {
  channel.port1.onmessage = () => waiting.shift()?.();
  channel.port1.unref?.();
}

/** Let messages and events be heard, and fail if the signal says so. */
export async function breathe(signal) {
  if (signal?.aborted) throw new Stopped();
  await new Promise((resolve) => {
    if (!channel) return setTimeout(resolve);
    channel.port1.ref?.();
    waiting.push(() => {
      if (!waiting.length) channel.port1.unref?.();
      resolve();
    });
    channel.port2.postMessage(null);
  });
  if (signal?.aborted) throw new Stopped();
}

export class Sampler {
  /** @param {{steps: number, grid: string, sigma_min: number, sigma_max?: number}} settings */
  constructor(settings) {
    this.settings = settings;
  }

  /** Compute coefficient tables for a grid. */
  prepare() {}

  /**
   * Carry u from times[i] to times[i + 1].
   * @returns {Promise<[Float64Array, Float64Array]>} the state, and the estimate of x_0 it used
   */
  async step() {
    throw new Error("a sampler defines step");
  }

  /**
   * Draw samples.
   * @param {{denoise: Function, process: import("../process/base.js").Process, size: number}} denoiser
   * @param {bigint[]} seeds one per sample
   * @param {{start?: Float64Array, signal?: AbortSignal,
   *   onStep?: (step: number, t: number, u: Float64Array, x0: Float64Array) => unknown}} [options]
   *   start: state (n, k, d) at the grid's first time instead of a draw of the prior
   * @returns {Promise<Float64Array>} (n, d)
   */
  async run(denoiser, seeds, { start, signal, onStep } = {}) {
    const { process, size } = denoiser;
    this.process = process;
    this.size = size;
    this.noise = new NoiseStream(seeds);
    this.draws = 0;
    this.times = makeGrid(process, this.settings);
    this.prepare();
    const denoise = async (u, t) => {
      await breathe(signal);
      return denoiser.denoise(u, t);
    };
    const noise = this.draw(process.k);
    let u = start ? Float64Array.from(start) : applyTo(process.cholesky(this.times[0]), noise, size);
    if (u.length !== noise.length) {
      throw new UsageError(
        `start: ${u.length} numbers do not fit; give ${noise.length} (n, ${process.k}, ${size})`,
      );
    }
    const last = this.times.length - 1;
    for (let i = 0; i < last; i++) {
      let x0;
      [u, x0] = await this.step(i, u, denoise);
      if ((await onStep?.(i + 1, this.times[i + 1], u, x0)) === false) return x0;
    }
    const x0 = await denoise(u, this.times[last]);
    await onStep?.(last + 1, this.times[last], u, x0);
    return x0;
  }

  /** Return the next standard normals of every sample's stream, (n, channels, d). */
  draw(channels) {
    this.draws += 1;
    return this.noise.draw(this.draws - 1, channels * this.size);
  }
}
