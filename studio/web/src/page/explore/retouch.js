// One's own picture: hide a part and have it filled in, or forget its fine levels and draw them anew.

import { freshId, h } from "../dom.js";
import { chips, rollSeed, slider } from "../fields.js";
import { lookOf } from "../paint.js";
import { createPad } from "./canvas-pad.js";
import { createGallery } from "./gallery.js";
import { readPicture } from "./picture-in.js";
import { strengthSlider } from "./strength.js";

const RESULTS = 6;
// What is hidden, by the place in the picture: y and x from 0 to 1.
const MASKS = [
  ["none", "nothing", () => false],
  ["right", "right half", ({ x }) => x > 0.5],
  ["lower", "lower half", ({ y }) => y > 0.5],
  ["middle", "middle", ({ x, y }) => Math.max(Math.abs(x - 0.5), Math.abs(y - 0.5)) < 0.25],
  ["most", "70 % at random", () => Math.random() < 0.7],
];

export function retouchSection(app, choice, job) {
  const pad = createPad({ changed: () => presets.set("") });
  const gallery = createGallery(RESULTS, "Result");
  let seed = rollSeed();
  const tools = chips("Brush", {
    choices: [
      ["hide", "hide"],
      ["keep", "uncover"],
      ["paint", "paint light"],
      ["erase", "paint dark"],
    ],
    value: "hide",
    onchange(name) {
      pad.tool.name = name === "erase" ? "paint" : name;
      pad.tool.level = name === "erase" ? 0 : 1;
    },
  });
  const size = slider("Brush size", {
    min: 1,
    max: 6,
    step: 1,
    value: 1,
    oninput: (value) => {
      pad.tool.size = value;
    },
  });
  const presets = chips("Hide", {
    choices: MASKS.map(([name, text]) => [name, text]),
    value: "",
    onchange(name) {
      pad.hide(MASKS.find(([own]) => own === name)[2]);
      presets.set(name);
    },
  });
  const file = h("input", { id: freshId("file"), type: "file", accept: "image/*", onchange: load });
  const own = h("button", { type: "button", class: "quiet", onclick: sample }, "Draw one for me");
  const empty = h("button", { type: "button", class: "quiet", onclick: clear }, "Empty");
  const fill = h(
    "button",
    { type: "button", class: "primary", onclick: complete },
    "Fill in what is hidden",
  );
  const strength = strengthSlider(vary);
  const change = h("button", { type: "button", class: "quiet", onclick: vary }, "Draw variations");
  const element = h(
    "section",
    { class: "card", "aria-label": "Your picture" },
    h("h2", {}, "Your picture"),
    h(
      "p",
      { class: "lead" },
      "Upload a picture, draw one, or have one drawn. It is resized to the model's shape and does not leave this device, unless the server computes.",
    ),
    h(
      "div",
      { class: "half" },
      h(
        "div",
        {},
        h("div", { class: "frame pad" }, pad.canvas),
        h(
          "div",
          { class: "actions" },
          own,
          h("label", { class: "button", for: file.id }, "Upload"),
          file,
          empty,
        ),
      ),
      h(
        "div",
        { class: "fields" },
        tools.element,
        size.element,
        presets.element,
        h("div", { class: "two" }, fill),
        strength.element,
        h("div", { class: "two" }, change),
      ),
    ),
    gallery.element,
  );

  const look = () => lookOf(choice.state.info);

  async function load() {
    if (!file.files.length) return;
    try {
      pad.put(await readPicture(file.files[0], look()));
    } catch (error) {
      app.notice.show(error.message, "error");
    }
    file.value = "";
  }

  function clear() {
    pad.dress(look());
    presets.set("none");
  }

  async function sample() {
    seed = rollSeed();
    const { info } = choice.state;
    const request = { ...base(info), n: 1, seed };
    const result = await job.run(info, request, (frame) => pad.put(frame.x0), "A picture to begin with");
    if (result) pad.put(result.x);
  }

  function base(info) {
    const { steps, sampler } = info.defaults;
    return { ...choice.classOf(), steps, sampler };
  }

  async function results(extra, what) {
    const { info } = choice.state;
    const own_ = look();
    const request = { ...base(info), n: RESULTS, seed: rollSeed(), image: pad.image, ...extra };
    const result = await job.run(info, request, (frame) => gallery.show(own_, frame.x0), what);
    if (result) gallery.done(own_, result.x);
  }

  function complete() {
    if (!pad.hidden)
      return app.notice.show(
        "Hide a part of the picture first: with the brush, or with a choice below it.",
        "error",
      );
    return results({ mask: pad.mask }, "Filling in");
  }

  function vary() {
    return results({ strength: strength.share() }, "Variations of your picture");
  }

  return {
    element,
    /** Begin with a picture of the model's and its right half hidden. */
    async begin() {
      clear();
      await sample();
      pad.hide(MASKS[1][2]);
      presets.set("right");
    },
  };
}
