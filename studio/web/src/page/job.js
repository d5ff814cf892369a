// One request at a time: a new one stops the old one, and errors become a sentence on the page.

import { SERVER } from "./source.js";

/**
 * Runs requests for a view.
 * @param {object} app
 * @param {(busy: boolean) => void} busy
 */
export function createJob(app, busy) {
  let running = null;
  return {
    stop: () => running?.abort(),
    /** Draw; null if it was stopped or failed. `keep`: nobody asked for it, so what was said stays. */
    async run(info, request, onFrame, what, { keep = false } = {}) {
      running?.abort();
      const controller = new AbortController();
      running = controller;
      if (!keep) app.notice.clear();
      busy(true);
      const shown = (frame) => {
        app.announce.progress(`${what}: step ${frame.step} of ${frame.steps}`);
        onFrame?.(frame);
      };
      try {
        const result = await drawn(app, info, request, { onFrame: shown, signal: controller.signal });
        app.announce.say(`${what}: done`);
        return result;
      } catch (error) {
        if (controller.signal.aborted) {
          if (running === controller) app.announce.say(`${what}: stopped`);
        } else app.notice.show(error.message, "error");
        return null;
      } finally {
        if (running === controller) {
          running = null;
          busy(false);
        }
      }
    },
  };
}

/** Draw where the visitor wishes; where the device fails, the server takes over and it is said. */
async function drawn(app, info, request, hooks) {
  const { name, source, fallback } = app.sourceFor(info);
  if (fallback) app.notice.show(fallback);
  try {
    return { ...(await source.generate(info, request, hooks)), place: name };
  } catch (error) {
    const other = app.sources[SERVER];
    if (hooks.signal.aborted || name === SERVER || !other) throw error;
    app.notice.show(`This device could not draw it (${error.message}); the server draws instead.`);
    return { ...(await other.generate(info, request, hooks)), place: SERVER };
  }
}
