// Plays one tour: the card on one side, the cluster that it describes on the other.
//
// A card may have several events. Moving forward plays them one after another; any other move jumps. The
// list below the text opens each event alone. If the reader prefers reduced motion, nothing is
// played.
//
// The parts: `card.js` (the text), `moves.js` (back and forward), `keys.js` (the
// keyboard), `show.js` (the cluster).

import { h, replace, still } from '../dom.js';
import { exportMenu } from '../export.js';
import { t } from '../i18n.js';
import { Card, addressOf } from './card.js';
import { tourKeys } from './keys.js';
import { Moves } from './moves.js';
import { Show } from './show.js';
import { exploreHash, traceOf, walkOf } from './walk.js';

/** The time in milliseconds between two events of a card. */
const PACE = 750;
/** The maximum playing time of a card, in milliseconds. */
const LONGEST = 4500;

/**
 * @param {HTMLElement} host
 * @param {{tour: Tour, next: Tour | null, app: App, navigate: PageContext['navigate']}} options
 */
export function Player(host, { tour, next, app, navigate }) {
  const last = tour.cards.length - 1;
  /** @type {PlacedCard} */
  let card;
  let number = 0;
  /** The current step of the run. */
  let at = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  const explore = app.pages.includes('explore')
    ? h('a', { class: 'button', 'aria-description': t('tour.explore-about') }, t('tour.explore'))
    : null;
  const exports = h('span', {});
  const cardPanel = Card(tour, { onStep: peek, more: [explore, exports] });
  const moves = Moves({
    last,
    next,
    onBack: () => go(number - 1),
    onForward: () => go(number + 1, { play: true }),
  });
  const box = h('div', { class: 'tour' }, cardPanel.element, moves.element);
  host.append(box);
  const show = Show(box, { onGoto: peek });
  const keys = tourKeys({
    ArrowRight: () => go(number + 1, { play: number < last }),
    ArrowLeft: () => go(number - 1),
    Home: () => go(0),
    End: () => go(last),
    Escape: () => navigate('#/tour'),
  });
  addEventListener('keydown', keys);

  /**
   * Opens a card; with `play`, shows its events one by one.
   * @param {number} to
   */
  function go(to, { play = false } = {}) {
    clearTimeout(timer);
    number = Math.max(0, Math.min(last, Number.isFinite(to) ? Math.trunc(to) : 0));
    card = tour.cards[number];
    navigate(addressOf(tour, number), { replace: true, quiet: true });
    drawCard();
    const count = card.to - card.from;
    if (play && count > 1 && !still()) run(card.from + 1, Math.min(PACE, LONGEST / count));
    else showStep(card.to, { animate: count <= 1 });
  }

  /**
   * @param {number} n
   * @param {number} pace
   */
  function run(n, pace) {
    showStep(n, { animate: true });
    if (n < card.to) timer = setTimeout(() => run(n + 1, pace), pace);
  }

  /**
   * Shows one event of the run; opens its card if it is another card of this part.
   * @param {number} n
   */
  function peek(n) {
    clearTimeout(timer);
    if (n < card.from || n > card.to) {
      const place = tour.cards.findIndex(
        (one) => one.part === card.part && n <= one.to && n >= one.from,
      );
      if (place >= 0) go(place);
    }
    showStep(n, { animate: true });
  }

  /**
   * @param {number} n
   * @param {{animate: boolean}} options
   */
  function showStep(n, { animate }) {
    at = n;
    show.update(card, n, { animate });
    cardPanel.mark(card, n);
    if (explore) explore.href = exploreHash(walkOf(card.part, n));
  }

  function drawCard() {
    const { part } = card;
    cardPanel.draw(card, number);
    moves.update(number);
    const menu = exportMenu(part.timeline, {
      name: part.trace,
      at: () => at,
      stageElement: show.picture,
      jsonl: { url: traceOf(part) },
    });
    replace(exports, menu);
  }

  return {
    /** @param {number} to */
    go(to) {
      if (to !== number || !card) go(to);
    },
    destroy() {
      clearTimeout(timer);
      removeEventListener('keydown', keys);
      show.destroy();
      box.remove();
    },
  };
}
