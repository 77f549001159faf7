// Plays one tour: the card on one side, the cluster that it describes on the other.
//
// A card may have several events. Moving forward plays them one after another; any other move jumps. The
// list below the text opens each event alone. If the reader prefers reduced motion, nothing is
// played.

import { initial, text as plain, who } from '../describe.js';
import { closest, h, replace, still, text } from '../dom.js';
import { currentLanguage, t } from '../i18n.js';
import { LogGrid } from '../log-grid.js';
import { format } from '../router.js';
import { SpaceTime } from '../spacetime.js';
import { Stage } from '../stage.js';
import { accusedBy } from '../story.js';
import { exportMenu } from '../export.js';
import { sift, siftNote, withMessages } from '../replay/sift.js';
import { Card, addressOf } from './card.js';
import { exploreHash, lookedAt, traceOf, walkOf } from './walk.js';

/** The time in milliseconds between two events of a card. */
const PACE = 750;
/** The maximum playing time of a card, in milliseconds. */
const LONGEST = 4500;
/** The number of events for which a message that is never delivered is drawn. */
const FRESH = 4;

/**
 * @param {HTMLElement} host
 * @param {{tour: Tour, next: Tour | null, app: App, navigate: PageContext['navigate']}} options
 */
export function Player(host, { tour, next, app, navigate }) {
  const language = currentLanguage();
  const canExplore = app.pages.includes('explore');
  const last = tour.cards.length - 1;
  /** @type {PlacedCard} */
  let card;
  let number = 0;
  let at = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let all = false;

  const where = h('span', { class: 'dim small' });
  const back = h('button', { type: 'button', onclick: () => go(number - 1) }, '← ', t('tour.back'));
  const forward = h(
    'button',
    { type: 'button', class: 'primary', onclick: () => go(number + 1, { play: true }) },
    t('tour.next'),
    ' →',
  );
  const onward =
    next &&
    h(
      'a',
      {
        class: 'button primary',
        href: format({ page: 'tour', rest: [next.name] }),
        title: next.title[language],
        hidden: true,
      },
      t('tour.next-tour'),
      ' →',
    );
  const progress = h('i', {});
  const bar = h('div', { class: 'tour-bar', 'aria-hidden': 'true' }, progress);
  const explore = canExplore
    ? h('a', { class: 'button', 'aria-description': t('tour.explore-about') }, t('tour.explore'))
    : null;
  const exports = h('span', {});
  const story = Card(tour, { onStep: (n) => peek(n), more: [explore, exports] });

  const stageHost = h('div', { class: 'tour-stage' });
  const hidden = h('div', { class: 'sift-note small dim' });
  const logHost = h('div', { class: 'tour-logs' });
  const data = h('div', { class: 'tour-data row' });
  const spaceHost = h('div', { class: 'tour-spacetime' });

  const box = h(
    'div',
    { class: 'tour' },
    story.element,
    h(
      'div',
      { class: 'tour-moves' },
      bar,
      h('div', { class: 'row' }, back, where, h('span', { class: 'spacer' }), onward, forward),
    ),
    h(
      'section',
      { class: 'tour-show' },
      stageHost,
      hidden,
      h('h2', { class: 'small' }, t('tour.logs')),
      logHost,
      data,
      h('h2', { class: 'small' }, t('tour.spacetime')),
      spaceHost,
    ),
  );
  host.append(box);

  const stage = Stage(stageHost, {});
  const logs = LogGrid(logHost);
  const space = SpaceTime(spaceHost, { onGoto: (n) => peek(n) });

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
    else show(card.to, count <= 1);
  }

  /**
   * @param {number} n
   * @param {number} pace
   */
  function run(n, pace) {
    show(n, true);
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
    show(n, true);
  }

  /**
   * @param {number} n
   * @param {boolean} animate
   */
  function show(n, animate) {
    at = n;
    const { timeline } = card.part;
    const look = lookedAt(timeline, card, n);
    const whole = timeline.at(n);
    const { some, left } = sift(timeline, whole, {
      since: Math.max(card.from, n - FRESH),
      look: look.messages,
    });
    const broken = n === card.to ? timeline.steps[n - 1]?.broken : null;
    const accused = accusedBy(broken?.[0], whole);
    const view = all ? whole : withMessages(whole, some);
    stage.update({ at: view, selected: null, accused, animate });
    point(stage.picture, look);
    logs.update({ at: whole, accused });
    drawData(data, whole);
    space.update({ timeline, at: whole, selected: null, accused });
    siftNote(hidden, {
      left,
      all,
      onToggle: () => {
        all = !all;
        show(at, false);
      },
    });
    story.mark(card, n);
    if (explore) explore.href = exploreHash(walkOf(card.part, n));
  }

  function drawCard() {
    const { part } = card;
    story.draw(card, number);
    text(where, t('tour.step', { n: number + 1, of: last + 1 }));
    progress.style.width = `${(100 * number) / last}%`;
    back.disabled = number === 0;
    forward.hidden = number === last;
    if (onward) onward.hidden = number !== last;
    const menu = exportMenu(part.timeline, {
      name: part.trace,
      at: () => at,
      stageElement: () => stage.picture,
      jsonl: { url: traceOf(part) },
    });
    replace(exports, menu);
  }

  /** @param {KeyboardEvent} pressed */
  function keys(pressed) {
    if (
      pressed.ctrlKey ||
      pressed.metaKey ||
      pressed.altKey ||
      document.querySelector('dialog[open]')
    )
      return;
    if (
      closest(pressed, 'input, select, textarea, [role="menu"], [role="slider"], .tour-spacetime')
    )
      return;
    const run = {
      ArrowRight: () => go(number + 1, { play: number < last }),
      ArrowLeft: () => go(number - 1),
      Home: () => go(0),
      End: () => go(last),
      Escape: () => navigate('#/tour'),
    }[pressed.key];
    if (!run) return;
    pressed.preventDefault();
    run();
  }

  return {
    /** @param {number} to */
    go(to) {
      if (to !== number || !card) go(to);
    },
    destroy() {
      clearTimeout(timer);
      removeEventListener('keydown', keys);
      for (const part of [stage, logs, space]) part.destroy();
      box.remove();
    },
  };
}

/**
 * The data of the servers, if any server has data.
 * @param {HTMLElement} host
 * @param {Picture} at
 */
function drawData(host, { names, processes }) {
  const held = names.flatMap((name) => {
    const pairs = processes[name]?.running?.store;
    return pairs ? [{ name, pairs }] : [];
  });
  host.hidden = held.every(({ pairs }) => !pairs.length);
  if (host.hidden) return;
  const chips = held.map(({ name, pairs }) => {
    const words = pairs.map(({ key, value }) => `${plain(key)} = ${plain(value)}`);
    const content = [h('b', {}, initial(name)), h('code', {}, words.join(', ') || '–')];
    return h('span', { class: 'chip', title: who(name) }, content);
  });
  replace(host, h('span', { class: 'dim small' }, t('tour.data')), chips);
}

/**
 * Marks the subjects of the card. The stage keeps its elements by name, so the marks persist.
 * @param {SVGSVGElement} picture
 * @param {ReturnType<typeof lookedAt>} look
 */
function point(picture, { processes, messages }) {
  /**
   * @param {string} group
   * @param {(key: any) => boolean} wanted
   */
  const mark = (group, wanted) => {
    for (const [key, element] of /** @type {PageElement} */ (picture.querySelector(group))
      ?.keyedChildren ?? []) {
      if (wanted(key)) element.dataset.look = '';
      else delete element.dataset.look;
    }
  };
  mark('.nodes', (name) => processes.has(name));
  mark('.labels', (key) => messages.has(Number(String(key).slice(1))));
  mark('.arrows', (id) => messages.has(id));
}
