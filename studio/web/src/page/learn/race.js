// Samples against the number of steps: the same noise, walked back in few and in many steps.

import { h } from "../dom.js";
import { chips, select } from "../fields.js";
import { samplerFits, samplerText } from "../models.js";
import { picture } from "../stage.js";
import { onScheme } from "../theme.js";
import { drawPlane } from "./plane.js";

const STEPS = [2, 4, 8, 16, 32, 64];
const N = 700;
const SAMPLERS = ["multistep_sde", "multistep", "ddim", "ancestral", "euler_maruyama", "heun", "sscs"];

/** Root mean square distance of points (n, 2) to the nearest of `data` (m, 2). */
export function offBy(points, data) {
  let total = 0;
  for (let i = 0; i < points.length; i += 2) {
    let least = Infinity;
    for (let j = 0; j < data.length; j += 2) {
      const square = (points[i] - data[j]) ** 2 + (points[i + 1] - data[j + 1]) ** 2;
      if (square < least) least = square;
    }
    total += least;
  }
  return Math.sqrt((2 * total) / points.length);
}

export function raceSection(lab, app) {
  let [process, sampler] = ["vp", SAMPLERS[0]];
  const drawn = new Map(); // steps -> samples
  const cells = STEPS.map((steps) => {
    const cell = picture(`${steps} steps`, "");
    const off = h("span", {});
    cell.element.querySelector("figcaption").append(off);
    return { steps, ...cell, off };
  });
  const choices = () =>
    SAMPLERS.filter((name) => samplerFits(name, process)).map((name) => [name, samplerText(name)]);
  const samplers = select("Sampler", {
    choices: choices(),
    value: sampler,
    onchange: (name) => {
      sampler = name;
      run();
    },
  });
  const kinds = chips("Process", {
    choices: [
      ["vp", "VP"],
      ["cld", "CLD"],
    ],
    value: process,
    onchange: (kind) => {
      process = kind;
      if (!samplerFits(sampler, process)) sampler = SAMPLERS[0];
      samplers.fill(choices(), sampler);
      run();
    },
  });
  const button = h("button", { type: "button", class: "quiet", onclick: run }, "Compare");
  const floor = h("p", { class: "lead" });
  const grid = { class: "cells plane", hidden: true };
  const shown = h("div", grid, ...cells.map((cell) => cell.element));
  const element = h(
    "section",
    { class: "more", "aria-label": "Samples against steps" },
    h("div", { class: "row" }, h("h2", {}, "How many steps are enough?"), button),
    h(
      "p",
      { class: "lead" },
      "The same seeds, walked back in few steps and in many. The number is how far samples lie from the data (root mean square distance to the nearest data point).",
    ),
    h("div", { class: "row tools" }, kinds.element, samplers.element),
    shown,
    floor,
  );
  let round = 0;

  async function run() {
    if (!lab.trained)
      return app.notice.show("Train the model first: there is nothing to compare yet.", "error");
    round += 1;
    const own = round;
    shown.hidden = false;
    button.disabled = true;
    try {
      const data = lab.points.subarray(0, 4000);
      for (const cell of cells) {
        const x = await lab.generate({ n: N, seed: 0, steps: cell.steps, process, sampler });
        if (own !== round) return;
        drawn.set(cell.steps, x);
        const off = offBy(x, data).toFixed(3);
        cell.off.textContent = `off by ${off}`;
        cell.canvas.setAttribute("aria-label", `Samples after ${cell.steps} steps, off by ${off}`);
        redraw(cell);
      }
      floor.textContent = `Fresh data is off by ${offBy(lab.points.subarray(-2 * N), data).toFixed(3)}: no sampler should do much better.`;
    } catch (error) {
      app.notice.show(error.message, "error");
    } finally {
      if (own === round) button.disabled = false;
    }
  }

  function redraw(cell) {
    drawPlane(cell.canvas, { samples: drawn.get(cell.steps) ?? null });
  }

  lab.addEventListener("data", () => {
    drawn.clear();
    shown.hidden = true;
    floor.textContent = "";
    for (const cell of cells) {
      cell.off.textContent = "";
      redraw(cell);
    }
  });
  onScheme(() => cells.forEach(redraw));
  cells.forEach(redraw);
  return { element, run };
}
