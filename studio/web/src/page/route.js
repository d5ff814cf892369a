// The address holds the state: #create?model=sgm-digits&seed=7 is a view and its parameters.

export const VIEWS = ["create", "explore", "learn"];

/** Read an address's fragment; an unknown view is the first one. */
export function parse(hash) {
  const [name, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const view = VIEWS.includes(name) ? name : VIEWS[0];
  return { view, params: Object.fromEntries(new URLSearchParams(query)) };
}

/** The fragment of a view and its parameters; empty ones are left out. */
export function format(view, params = {}) {
  const kept = Object.entries(params).filter(([, value]) => value !== undefined && value !== "");
  const query = new URLSearchParams(kept.map(([name, value]) => [name, String(value)])).toString();
  return query ? `#${view}?${query}` : `#${view}`;
}

/** Write the state into the address without a new entry in the history. */
export function remember(view, params) {
  history.replaceState(null, "", format(view, params));
}

/** A whole number of the parameters, held between low and high; `otherwise` if there is none. */
export function wholeOf(params, name, otherwise, low = 0, high = Number.MAX_SAFE_INTEGER) {
  const value = Number(params[name]);
  if (params[name] === undefined || params[name] === "" || !Number.isFinite(value)) return otherwise;
  return Math.min(high, Math.max(low, Math.round(value)));
}
