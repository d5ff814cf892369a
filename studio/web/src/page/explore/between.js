// Between two seeds: a path on the great circle between their noises, and a slider along it.

import { h } from "../dom.js";
import { number, rollSeed, slider } from "../fields.js";
import { icon } from "../icons.js";
import { axes, dots, lookOf, PLANE, paint, planeOf, resize } from "../paint.js";
import { picture } from "../stage.js";
import { colours } from "../theme.js";

const PICTURES = 17; // of the path of pictures
const POINTS = 129; // of the path of points

export function betweenSection(choice, job) {
  const seeds = [3, 17];
  let path = null; // samples along it
  const shown = picture("Between", "");
  const strip = h("canvas", { class: "strip", "aria-hidden": "true" });
  const place = slider("From A to B", {
    min: 0,
    max: 100,
    step: 1,
    value: 50,
    format: (v) => `${v} %`,
    oninput: show,
  });
  place.input.disabled = true;
  const field = (name, i) =>
    number(name, {
      min: 0,
      max: 2 ** 31,
      value: seeds[i],
      onchange: (value) => {
        seeds[i] = value;
        run();
      },
    });
  const fields = [field("Seed A", 0), field("Seed B", 1)];
  const dice = h(
    "button",
    {
      type: "button",
      class: "square",
      "aria-label": "Two random seeds",
      onclick: () => {
        fields.forEach(({ input }, i) => {
          seeds[i] = rollSeed();
          input.value = String(seeds[i]);
        });
        run();
      },
    },
    icon("dice"),
  );
  const button = h("button", { type: "button", class: "primary", onclick: run }, "Draw the path");
  const element = h(
    "section",
    { class: "card", "aria-label": "Between two seeds" },
    h("h2", {}, "Between two seeds"),
    h(
      "p",
      { class: "lead" },
      "Each seed is a noise. On the circle between two noises lie others just as likely; a sampler without fresh noise turns the walk along it into a smooth change.",
    ),
    h(
      "div",
      { class: "half" },
      shown.element,
      h(
        "div",
        { class: "fields" },
        h("div", { class: "ends" }, ...fields.map((f) => f.element), dice),
        button,
        place.element,
        strip,
      ),
    ),
  );

  async function run() {
    const { info } = choice.state;
    const count = info.kind === "points" ? POINTS : Math.min(PICTURES, info.most);
    const request = {
      ...choice.classOf(),
      n: count,
      seed: seeds[0],
      ...pathSampler(info),
      path: [...seeds],
    };
    const look = lookOf(info);
    const result = await job.run(
      info,
      request,
      (frame) => {
        path = { look, x: frame.x0 };
        show();
      },
      "The path between two seeds",
    );
    if (!result) return;
    path = { look, x: result.x };
    place.input.disabled = false;
    show();
    showStrip();
  }

  function show() {
    if (!path) return;
    const { look, x } = path;
    const size = look.shape.reduce((a, b) => a * b, 1);
    const n = x.length / size;
    const at = Math.round((Number(place.input.value) / 100) * (n - 1));
    const item = x.subarray(at * size, (at + 1) * size);
    if (look.kind === "points") trail(shown.canvas, look, x, item);
    else paint(shown.canvas, look, item);
    shown.element.dataset.kind = look.kind;
    shown.canvas.setAttribute(
      "aria-label",
      `${place.input.value} % of the way from seed ${seeds[0]} to seed ${seeds[1]}`,
    );
  }

  /** The whole path of pictures in a row. */
  function showStrip() {
    const { look, x } = path;
    strip.hidden = look.kind === "points";
    if (strip.hidden) return;
    const [, height, width] = look.shape;
    const size = look.shape.reduce((a, b) => a * b, 1);
    const every = 2;
    const n = Math.ceil(x.length / size / every);
    resize(strip, n * (width + 1) - 1, height);
    const one = document.createElement("canvas");
    for (let i = 0; i < n; i += 1) {
      paint(one, look, x.subarray(i * every * size, (i * every + 1) * size));
      strip.getContext("2d").drawImage(one, i * (width + 1), 0);
    }
  }

  return {
    element,
    run,
    reset() {
      path = null;
      place.input.disabled = true;
      strip.hidden = true;
      shown.canvas.getContext("2d").clearRect(0, 0, shown.canvas.width, shown.canvas.height);
    },
  };
}

/** The sampler of a path draws no fresh noise. */
function pathSampler(info) {
  const { sampler, options } = info.defaults;
  const quiet =
    ["multistep", "ddim", "heun", "ode"].includes(sampler) && !options?.eta && !options?.s_churn;
  return { steps: info.defaults.steps, sampler: quiet ? sampler : "multistep" };
}

function trail(canvas, look, x, item) {
  resize(canvas, PLANE, PLANE);
  const context = canvas.getContext("2d");
  const plane = planeOf(look, PLANE);
  axes(context, PLANE);
  dots(context, plane, look, x, { colour: colours().accent, size: 5, alpha: 0.8 });
  dots(context, plane, look, item, { colour: colours().second, size: 18, alpha: 1 });
}
