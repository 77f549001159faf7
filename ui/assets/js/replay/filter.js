// Selects the messages in flight to draw, in a run whose end is known.
//
// In the model's network an undelivered message stays forever, and after thirty steps there are dozens.
// The page draws the messages that this step touches, that the reader or the tour points at, or that the
// run delivers later. It counts the rest, and the reader can show them.

import { h, replace } from '../dom.js';
import { t } from '../i18n.js';

/**
 * `{some, left}`: the messages to draw, and the number of the rest. Messages sent after `since` are new.
 * @param {Timeline} timeline
 * @param {Picture} at
 * @param {{since?: number, look?: Set<number> | null}} [options]
 */
export function filterMessages(timeline, at, { since = at.n, look = null } = {}) {
  const some = at.inFlight.filter((message) => {
    const { sentAt, sentAgain, delivered, dropped } = timeline.all[message.id - 1];
    return (
      message.isDelivering ||
      message.isDropping ||
      message.isNew ||
      look?.has(message.id) ||
      [sentAt, ...sentAgain].some((n) => n > since && n <= at.n) ||
      [...delivered, ...dropped].some((n) => n > at.n)
    );
  });
  return { some, left: at.inFlight.length - some.length };
}

/**
 * The same picture with different messages in flight.
 * @param {Picture} at
 * @param {SentAt[]} some
 * @returns {Picture}
 */
export const withMessages = (at, some) => Object.create(at, { inFlight: { value: some } });

/**
 * Shows the number of hidden messages, with a button to show or hide them.
 * @param {HTMLElement} host
 * @param {{left: number, all: boolean, onToggle: () => void}} note
 */
export function filterNote(host, { left, all, onToggle }) {
  replace(
    host,
    left > 0 && [
      all ? '' : `${t('filter.left', { n: left })} `,
      h(
        'button',
        { type: 'button', class: 'link', onclick: onToggle },
        t(all ? 'filter.some' : 'filter.all'),
      ),
    ],
  );
}
