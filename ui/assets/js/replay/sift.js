// Which messages in flight are worth drawing in a run whose end is known.
//
// In the network of the model a message that nobody delivers stays for ever, and after thirty steps
// there are dozens. Those that this step touches, that somebody points at, or that are delivered
// later in the run are drawn; the others are counted, and the reader may ask for them.

import { h, replace } from '../dom.js';
import { t } from '../i18n.js';

/** `{some, left}`: the messages to draw, and how many are not. `since`: what was sent after it is new. */
export function sift(timeline, at, { since = at.n, look = null } = {}) {
  const some = at.inFlight.filter((message) => {
    const { sentAt, sentAgain, delivered, dropped } = timeline.all[message.id - 1];
    return message.isDelivering || message.isDropping || message.isNew || look?.has(message.id)
      || [sentAt, ...sentAgain].some((n) => n > since && n <= at.n) || [...delivered, ...dropped].some((n) => n > at.n);
  });
  return { some, left: at.inFlight.length - some.length };
}

/** The same picture with other messages in flight. */
export const withMessages = (at, some) => Object.create(at, { inFlight: { value: some } });

/** Says how many are left out, and lets the reader change it. */
export function siftNote(host, { left, all, onToggle }) {
  replace(host, left > 0 && [
    all ? '' : `${t('sift.left', { n: left })} `,
    h('button', { type: 'button', class: 'link', onclick: onToggle }, t(all ? 'sift.some' : 'sift.all')),
  ]);
}
