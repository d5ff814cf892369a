// The page: its views, the address, and where pictures are computed.

import { announcer, noticeBoard } from "./announce.js";
import { createView } from "./create/index.js";
import { h } from "./dom.js";
import { exploreView } from "./explore/index.js";
import { chips } from "./fields.js";
import { learnView } from "./learn/index.js";
import { parse, VIEWS } from "./route.js";
import { choose, connect, DEVICE, SERVER } from "./source.js";

const BUILD = { create: createView, explore: exploreView, learn: learnView };
const TITLES = { create: "Create", explore: "Explore", learn: "Learn" };

async function start() {
  const main = document.querySelector("#main");
  const app = {
    announce: announcer(document.querySelector("#live")),
    notice: noticeBoard(document.querySelector("#notice")),
    ...(await connect()),
  };
  let wish = parse(location.hash).params.on;
  if (wish !== SERVER) wish = DEVICE;
  app.wish = () => wish;
  app.sourceFor = (info) => {
    const chosen = choose(app, info, wish);
    if (!chosen.source) throw new Error(`${app.problem ?? app.offline}`);
    return chosen;
  };
  const views = {};
  let shown = null;

  function route() {
    const { view, params } = parse(location.hash);
    if ((params.on === SERVER || params.on === DEVICE) && params.on !== wish) {
      wish = params.on;
      engine.set(wish);
    }
    if (shown !== view) {
      views[shown]?.hide();
      app.notice.clear();
      views[view] ??= BUILD[view](app);
      main.replaceChildren(views[view].element);
      shown = view;
    }
    for (const link of document.querySelectorAll("nav a")) {
      if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    document.title = `${TITLES[view]} · sgm studio`;
    views[view].show(params);
  }

  const engine = chips("Computed on", {
    choices: [
      [DEVICE, "This device"],
      [SERVER, "Server"],
    ],
    value: wish,
    quiet: true,
    onchange(name) {
      wish = name;
      if (shown !== "learn") views[shown].show({ ...parse(location.hash).params, on: name });
    },
  });
  if (app.models.length && !app.problem) document.querySelector("#engine").append(engine.element);
  for (const view of VIEWS) {
    document.querySelector("nav").append(h("a", { href: `#${view}` }, TITLES[view]));
  }
  addEventListener("hashchange", route);
  // The address's fragment is the view's: the skip link moves the focus by itself.
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
  route();
}

start();
