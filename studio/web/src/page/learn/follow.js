// Follow one point: forward into noise and back, under VP and under CLD with its velocity plane.

import { h } from "../dom.js";
import { rollSeed, slider } from "../fields.js";
import { icon } from "../icons.js";
import { axes, PLANE, planeOf, resize } from "../paint.js";
import { picture } from "../stage.js";
import { colours, onScheme, reducedMotion } from "../theme.js";
import { forwardPath } from "./paths.js";

const BACK = 240; // steps of the way back
const SAMPLER = { vp: "ancestral", cld: "ancestral" };
const SECONDS = 7;
const UNIT = { shape: [2], center: [0, 0], scale: [1.45] };

/** The section; `fail(message)` shows an error. */
export function followSection(lab, app) {
  const views = {
    vp: picture("VP, position", "rough: noise pushes the point itself"),
    cld: picture("CLD, position", "smooth: noise pushes the velocity"),
    velocity: picture("CLD, velocity", "starts near 0, forgets, is steered back"),
  };
  let paths = null; // {vp: [forward, backward], cld: ..., velocity: ...}
  let handle = 0;

  const progress = slider("Way of the point", {
    min: 0,
    max: 200,
    step: 1,
    value: 0,
    format: placeText,
    oninput: () => {
      cancelAnimationFrame(handle);
      redraw();
    },
  });
  const button = h(
    "button",
    { type: "button", class: "quiet", onclick: run },
    icon("play"),
    "Follow one point",
  );
  const shown = h(
    "div",
    { hidden: true },
    h("div", { class: "triple plane" }, views.vp.element, views.cld.element, views.velocity.element),
    progress.element,
  );
  const element = h(
    "section",
    { class: "more", "aria-label": "Follow one point" },
    h("div", { class: "row" }, h("h2", {}, "Follow one point, there and back"), button),
    h(
      "p",
      { class: "lead" },
      "The same data point is carried to noise (grey), and another one from noise to data (colour). ",
      "VP adds noise to the position. Critically-damped Langevin diffusion (CLD) gives each point a velocity, adds noise only there, and so moves smoothly.",
    ),
    shown,
  );
  function redraw() {
    const at = Number(progress.input.value) / 100;
    for (const [name, { canvas }] of Object.entries(views)) {
      const [forward, backward] = paths?.[name] ?? [];
      drawPaths(canvas, name === "velocity" ? 0.5 : 1, [
        { path: forward, share: Math.min(1, at), colour: colours().muted },
        { path: backward, share: Math.max(0, at - 1), colour: colours().accent },
      ]);
    }
  }

  async function run() {
    if (!lab.trained)
      return app.notice.show("Train the model first: the way back needs its score.", "error");
    button.disabled = true;
    try {
      paths = await trace(lab, rollSeed());
      shown.hidden = false;
      describe();
      animate();
    } catch (error) {
      app.notice.show(error.message, "error");
    }
    button.disabled = false;
  }

  function describe() {
    for (const [name, { canvas }] of Object.entries(views)) {
      const last = paths[name][1].slice(-2);
      const where = name === "velocity" ? "ends at velocity" : "ends at";
      canvas.setAttribute(
        "aria-label",
        `${name === "velocity" ? "CLD velocity" : name.toUpperCase()} path into noise and back; ${where} ${last[0].toFixed(2)}, ${last[1].toFixed(2)}`,
      );
    }
  }

  function animate() {
    cancelAnimationFrame(handle);
    progress.set(reducedMotion() ? 200 : 0);
    redraw();
    if (reducedMotion()) return;
    const begin = performance.now();
    const tick = (now) => {
      const share = Math.min(1, (now - begin) / 1000 / SECONDS);
      progress.set(Math.round(200 * share));
      redraw();
      if (share < 1) handle = requestAnimationFrame(tick);
    };
    handle = requestAnimationFrame(tick);
  }

  onScheme(redraw);
  redraw();
  return { element, run, hide: () => cancelAnimationFrame(handle) };
}

function placeText(value) {
  if (value <= 100) return `into noise, t = ${(value / 100).toFixed(2)}`;
  return `back to data, t = ${((200 - value) / 100).toFixed(2)}`;
}

/** Forward paths of one data point, backward paths of one seed, under both processes. */
async function trace(lab, seed) {
  const item = seed % (lab.points.length / 2);
  const { center, scale } = lab.look;
  const x0 = [0, 1].map((c) => (lab.points[2 * item + c] - center[c]) / scale[0]);
  const back = {};
  for (const process of ["vp", "cld"]) back[process] = await backward(lab, process, seed);
  const forward = {
    vp: forwardPath(lab.processes.vp, x0, seed),
    cld: forwardPath(lab.processes.cld, x0, seed),
  };
  return {
    vp: [forward.vp[0], back.vp[0]],
    cld: [forward.cld[0], back.cld[0]],
    velocity: [forward.cld[1], back.cld[1]],
  };
}

async function backward(lab, process, seed) {
  const channels = lab.processes[process].k;
  const path = Array.from({ length: channels }, () => []);
  await lab.generate({
    n: 1,
    seed,
    process,
    steps: BACK,
    sampler: SAMPLER[process],
    grid: "quadratic",
    onStep: ({ u }) => {
      for (let c = 0; c < channels; c += 1) path[c].push(u[2 * c], u[2 * c + 1]);
    },
  });
  return path.map((values) => Float32Array.from(values));
}

/** Draw beginnings of paths, the end of each as a dot; `reach` scales the plane. */
function drawPaths(canvas, reach, lines) {
  resize(canvas, PLANE, PLANE);
  const context = canvas.getContext("2d");
  const plane = planeOf({ ...UNIT, scale: [UNIT.scale[0] * reach] }, PLANE);
  axes(context, PLANE);
  context.lineJoin = "round";
  for (const { path, share, colour } of lines) {
    const n = path ? Math.floor((path.length / 2) * share) : 0;
    if (n < 2) continue;
    context.strokeStyle = colour;
    context.fillStyle = colour;
    context.lineWidth = 2.8;
    context.beginPath();
    for (let i = 0; i < n; i += 1) context.lineTo(plane.x(path[2 * i]), plane.y(path[2 * i + 1]));
    context.stroke();
    context.beginPath();
    context.arc(plane.x(path[2 * n - 2]), plane.y(path[2 * n - 1]), 7, 0, 2 * Math.PI);
    context.fill();
  }
}
