// The keyboard of a tour.
//
//   addEventListener('keydown', tourKeys({ArrowRight: forward, ArrowLeft: back, ..}));

import { closest } from '../dom.js';

/** Elements that have keys of their own. */
const KEEPS_KEYS = 'input, select, textarea, [role="menu"], [role="slider"], .tour-spacetime';

/**
 * A listener that calls the function of a key.
 * @param {Record<string, () => void>} runs
 */
export const tourKeys = (runs) => (/** @type {KeyboardEvent} */ event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector('dialog[open]') || closest(event, KEEPS_KEYS)) return;
  const run = runs[event.key];
  if (!run) return;
  event.preventDefault();
  run();
};
