// Short notices at the edge of the page, announced by screen readers: `toast('copied')`,
// `toast(error.message, 'bad')`. A `bad` notice stays until the reader closes it.

import { h } from './dom.js';
import { t } from './i18n.js';

/** @type {HTMLElement | null} */
let shelf = null;

/** @param {string} words @param {'plain' | 'good' | 'bad'} [kind] */
export function toast(words, kind = 'plain') {
  if (!shelf?.isConnected) {
    shelf = h('div', { class: 'toasts', role: 'status', 'aria-live': 'polite' });
    document.body.append(shelf);
  }
  const note = h(
    'div',
    { class: `toast is-${kind}` },
    h('span', {}, words),
    h(
      'button',
      {
        class: 'quiet',
        type: 'button',
        'aria-label': t('shell.close'),
        onclick: () => note.remove(),
      },
      '×',
    ),
  );
  shelf.append(note);
  while (shelf.children.length > 4) shelf.firstElementChild?.remove();
  if (kind !== 'bad') setTimeout(() => note.remove(), 5000);
  return note;
}
