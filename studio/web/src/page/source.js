// Where samples come from: this device or the server, behind one seam, and which of them is taken.
//
//   source.generate(info, request, {onFrame, signal}) -> {x, seconds, engine, device}
//
// request: {n, seed, steps, sampler, options, label, guidance, process, image, mask, strength, path};
// a frame is {step, steps, t, sigma, xt, x0, ms} with float32 arrays in the data's range.

import { deviceProblem, deviceSource } from "./source-device.js";
import { serverModels, serverSource } from "./source-server.js";

export const DEVICE = "device";
export const SERVER = "server";

/** Ask the server for its models; without one the page still teaches (Learn runs on the device). */
export async function connect() {
  const problem = deviceProblem();
  const sources = { [DEVICE]: problem ? null : deviceSource(), [SERVER]: null };
  try {
    const { models, limits } = await serverModels();
    sources[SERVER] = serverSource(limits);
    return { sources, models, limits, problem, offline: null };
  } catch (error) {
    return { sources, models: [], limits: {}, problem, offline: error.message };
  }
}

/**
 * Choose the source for a model: the one wished for where it can run, else the other with a sentence.
 * @returns {{name: string, source: object, fallback: string|null}}
 */
export function choose({ sources, problem }, info, wish) {
  const why = problem ?? (info.browser ? null : cannot(info));
  if (wish === DEVICE && why) {
    return { name: SERVER, source: sources[SERVER], fallback: `${why} The server draws instead.` };
  }
  return { name: wish, source: sources[wish], fallback: null };
}

function cannot(info) {
  const reason = info.reason ? `: ${info.reason.replace(/\.$/, "")}` : "";
  return `${info.name} cannot run in the browser${reason}.`;
}
