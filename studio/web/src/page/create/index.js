// Create: draw a picture from noise, watch it form, steer it, take it along.

import { h } from "../dom.js";
import { rollSeed } from "../fields.js";
import { icon } from "../icons.js";
import { createJob } from "../job.js";
import { subjectOf } from "../models.js";
import { lookOf } from "../paint.js";
import { copy, evenly, gif, png, save } from "../picture-file.js";
import { remember } from "../route.js";
import { DEVICE } from "../source.js";
import { createStage } from "../stage.js";
import { reducedMotion } from "../theme.js";
import { labelOf, paramsOf, requestOf, settingsForm, settingsOf, unmet } from "./settings.js";
import { createGrid, planOf } from "./variations.js";

const MOST_FRAMES = 60; // of an animation
const QUICK = 1.5; // seconds of a picture, up to which its variations are drawn unasked

/** Build the view. `app` offers models, limits, sourceFor(info), announce and notice. */
export function createView(app) {
  let settings = null;
  let address = null; // parameters of what is shown
  const words = () => subjectOf(settings.info, labelOf(settings));
  const stage = createStage(words);
  const grid = createGrid((seed) => change({ seed }));
  const parts = layout(stage, grid, {
    draw: () => change({ seed: rollSeed() }),
    stop: () => job.stop(),
    vary: () => vary(),
    picture: async () => save(await png(stage.still()), `${nameOf(settings)}.png`),
    film: () => film(),
    link: () => share(),
  });

  const job = createJob(app, parts.busy);

  function change(patch, { anew = false } = {}) {
    const before = anew ? { seed: settings.seed } : paramsOf(settings, app.wish());
    settings = settingsOf(app.models, app.limits, { ...before, ...patch });
    if (anew || !("seed" in patch)) grid.clear();
    else grid.mark(settings.seed);
    form();
    draw();
  }

  function form() {
    const focused = parts.panel.contains(document.activeElement) ? labelled() : null;
    const { basics, fine } = settingsForm(app.models, app.limits, settings, change);
    parts.basics.replaceChildren(...basics);
    parts.fine.replaceChildren(...fine);
    if (focused) refocus(parts.panel, focused);
    stage.dress(lookOf(settings.info));
    address = paramsOf(settings, app.wish());
    remember("create", address);
  }

  async function draw() {
    const own = settings;
    const { player } = stage;
    player.begin(own.steps, !reducedMotion());
    parts.facts("Getting the model ready…");
    let first = true;
    const times = [];
    const result = await job.run(
      own.info,
      requestOf(own),
      (frame) => {
        if (settings !== own) return;
        if (first) player.begin(frame.steps, !reducedMotion());
        else times.push(frame.ms);
        first = false;
        player.push(frame);
        parts.facts(factsOf(frame, times));
      },
      `Drawing ${words()}`,
    );
    if (settings !== own) return;
    player.end({ toLast: true });
    if (!result) return parts.facts(player.frames.length ? "Stopped." : "");
    parts.facts(summary(result, times, player.steps));
    const quick = result.place === DEVICE && result.seconds < QUICK;
    if (quick && !grid.filled && !reducedMotion()) vary({ keep: true });
  }

  async function vary({ keep } = {}) {
    const own = settings;
    const plan = planOf(own, requestOf(own));
    grid.begin(own.info, plan.seeds, own.seed);
    const look = lookOf(own.info);
    let latest = null;
    const paintLatest = () => {
      if (latest) grid.show(look, latest);
      latest = null;
    };
    const result = await job.run(
      own.info,
      plan.request,
      (frame) => {
        if (!latest) requestAnimationFrame(paintLatest);
        latest = frame.x0;
      },
      `Drawing ${plan.seeds.length} variations`,
      { keep },
    );
    if (!result || settings.info !== own.info) return;
    latest = null;
    grid.show(look, result.x);
  }

  async function film() {
    const indices = evenly(stage.player.frames.length, MOST_FRAMES);
    if (!indices.length) return app.notice.show("Draw a picture first.", "error");
    app.announce.say("Making the animation");
    const blob = await gif(indices.length, (i) => stage.film(indices[i]));
    save(blob, `${nameOf(settings)}.gif`);
    app.announce.say("The animation is saved");
  }

  async function share() {
    const address = location.href;
    if (await copy(address)) app.notice.show("The link is on the clipboard; it draws this picture again.");
    else app.notice.show(`Copy this link: ${address}`);
  }

  return {
    element: parts.element,
    /** Show the view with an address's parameters; the first time, draw at once. */
    show(params) {
      if (!app.models.length) return parts.nothing(app);
      const fresh = !Object.keys(params).length;
      if (fresh && settings) return remember("create", address);
      const next = settingsOf(app.models, app.limits, fresh ? { seed: rollSeed() } : params);
      if (address && same(paramsOf(next, app.wish()), address)) return remember("create", address);
      settings = next;
      grid.clear();
      form();
      if (reducedMotion() && fresh) parts.facts("Press Draw another to begin.");
      else draw();
      const missing = fresh ? null : unmet(params, settings);
      if (missing) app.notice.show(missing, "error");
    },
    hide() {
      job.stop();
      stage.player.pause();
    },
  };
}

function same(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}

function nameOf({ info, seed }) {
  return `${info.name}-v${info.version}-seed${seed}`;
}

const mean = (numbers) => numbers.reduce((sum, value) => sum + value, 0) / numbers.length;

function speed(times) {
  return times.length ? `${mean(times).toFixed(mean(times) < 10 ? 1 : 0)} ms per step` : "";
}

function factsOf(frame, times) {
  return [`Step ${frame.step} of ${frame.steps}`, speed(times)].filter(Boolean).join(" · ");
}

function summary(result, times, steps) {
  const where = result.place === "server" ? "server" : "this device";
  const each = times.length ? speed(times) : `${((1000 * result.seconds) / steps).toFixed(1)} ms per step`;
  return `${steps} steps · ${each} · ${result.engine}, ${result.device} · ${where}`;
}

/** The label of the field that has the focus, to find it again in a form that was built anew. */
function labelled() {
  const active = document.activeElement;
  return active.labels?.[0]?.textContent ?? active.getAttribute("aria-label");
}

function refocus(panel, text) {
  for (const input of panel.querySelectorAll("input, select, button")) {
    const own = input.labels?.[0]?.textContent ?? input.getAttribute("aria-label");
    const matches = own === text || own?.replace(/[\d. ×]+$/, "") === text.replace(/[\d. ×]+$/, "");
    if (own && matches) return input.focus();
  }
}

function layout(stage, grid, act) {
  const action = (name, words, onclick) =>
    h("button", { type: "button", class: "quiet", onclick }, name ? icon(name) : null, words);
  const primary = h("button", { type: "button", class: "primary", onclick: act.draw }, "Draw another");
  const stop = h("button", { type: "button", class: "quiet", onclick: act.stop }, icon("stop"), "Stop");
  const facts = h("p", { class: "facts" });
  const basics = h("div", { class: "fields" });
  const fine = h("div", { class: "fields" });
  const panel = h(
    "form",
    { class: "panel", "aria-label": "What to draw", onsubmit: (event) => event.preventDefault() },
    basics,
    h("details", {}, h("summary", {}, "Process and sampler"), fine),
  );
  const main = h(
    "div",
    { class: "bench" },
    stage.element,
    h(
      "div",
      { class: "actions" },
      primary,
      stop,
      h("span", { class: "spring" }),
      action("save", "PNG", act.picture),
      action("film", "GIF", act.film),
      action("link", "Copy link", act.link),
    ),
    facts,
  );
  const more = h(
    "section",
    { class: "more", "aria-label": "Variations" },
    h("div", { class: "row" }, h("h2", {}, "Variations"), action(null, "Draw a grid of seeds", act.vary)),
    grid.element,
  );
  const title = h(
    "header",
    { class: "title" },
    h("h1", {}, "From noise to picture"),
    h(
      "p",
      {},
      "A network removes a little noise at each step. Left is what it is given, right what it expects to find.",
    ),
  );
  const element = h(
    "section",
    { class: "view create" },
    title,
    h("div", { class: "columns" }, main, panel),
    more,
  );
  stop.disabled = true;
  return {
    element,
    panel,
    basics,
    fine,
    facts: (text) => {
      facts.textContent = text;
    },
    busy: (on) => {
      stop.disabled = !on;
      element.classList.toggle("busy", on);
    },
    nothing(app) {
      const why = app.offline ?? "The server has no models yet.";
      element.replaceChildren(
        title,
        h(
          "p",
          { class: "empty" },
          `${why} `,
          h("a", { href: "#learn" }, "Learn"),
          " needs none: it trains a model of its own in this page.",
        ),
      );
    },
  };
}
