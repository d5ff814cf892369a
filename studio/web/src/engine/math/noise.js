/**
 * One random stream per sample: counter-based normals (Philox4x32-10, Salmon et al. 2011).
 *
 * Normal number j of draw d for seed s is a pure function of (s, d, j), the same as in
 * sgm_core/sample/noise.py: a seed gives the same picture in Python, on the server and here.
 */

import { shown, UsageError } from "../errors.js";

const [M0, M1] = [0xd2511f53, 0xcd9e8d57];
const [W0, W1] = [0x9e3779b9, 0xbb67ae85];
const SEEDS = 1n << 64n;

/** Return the high 32 bits of the product of two 32-bit numbers. */
function high(a, b) {
  const [a0, a1, b0, b1] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const middle = a1 * b0 + ((a0 * b0) >>> 16);
  const other = a0 * b1 + (middle & 0xffff);
  return (a1 * b1 + Math.floor(middle / 65536) + Math.floor(other / 65536)) >>> 0;
}

/** Apply Philox4x32-10 to a counter (in place) and a key; four random 32-bit words. */
export function philox(c, k0, k1) {
  let [c0, c1, c2, c3] = c;
  for (let round = 0; round < 10; round++) {
    const [h0, l0] = [high(M0, c0), Math.imul(M0, c0)];
    const [h1, l1] = [high(M1, c2), Math.imul(M1, c2)];
    [c0, c1, c2, c3] = [(h1 ^ c1 ^ k0) >>> 0, l1 >>> 0, (h0 ^ c3 ^ k1) >>> 0, l0 >>> 0];
    k0 = (k0 + W0) >>> 0;
    k1 = (k1 + W1) >>> 0;
  }
  c[0] = c0;
  c[1] = c1;
  c[2] = c2;
  c[3] = c3;
  return c;
}

/**
 * Return a seed as a BigInt below 2^64.
 * @param {number | bigint} seed
 */
export function seedOf(seed, name = "seed") {
  const whole = typeof seed === "bigint" || (typeof seed === "number" && Number.isSafeInteger(seed));
  const value = whole ? BigInt(seed) : -1n;
  if (value >= 0n && value < SEEDS) return value;
  throw new UsageError(
    `${name}: ${shown(seed)} is not valid: write a whole number from 0 to 2^64 - 1 (above 2^53 as a BigInt)`,
  );
}

/** Standard normals for samples with given seeds. */
export class NoiseStream {
  /** @param {bigint[]} seeds one per sample, below 2^64 */
  constructor(seeds) {
    this.n = seeds.length;
    this.low = seeds.map((seed) => Number(seed & 0xffffffffn));
    this.high = seeds.map((seed) => Number(seed >> 32n));
  }

  /**
   * Return draw number `index` for every sample: (n, size), C order.
   * @returns {Float64Array}
   */
  draw(index, size) {
    const out = new Float64Array(this.n * size);
    this.blocks(index, size, (uniform, at, last) => {
      for (let j = 0; j < last; j += 2) {
        // Box-Muller
        const radius = Math.sqrt(-2 * Math.log(uniform[j]));
        const angle = 2 * Math.PI * uniform[j + 1];
        out[at + j] = radius * Math.cos(angle);
        if (j + 1 < last) out[at + j + 1] = radius * Math.sin(angle);
      }
    });
    return out;
  }

  /** Return uniform numbers in (0, 1) of draw `index` for every sample: (n, size), C order. */
  uniform(index, size) {
    const out = new Float64Array(this.n * size);
    this.blocks(index, size, (uniform, at, last) => {
      for (let j = 0; j < last; j++) out[at + j] = uniform[j];
    });
    return out;
  }

  /** Call `put(four uniforms, where they go, how many of them)` for every block of a draw. */
  blocks(index, size, put) {
    const words = new Uint32Array(4);
    const uniform = new Float64Array(4);
    for (let i = 0; i < this.n; i++) {
      for (let block = 0; 4 * block < size; block++) {
        words[0] = block;
        words[1] = index;
        words[2] = 0;
        words[3] = 0;
        philox(words, this.low[i], this.high[i]);
        for (let j = 0; j < 4; j++) uniform[j] = (words[j] + 0.5) * 2 ** -32;
        put(uniform, i * size + 4 * block, Math.min(4, size - 4 * block));
      }
    }
  }
}

/** Return n consecutive seeds from `seed`. */
export function seedsFrom(seed, n) {
  const first = seedOf(seed);
  if (first + BigInt(n) > SEEDS) {
    throw new UsageError(`seed: ${shown(seed)} is not valid: seed + n must not exceed 2^64`);
  }
  return Array.from({ length: n }, (_, i) => first + BigInt(i));
}
