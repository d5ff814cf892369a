/**
 * The safetensors format: a little-endian 64-bit header length, a JSON header of
 * {name: {dtype, shape, data_offsets}}, then the numbers. Read: F32, F16 and BF16, as float32.
 */

import { UsageError } from "./errors.js";

/** @typedef {Map<string, {shape: number[], data: Float32Array}>} Weights */

function half(bits) {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const READERS = {
  F32: (buffer) => new Float32Array(buffer),
  F16: (buffer) => Float32Array.from(new Uint16Array(buffer), half),
  BF16: (buffer) => {
    const words = Uint32Array.from(new Uint16Array(buffer), (word) => word * 65536);
    return new Float32Array(words.buffer);
  },
};

/**
 * @param {Uint8Array} bytes
 * @returns {Weights}
 */
export function readSafetensors(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = bytes.length < 8 ? Infinity : Number(view.getBigUint64(0, true));
  if (length > bytes.length - 8)
    throw new UsageError("the weights are no safetensors file; publish the model again");
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  const weights = new Map();
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    if (!READERS[dtype])
      throw new UsageError(`${name} is ${dtype}; this engine reads ${Object.keys(READERS).join(", ")}`);
    const [start, end] = data_offsets.map((offset) => 8 + length + offset);
    weights.set(name, { shape, data: READERS[dtype](bytes.slice(start, end).buffer) });
  }
  return weights;
}

/**
 * @param {Weights} weights
 * @returns {Uint8Array}
 */
export function writeSafetensors(weights) {
  const names = [...weights.keys()].sort();
  const header = {};
  let offset = 0;
  for (const name of names) {
    const { shape, data } = weights.get(name);
    header[name] = { dtype: "F32", shape, data_offsets: [offset, offset + data.byteLength] };
    offset += data.byteLength;
  }
  let text = JSON.stringify(header);
  text += " ".repeat((8 - (text.length % 8)) % 8);
  const head = new TextEncoder().encode(text);
  const bytes = new Uint8Array(8 + head.length + offset);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(head.length), true);
  bytes.set(head, 8);
  let at = 8 + head.length;
  for (const name of names) {
    const { data } = weights.get(name);
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return bytes;
}
