/**
 * Embeddings of the noise level and the class, computed on the host: nobody asks for their gradients
 * in sigma, and all samples of a step have the same level.
 */

/** Frequencies from 1 to 100, geometric, in float32 as sgm_core/nets/embeddings.py has them. */
const frequencies = (count) =>
  Float32Array.from({ length: count }, (_, i) => 10 ** (count > 1 ? (2 * i) / (count - 1) : 0));

/** Return sines and cosines of c_noise = ln(sigma) / 4, (n, width). */
export function noiseEmbedding(sigma, width) {
  const half = width >> 1;
  const rates = frequencies(half);
  const out = new Float32Array(sigma.length * 2 * half);
  for (let i = 0; i < sigma.length; i++) {
    const at = 2 * half * i;
    if (i > 0 && sigma[i] === sigma[i - 1]) {
      out.copyWithin(at, at - 2 * half, at);
      continue;
    }
    const level = Math.fround(Math.fround(Math.log(sigma[i])) / 4);
    for (let j = 0; j < half; j++) {
      const angle = Math.fround(level * rates[j]);
      out[at + j] = Math.sin(angle);
      out[at + half + j] = Math.cos(angle);
    }
  }
  return out;
}

/** Return a one in each row's class, (n, count + 1); the last column means "no class". */
export function oneHot(labels, n, count) {
  const out = new Float32Array(n * (count + 1));
  for (let i = 0; i < n; i++) {
    const label = labels ? labels[i] : -1;
    out[i * (count + 1) + (label < 0 ? count : label)] = 1;
  }
  return out;
}
