// The keyboard of the explore page.
//
//   shortcuts(exploreShortcuts());
//   addEventListener('keydown', exploreKeys({scrubber, search, find, plant, check}));

import { closest } from '../dom.js';
import { t } from '../i18n.js';
import { scrubberShortcuts } from '../scrubber.js';

/** The entries of the help. */
export const exploreShortcuts = () => [
  ...scrubberShortcuts(),
  { keys: '/', what: t('explore.key-search') },
  { keys: 'f', what: t('explore.find') },
  { keys: 'p', what: t('explore.plant') },
  { keys: 'c', what: t('explore.check') },
];

/**
 * A listener that steps through the walk with the keys of the scrubber, and calls the functions.
 * @param {{
 *   scrubber: {key: (event: KeyboardEvent) => boolean},
 *   search: () => void, find: () => void, plant: () => void, check: () => void,
 * }} options
 */
export function exploreKeys({ scrubber, search, find, plant, check }) {
  /** @type {Record<string, () => void>} */
  const runs = { '/': search, f: find, p: plant, c: check };
  return (/** @type {KeyboardEvent} */ event) => {
    if (document.querySelector('dialog[open]')) return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (scrubber.key(event)) return;
    if (closest(event, 'input:not([type="range"]), textarea, select')) return;
    const run = runs[event.key];
    if (!run) return;
    event.preventDefault();
    run();
  };
}
