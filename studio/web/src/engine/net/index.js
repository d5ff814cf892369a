/** Networks by name. */

import { UsageError, unknown } from "../errors.js";
import { fill, NETS } from "../settings.js";
import { MLP } from "./mlp.js";
import { UNet } from "./unet.js";

const KINDS = { mlp: { make: MLP, rank: 1 }, unet: { make: UNet, rank: 3 } };

/**
 * Return {kind, ...all parameters}; nothing given: by the data's shape.
 * @param {string | {kind: string} | undefined} wanted
 * @param {number[]} shape
 */
export function netFields(wanted, shape) {
  const given = typeof wanted === "string" ? { kind: wanted } : (wanted ?? {});
  const { kind = shape.length === 3 ? "unet" : "mlp", ...parameters } = given;
  if (!Object.hasOwn(KINDS, kind)) throw unknown("network", kind, Object.keys(KINDS));
  if (KINDS[kind].rank !== shape.length) {
    throw new UsageError(`network "${kind}" does not fit data of shape [${shape}]`);
  }
  const fields = fill(kind, NETS[kind], parameters);
  if (!fields.inner.length) delete fields.inner; // it is for pruned networks, and others need not know of it
  return { kind, ...fields };
}

/**
 * @param {{kind: string}} fields complete
 * @param {{shape: number[], inChannels: number, sigmaData: number, classes: number}} data
 * @returns {import("./network.js").Network}
 */
export function makeNet({ kind, ...parameters }, data) {
  return new KINDS[kind].make(data, parameters);
}
