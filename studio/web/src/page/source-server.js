// The server's models: its list, and pictures as Server-Sent Events.

import { base64, events, floats } from "./sse.js";

/** GET /api/models -> {models, limits}. */
export async function serverModels() {
  const response = await fetch("api/models");
  if (!response.ok) throw new Error(await sentence(response));
  const isJson = response.headers.get("content-type")?.includes("json");
  if (!isJson) throw new Error("This address has no studio server.");
  return response.json();
}

export function serverSource(limits) {
  return { generate: (info, request, hooks) => generate(info, request, hooks, limits) };
}

async function generate(info, request, { onFrame, signal }, limits) {
  const sent = fetch("api/generate", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(bodyOf(info, request, limits)),
    signal,
  });
  const response = await reached(sent, signal);
  if (!response.ok) throw new Error(await sentence(response));
  let start = {};
  let result = null;
  let last = performance.now();
  for await (const { event, data } of unbroken(events(response), signal)) {
    if (event === "start") start = data;
    else if (event === "error") throw new Error(data.detail);
    else if (event === "frame") {
      const now = performance.now();
      onFrame?.({ ...data, xt: floats(data.x_t), x0: floats(data.x_0), ms: now - last });
      last = now;
    } else if (event === "done") {
      const engine = start.variant.includes("onnx") ? "ONNX Runtime" : "PyTorch";
      const device = `${start.variant} on ${start.device.toUpperCase()}`;
      result = { x: floats(data.x), seconds: data.seconds, engine, device };
    }
  }
  if (!result) throw new Error("The server ended the picture early; try again.");
  return result;
}

// Browsers' own words for a network that fails ("Failed to fetch") help nobody.

async function reached(answer, signal) {
  try {
    return await answer;
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Error("The server cannot be reached; see whether it is still running.");
  }
}

async function* unbroken(stream, signal) {
  try {
    yield* stream;
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Error("The connection to the server broke off in the middle; try again.");
  }
}

function bodyOf(info, { image, mask, ...request }, limits) {
  const numbers = request.n * info.shape.reduce((a, b) => a * b, 1);
  // As many frames as the server sends of so many samples.
  const every = Math.max(1, Math.ceil((request.steps * numbers) / limits.frame_numbers));
  const body = { model: info.name, version: info.version, every, ...request };
  if (image) body.image = base64(Float32Array.from(image));
  if (mask) body.mask = base64(Uint8Array.from(mask));
  return body;
}

/** The one sentence of an error response. */
async function sentence(response) {
  const wait = response.headers.get("retry-after");
  try {
    const { detail } = await response.json();
    if (typeof detail === "string") return wait ? `${detail} (again in ${wait} s)` : detail;
  } catch {
    // not JSON: the status says what there is to say
  }
  return `The server answered ${response.status}${response.statusText ? ` (${response.statusText})` : ""}.`;
}
