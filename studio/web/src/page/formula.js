// Symbols of captions as MathML; the tour's formulas stand in index.html.

const MATHML = "http://www.w3.org/1998/Math/MathML";

function node(name, ...children) {
  const element = document.createElementNS(MATHML, name);
  element.append(...children);
  return element;
}

/** x with an index, and a hat if it is an estimate: x_t, x̂_0. */
export function symbol(letter, index, { hat = false } = {}) {
  const base = hat ? node("mover", node("mi", letter), node("mo", "^")) : node("mi", letter);
  return node("math", node("msub", base, node(/\d/.test(index) ? "mn" : "mi", index)));
}
