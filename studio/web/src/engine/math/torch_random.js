/**
 * `torch.randn(count, dtype=float64, generator=torch.Generator().manual_seed(seed))` on the CPU:
 * the Mersenne Twister (MT19937), 53-bit uniforms and Box-Muller in blocks of 16 as PyTorch does it.
 *
 * Python's twin of a process uses one fixed draw of it (twin.js); nothing else here does.
 */

const [N, M] = [624, 397];

class MersenneTwister {
  constructor(seed) {
    this.state = new Uint32Array(N);
    this.state[0] = seed;
    for (let i = 1; i < N; i++) {
      const last = this.state[i - 1] ^ (this.state[i - 1] >>> 30);
      this.state[i] = Math.imul(1812433253, last) + i;
    }
    this.index = N;
  }

  refill() {
    const s = this.state;
    for (let i = 0; i < N; i++) {
      const y = (s[i] & 0x80000000) | (s[(i + 1) % N] & 0x7fffffff);
      s[i] = s[(i + M) % N] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.index = 0;
  }

  word() {
    if (this.index === N) this.refill();
    let y = this.state[this.index++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  /** Return a uniform number of 53 bits in [0, 1). */
  uniform() {
    const high = this.word() & 0x1fffff;
    return (high * 2 ** 32 + this.word()) * 2 ** -53;
  }
}

/** @returns {Float64Array} */
export function torchNormals(seed, count) {
  const random = new MersenneTwister(seed);
  if (count < 16) return oneByOne(random, count);
  const out = Float64Array.from({ length: count }, () => random.uniform());
  const block = (at) => {
    for (let j = at; j < at + 8; j++) {
      const radius = Math.sqrt(-2 * Math.log(1 - out[j]));
      const angle = 2 * Math.PI * out[j + 8];
      [out[j], out[j + 8]] = [radius * Math.cos(angle), radius * Math.sin(angle)];
    }
  };
  for (let at = 0; at + 16 <= count; at += 16) block(at);
  if (count % 16) {
    // The last 16 numbers are drawn anew.
    for (let j = count - 16; j < count; j++) out[j] = random.uniform();
    block(count - 16);
  }
  return out;
}

function oneByOne(random, count) {
  const out = new Float64Array(count);
  for (let i = 0; i < count; i += 2) {
    const angle = 2 * Math.PI * random.uniform();
    const radius = Math.sqrt(-2 * Math.log1p(-random.uniform()));
    out[i] = radius * Math.cos(angle);
    if (i + 1 < count) out[i + 1] = radius * Math.sin(angle);
  }
  return out;
}
