/** The engine: score models on TensorFlow.js. See docs/studio.md, "The engine". */

export { memory } from "@tensorflow/tfjs-core";
export { start } from "./backend.js";
export { UsageError } from "./errors.js";
export { ScoreModel } from "./model.js";
export { makeProcess, PROCESSES } from "./process/index.js";
export { readSafetensors, writeSafetensors } from "./safetensors.js";
export { SAMPLERS, samplerFits } from "./sample/index.js";
export { plainSha256, sha256 } from "./sha256.js";
export { Objective } from "./train/objective.js";
export { gradients } from "./train/trainer.js";
