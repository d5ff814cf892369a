/** A model in a folder: config.json, and the weights that it names with their SHA-256. */

import { UsageError } from "./errors.js";
import { readSafetensors, writeSafetensors } from "./safetensors.js";
import { sha256 } from "./sha256.js";

const FORMAT = 1;
const WEIGHTS = "model.safetensors";

/**
 * Read and verify a model.
 * @param {string | {config: object, weights: Uint8Array}} source URL of a folder, or its contents
 * @param {{file?: string, sha256?: string, headers?: object, signal?: AbortSignal}} [options]
 *   file, sha256: other weights of the same configuration (half precision), headers: of the requests
 */
export async function readBundle(source, { file, sha256: digest, headers, signal } = {}) {
  let { config, weights } = source;
  if (typeof source === "string") {
    const folder = source.endsWith("/") ? source : `${source}/`;
    const get = async (name) => {
      const answer = await fetch(folder + name, { headers, signal }).catch((error) => {
        if (signal?.aborted) throw error;
        throw new UsageError(`${folder}${name} could not be read (no connection)`);
      });
      if (!answer.ok) throw new UsageError(`${folder}${name} could not be read (${answer.status})`);
      return answer;
    };
    config = await (await get("config.json")).json();
    weights = new Uint8Array(await (await get(file ?? config.weights?.file ?? WEIGHTS)).arrayBuffer());
  }
  if (config?.format !== FORMAT) {
    throw new UsageError(
      `the model's configuration has format ${config?.format} and this engine reads ${FORMAT}`,
    );
  }
  const expected = file ? digest : config.weights?.sha256;
  if ((await sha256(weights)) !== expected) {
    throw new UsageError(
      "the model's weights were altered (their SHA-256 is another); publish the model again",
    );
  }
  return { config, weights: readSafetensors(weights) };
}

/**
 * Return {config, weights}: what a folder of Python's `ScoreModel.load` holds.
 * @param {object} config
 * @param {import("./safetensors.js").Weights} values
 */
export async function writeBundle(config, values) {
  const weights = writeSafetensors(values);
  const entry = { file: WEIGHTS, sha256: await sha256(weights) };
  return { config: { ...config, format: FORMAT, weights: entry }, weights };
}
