/** The page's entry. */

import { engine } from "../engine/client.js";

const place = document.querySelector("#studio");
engine()
  .start()
  .then(({ backend }) => {
    place.textContent = `The engine runs on ${backend}.`;
  })
  .catch((error) => {
    place.textContent = error.message;
  });
