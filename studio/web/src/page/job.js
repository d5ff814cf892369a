// One request at a time: a new one stops the old one, and errors become a sentence on the page.

/**
 * Runs requests for a view.
 * @param {object} app
 * @param {(busy: boolean) => void} busy
 */
export function createJob(app, busy) {
  let running = null;
  return {
    stop: () => running?.abort(),
    /** Draw; null if it was stopped or failed. */
    async run(info, request, onFrame, what) {
      running?.abort();
      const controller = new AbortController();
      running = controller;
      app.notice.clear();
      busy(true);
      try {
        const { name, source, fallback } = app.sourceFor(info);
        if (fallback) app.notice.show(fallback);
        const shown = (frame) => {
          app.announce.progress(`${what}: step ${frame.step} of ${frame.steps}`);
          onFrame?.(frame);
        };
        const given = { onFrame: shown, signal: controller.signal };
        const result = { ...(await source.generate(info, request, given)), place: name };
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
