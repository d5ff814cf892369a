// What happens, in words: for screen readers at a bearable rate, and as a notice on the page.

const PAUSE = 1500; // milliseconds between two announcements of progress

/** Say things through an aria-live element: progress at most every PAUSE, the last word always. */
export function announcer(element) {
  let last = 0;
  let waiting = null;
  const say = (text) => {
    clearTimeout(waiting);
    waiting = null;
    last = performance.now();
    element.textContent = text;
  };
  return {
    say,
    progress(text) {
      clearTimeout(waiting);
      const rest = PAUSE - (performance.now() - last);
      if (rest <= 0) say(text);
      else waiting = setTimeout(() => say(text), rest);
    },
  };
}

/** A strip for one sentence: what failed, or where the page fell back to. */
export function noticeBoard(element) {
  return {
    show(text, kind = "info") {
      element.textContent = text;
      element.dataset.kind = kind;
      element.hidden = false;
    },
    clear() {
      element.hidden = true;
      element.textContent = "";
    },
  };
}
