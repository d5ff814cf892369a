/** SHA-256 as hexadecimal digits: the browser's own, or this one where a page without https has none. */

const K = [];
const START = [];
for (let n = 2; K.length < 64; n++) {
  let prime = true;
  for (let d = 2; d * d <= n; d++) if (n % d === 0) prime = false;
  if (!prime) continue;
  // The first 32 bits of the fractional parts of square and cube roots of the primes.
  if (START.length < 8) START.push(((n ** 0.5 % 1) * 2 ** 32) >>> 0);
  K.push(((n ** (1 / 3) % 1) * 2 ** 32) >>> 0);
}

const turn = (x, n) => (x >>> n) | (x << (32 - n));

/** @param {Uint8Array} bytes */
export function plainSha256(bytes) {
  const padded = new Uint8Array(((bytes.length + 72) >> 6) << 6);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setBigUint64(padded.length - 8, BigInt(bytes.length) * 8n);
  const state = Uint32Array.from(START);
  const w = new Uint32Array(64);
  for (let block = 0; block < padded.length; block += 64) {
    for (let i = 0; i < 16; i++) w[i] = view.getUint32(block + 4 * i);
    for (let i = 16; i < 64; i++) {
      const [p, q] = [w[i - 15], w[i - 2]];
      w[i] =
        w[i - 16] +
        w[i - 7] +
        (turn(p, 7) ^ turn(p, 18) ^ (p >>> 3)) +
        (turn(q, 17) ^ turn(q, 19) ^ (q >>> 10));
    }
    round(state, w);
  }
  return hex(state);
}

function round(state, w) {
  let [a, b, c, d, e, f, g, h] = state;
  for (let i = 0; i < 64; i++) {
    const one = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + K[i] + w[i]) | 0;
    const two = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + one) | 0, c, b, a, (one + two) | 0];
  }
  [a, b, c, d, e, f, g, h].forEach((v, i) => {
    state[i] += v;
  });
}

const hex = (words) => Array.from(words, (word) => word.toString(16).padStart(8, "0")).join("");

/** @param {Uint8Array} bytes */
export async function sha256(bytes) {
  if (!globalThis.crypto?.subtle) return plainSha256(bytes);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
