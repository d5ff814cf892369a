// Explore: fill in, vary and interpolate.

import { h } from "../dom.js";
import { icon } from "../icons.js";
import { createJob } from "../job.js";
import { findModel } from "../models.js";
import { remember } from "../route.js";
import { betweenSection } from "./between.js";
import { givenSection } from "./given.js";
import { modelChoice } from "./model-choice.js";
import { retouchSection } from "./retouch.js";

export function exploreView(app) {
  const stop = h(
    "button",
    { type: "button", class: "quiet", disabled: true, onclick: () => job.stop() },
    icon("stop"),
    "Stop",
  );
  const element = h("section", { class: "view explore" });
  const job = createJob(app, (busy) => {
    stop.disabled = !busy;
    element.classList.toggle("busy", busy);
  });
  const choice = modelChoice(app.models, fit);
  const sections = h("div", { class: "cards" });
  const retouch = retouchSection(app, choice, job);
  const given = givenSection(choice, job);
  const between = betweenSection(choice, job);
  const head = h(
    "header",
    { class: "title" },
    h("h1", {}, "Steer what is drawn"),
    h(
      "p",
      {},
      "Keep a part and let the model fill in the rest, change a picture a little or a lot, or walk from one picture to another.",
    ),
  );

  let missing = null; // what a link asked for, in words

  /** Show what suits the model; `anew`: it is another one. */
  async function fit(anew) {
    const { info } = choice.state;
    remember("explore", { model: info.name, version: info.version, on: app.wish() });
    if (!anew) return;
    const plane = info.kind === "points" && info.shape[0] === 2;
    const first = plane ? given : info.kind === "image" ? retouch : null;
    const why = h(
      "p",
      { class: "empty" },
      `Items of ${info.name} have ${info.shape[0]} coordinates, which no plane shows; filling in is for pictures and for points in the plane.`,
    );
    sections.replaceChildren(first ? first.element : why, ...(first ? [between.element] : []));
    between.reset();
    if (!first) return;
    const told = missing;
    missing = null;
    await first.begin();
    await between.run();
    if (told) app.notice.show(told, "error"); // a run clears what was said before it
  }

  return {
    element,
    show(params) {
      if (!app.models.length) {
        return element.replaceChildren(
          head,
          h(
            "p",
            { class: "empty" },
            `${app.offline ?? "The server has no models yet."} `,
            h("a", { href: "#learn" }, "Learn"),
            " needs none: it trains a model of its own in this page.",
          ),
        );
      }
      if (!element.childElementCount)
        element.append(head, h("div", { class: "row tools" }, choice.element, stop), sections);
      const { info } = choice.state;
      const same =
        info &&
        (!params.model ||
          (params.model === info.name && (!params.version || Number(params.version) === info.version)));
      if (!same) {
        const found = findModel(app.models, params.model, params.version);
        if (params.model && params.model !== found.name)
          missing = `There is no model ${params.model} here: ${found.name} is shown instead.`;
        choice.take(params.model, params.version);
      } else fit(false);
    },
    hide: () => job.stop(),
  };
}
