// Elements in one call, and ids that tie labels to their fields.

/**
 * Make an element: h("button", {class: "primary", onclick: draw}, "Draw").
 * Properties that begin with "on" are listeners; true is an empty attribute; false, null and
 * undefined are left out. Nothing is ever parsed as HTML.
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "selected") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

let count = 0;

/** An id that no other element of the page has. */
export function freshId(stem) {
  count += 1;
  return `${stem}-${count}`;
}

/** Wait until the browser had time for a frame and for input. */
export function breathe() {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
