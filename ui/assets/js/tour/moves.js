// The moves of a tour: back, forward, the next tour, and the position.
//
//   const moves = Moves({last, next, onBack(), onForward()});
//   moves.element; moves.update(number);

import { h, text } from '../dom.js';
import { currentLanguage, t } from '../i18n.js';
import { format } from '../router.js';

/**
 * `last` is the number of the last card, `next` the next tour.
 * @param {{last: number, next: Tour | null, onBack: () => void, onForward: () => void}} options
 */
export function Moves({ last, next, onBack, onForward }) {
  const where = h('span', { class: 'dim small' });
  const back = h('button', { type: 'button', onclick: onBack }, '← ', t('tour.back'));
  const forward = h(
    'button',
    { type: 'button', class: 'primary', onclick: onForward },
    t('tour.next'),
    ' →',
  );
  const onward = next && nextTour(next);
  const progress = h('i', {});
  const element = h(
    'div',
    { class: 'tour-moves' },
    h('div', { class: 'tour-bar', 'aria-hidden': 'true' }, progress),
    h('div', { class: 'row' }, back, where, h('span', { class: 'spacer' }), onward, forward),
  );
  return {
    element,
    /** @param {number} number */
    update(number) {
      text(where, t('tour.step', { n: number + 1, of: last + 1 }));
      progress.style.width = `${(100 * number) / last}%`;
      back.disabled = number === 0;
      forward.hidden = number === last;
      if (onward) onward.hidden = number !== last;
    },
  };
}

/** @param {Tour} tour */
function nextTour({ name, title }) {
  const href = format({ page: 'tour', rest: [name] });
  const props = { class: 'button primary', href, title: title[currentLanguage()], hidden: true };
  return h('a', props, t('tour.next-tour'), ' →');
}
