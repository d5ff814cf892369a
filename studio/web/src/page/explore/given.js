// Points: draw them given one coordinate, or near a given point.

import { h } from "../dom.js";
import { rollSeed, slider } from "../fields.js";
import { axes, dots, lookOf, PLANE, planeOf, resize } from "../paint.js";
import { picture } from "../stage.js";
import { colours } from "../theme.js";
import { strengthSlider } from "./strength.js";

const N = 600;
const STEPS = 200; // of a coordinate's slider
const REACH = 2.2; // in scales of the data

export function givenSection(choice, job) {
  const shown = picture("What the model expects", "");
  let drawn = null;
  const at = [0, 1].map((c) =>
    slider(c ? "Second coordinate" : "First coordinate", {
      min: 0,
      max: STEPS,
      step: 1,
      value: STEPS / 2,
      format: (v) => coordinate(c, v).toFixed(2),
      oninput: () => redraw(),
    }),
  );
  const strength = strengthSlider();
  const given = h(
    "button",
    { type: "button", class: "primary", onclick: complete },
    "Draw the second, given the first",
  );
  const near = h(
    "button",
    { type: "button", class: "quiet", onclick: vary },
    "Draw variations of the point",
  );
  const element = h(
    "section",
    { class: "card", "aria-label": "Given a point" },
    h("h2", {}, "Given a part of a point"),
    h(
      "p",
      { class: "lead" },
      "The points' version of inpainting and of editing: hold one coordinate fixed, or noise a point and walk it back.",
    ),
    h(
      "div",
      { class: "half" },
      shown.element,
      h("div", { class: "fields" }, at[0].element, given, at[1].element, strength.element, near),
    ),
  );

  const look = () => lookOf(choice.state.info);

  function coordinate(c, place) {
    if (!choice.state.info) return 0;
    const { center, scale } = look();
    const own = (values) => values[c % values.length];
    return own(center) + REACH * own(scale) * ((2 * place) / STEPS - 1);
  }

  const point = () => at.map(({ input }, c) => coordinate(c, Number(input.value)));

  function redraw() {
    const own = look();
    const plane = planeOf(own, PLANE);
    resize(shown.canvas, PLANE, PLANE);
    const context = shown.canvas.getContext("2d");
    axes(context, PLANE);
    const [x, y] = point();
    context.strokeStyle = colours().second;
    context.lineWidth = 2;
    context.beginPath();
    context.moveTo(plane.x(x), 0);
    context.lineTo(plane.x(x), PLANE);
    context.stroke();
    context.beginPath();
    context.arc(plane.x(x), plane.y(y), 7, 0, 2 * Math.PI);
    context.stroke();
    if (drawn) dots(context, plane, own, drawn, { colour: colours().accent, size: 4.5, alpha: 0.7 });
  }

  async function results(extra, what) {
    const { info } = choice.state;
    const { steps, sampler } = info.defaults;
    const request = {
      ...choice.classOf(),
      steps,
      sampler,
      n: Math.min(N, info.most),
      seed: rollSeed(),
      image: point(),
      ...extra,
    };
    const show = (x) => {
      drawn = x;
      redraw();
    };
    const result = await job.run(info, request, (frame) => show(frame.x0), what);
    if (!result) return;
    show(result.x);
    shown.canvas.setAttribute("aria-label", `${what}: ${result.x.length / 2} points`);
  }

  function complete() {
    return results({ mask: [1, 0] }, "Points with the first coordinate given");
  }

  function vary() {
    return results({ strength: strength.share() }, "Variations of the point");
  }

  return {
    element,
    begin() {
      drawn = null;
      at.forEach(({ show }) => show());
      redraw();
    },
  };
}
