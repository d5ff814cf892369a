// Learn: a score model that is trained in the page, and everything about it to be seen in the plane.

import { h } from "../dom.js";
import { rollSeed, slider } from "../fields.js";
import { remember, wholeOf } from "../route.js";
import { picture, sigmaText } from "../stage.js";
import { onScheme, reducedMotion } from "../theme.js";
import { createControls } from "./controls.js";
import { followSection } from "./follow.js";
import { Lab } from "./lab.js";
import { drawLoss } from "./loss.js";
import { attachPen } from "./pen.js";
import { fixedPlane } from "./plane.js";
import { raceSection } from "./race.js";
import { createScene } from "./scene.js";
import { HAND, SHAPE_CHOICES } from "./shapes.js";
import { COUNT, createTour } from "./tour.js";

const TIMES = 1000; // positions of the noise slider
const ENOUGH = 400; // training steps that the tour waits for before it walks back
const SHAPES = new Set(SHAPE_CHOICES.map(([name]) => name));

/** Build the view. */
export function learnView(app) {
  const lab = new Lab();
  const plane = picture("The plane", "");
  const caption = plane.element.querySelector("figcaption");
  const title = caption.querySelector("b");
  caption.append(
    ...["data", "samples", "score"].map((name) => h("span", { class: `key ${name}` }, h("i", {}), name)),
  );
  const fail = (message) => app.notice.show(message, "error");
  const scene = createScene(lab, plane.canvas, {
    time: (t) => noise.set(Math.round(TIMES * t)),
    playing: (on) => plane.element.classList.toggle("playing", on),
    fail,
  });
  const noise = slider("Noise", {
    min: 0,
    max: TIMES,
    step: 1,
    value: 0,
    format: (value) => noiseText(lab, value / TIMES),
    oninput: (value) => scene.setTime(value / TIMES),
  });
  const parts = createControls(lab, scene, { choose, startTraining, walk });
  const follow = followSection(lab, app);
  const race = raceSection(lab, app);
  let tourStep = 1;
  let sweep = 0;

  const act = {
    show(flags, t) {
      stopSweep();
      setFlags(flags);
      setTime(t);
    },
    sweep() {
      act.show({ data: true, samples: false, density: false, arrows: false }, reducedMotion() ? 0.35 : 0);
      if (!reducedMotion()) play();
    },
    train() {
      act.show({ data: true, samples: true, density: false, arrows: false }, 0);
      scene.live();
      lab.train();
    },
    async walk() {
      stopSweep();
      setFlags({ data: false, samples: true, density: false, arrows: true });
      if (await enough()) await walk();
    },
    async finish() {
      act.show({ data: false, samples: true, density: true, arrows: false }, 0);
      if (await enough()) await follow.run();
    },
  };
  const tour = createTour(act, (step) => {
    tourStep = step;
    keep();
  });

  function startTraining() {
    if (!lab.points.length) return fail("Draw some points on the plane first.");
    scene.live();
    setFlags({ ...scene.show, samples: true });
    setTime(0);
    lab.train();
  }

  async function walk() {
    if (!lab.trained) return fail("Train the model first: samples are walked back along its score.");
    try {
      await scene.draw(rollSeed());
      app.announce.say("Samples are drawn");
    } catch (error) {
      fail(error.message);
    }
  }

  /** Train until the model can be asked; false if the visitor went on meanwhile. */
  async function enough() {
    const own = tourStep;
    if (lab.steps < ENOUGH) lab.train();
    while (lab.steps < ENOUGH && lab.training) await new Promise((done) => setTimeout(done, 100));
    return tourStep === own && lab.trained;
  }

  function choose(shape) {
    lab.choose(shape);
    parts.clear.hidden = shape !== HAND;
    if (shape === HAND)
      app.announce.say("Draw on the plane: with the pointer, or with arrow keys and space");
    title.textContent = shape === HAND ? "Draw here" : "The plane";
    if (shape === HAND) plane.canvas.tabIndex = 0;
    else plane.canvas.removeAttribute("tabindex");
    setTime(0);
    keep();
  }

  function setFlags(flags) {
    for (const [name, on] of Object.entries(flags)) {
      parts.boxes[name].input.checked = on;
      scene.toggle(name, on);
    }
  }

  function setTime(t) {
    noise.set(Math.round(TIMES * t));
    scene.setTime(t);
  }

  function stopSweep() {
    cancelAnimationFrame(sweep);
  }

  /** Let the data dissolve, once. */
  function play() {
    const begin = performance.now();
    const tick = (now) => {
      const t = Math.min(1, (now - begin) / 3500);
      setTime(t);
      if (t < 1) sweep = requestAnimationFrame(tick);
    };
    sweep = requestAnimationFrame(tick);
  }

  function keep() {
    remember("learn", { shape: lab.shape, step: tourStep });
  }

  let pending = false;
  function showLoss() {
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => {
      pending = false;
      drawLoss(parts.loss, lab);
      const now = lab.losses.at(-1);
      const speed = lab.training && lab.rate ? ` · ${lab.rate.toFixed(0)} steps per second` : "";
      parts.facts.textContent =
        now === undefined ? "Not trained yet." : `${lab.steps} steps · loss ${now.toFixed(3)}${speed}`;
      parts.loss.setAttribute(
        "aria-label",
        now === undefined
          ? "Loss curve, empty"
          : `Loss curve: ${lab.losses[0].toFixed(2)} at first, ${now.toFixed(3)} after ${lab.steps} steps`,
      );
      if (lab.training) app.announce.progress(`Training step ${lab.steps}, loss ${now?.toFixed(3)}`);
    });
  }

  lab.addEventListener("loss", showLoss);
  lab.addEventListener("model", showLoss);
  lab.addEventListener("training", () => {
    parts.train.textContent = lab.training ? "Pause training" : lab.trained ? "Train on" : "Train";
    showLoss();
  });
  lab.addEventListener("error", ({ detail }) => fail(detail));
  lab.addEventListener("data", () => describePlane());
  onScheme(() => {
    scene.redraw();
    showLoss();
  });
  attachPen(plane.canvas, {
    plane: fixedPlane,
    enabled: () => lab.shape === HAND,
    add(points) {
      lab.hand.push(...points);
      lab.choose(HAND);
    },
    moved: (place) => scene.cursor(place),
  });

  function describePlane() {
    const shape = SHAPE_CHOICES.find(([name]) => name === lab.shape)[1].toLowerCase();
    const how = lab.shape === HAND ? "; arrow keys move, space draws a point, shift draws a line" : "";
    plane.canvas.setAttribute("aria-label", `Plane with the data ${shape} and samples of the model${how}`);
  }

  describePlane();
  showLoss();
  scene.redraw();

  const element = h(
    "section",
    { class: "view learn" },
    h(
      "header",
      { class: "title" },
      h("h1", {}, "From noise to data, step by step"),
      h(
        "p",
        {},
        "A small score model is trained here, in this page, on points in the plane. Nothing is prepared.",
      ),
    ),
    h(
      "div",
      { class: "lab" },
      h(
        "div",
        { class: "left plane" },
        plane.element,
        noise.element,
        h("div", { class: "actions" }, parts.train, parts.draw, parts.reset, parts.clear),
      ),
      tour.element,
      h(
        "form",
        { class: "panel", "aria-label": "The lab", onsubmit: (event) => event.preventDefault() },
        parts.shapes.element,
        h(
          "fieldset",
          { class: "field checks" },
          h("legend", {}, "Shown on the plane"),
          Object.values(parts.boxes).map((box) => box.element),
        ),
        h("figure", { class: "loss" }, parts.loss, h("figcaption", {}, h("b", {}, "Loss"), parts.facts)),
      ),
    ),
    follow.element,
    race.element,
  );

  return {
    element,
    show(params) {
      if (SHAPES.has(params.shape) && params.shape !== lab.shape) {
        choose(params.shape);
        parts.shapes.set(params.shape);
      }
      tour.go(wholeOf(params, "step", tourStep, 1, COUNT) - 1);
    },
    hide() {
      stopSweep();
      follow.hide();
      lab.stop();
      scene.player.pause();
    },
  };
}

function noiseText(lab, t) {
  return t === 0 ? "t = 0, none" : `t = ${t.toFixed(2)}, σ = ${sigmaText(lab.processes.vp.sigmaEff(t))}`;
}
