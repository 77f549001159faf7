// The messages of the stage: an arrow and a label for each message, fanned out between the same two
// processes, and a count for the messages beyond the third.
//
//   const routes = routesOf(at.inFlight, layout, {width, height}, selected);   // {drawn, stacks}
//   const messages = Messages({onPick(id), onOpen(pair)});
//   messages.draw(routes, selected);
//   messages.animate(routes);            // moves each delivered message once along its arrow

import { family, label, sentence, short, the } from '../describe.js';
import { keyed, set, still, svg, svgButton, text } from '../dom.js';
import { t } from '../i18n.js';
import { connect, settle } from './layout.js';

/**
 * @typedef {Label & {message: SentAt, weight: number, spare: {words: string, w: number}}} Route
 * @typedef {Label & {pair: string, from: string, to: string, count: number, messages: SentAt[]}} Stack
 */

/** The number of arrows between two processes. */
const FAN = 3;
/** Of more messages than this between two processes, only the latest are considered. */
const LATEST = 40;

/** @param {{onPick: (id: number) => void, onOpen: (pair: string) => void}} options */
export function Messages({ onPick, onOpen }) {
  const arrows = svg('g', { class: 'arrows' });
  const leads = svg('g', { class: 'leads', 'aria-hidden': 'true' });
  const labels = svg('g', { class: 'labels' });
  const sparks = svg('g', { class: 'sparks', 'aria-hidden': 'true' });

  /**
   * @param {ReturnType<typeof routesOf>} routes
   * @param {Picked | null} selected
   */
  function draw({ drawn, stacks }, selected) {
    keyed(
      arrows,
      drawn,
      ({ message }) => message.id,
      () => svg('path', {}),
      (path, one) =>
        set(path, {
          class: classesOf(one.message, selected),
          d: one.curve.d,
          'marker-end': `url(#head-${family(one.message.message)})`,
          'data-from': one.message.from,
          'data-to': one.message.to,
        }),
    );
    const all = [
      ...drawn.map((one) => ({ ...one, key: `m${one.message.id}` })),
      ...stacks.map((one) => ({ ...one, key: `s${one.pair}` })),
    ];
    const led = all.filter(({ lead }) => lead);
    keyed(
      leads,
      led,
      ({ key }) => key,
      () => svg('path', {}),
      (path, { x, y, lead }) => {
        const end = lead && `${lead.x.toFixed(1)} ${lead.y.toFixed(1)}`;
        set(path, { d: `M${x.toFixed(1)} ${y.toFixed(1)}L${end}` });
      },
    );
    keyed(
      labels,
      all,
      ({ key }) => key,
      makeLabel,
      (group, one) => drawLabel(group, one, selected),
    );
  }

  /**
   * @param {PageElement} group
   * @param {any} one
   * @param {Picked | null} selected
   */
  function drawLabel(group, one, selected) {
    const { message, pair } = one;
    const about = message ? messageAbout(message) : stackAbout(one);
    set(group, {
      class: message ? classesOf(message, selected) : 'message stack',
      transform: `translate(${one.x.toFixed(1)} ${one.y.toFixed(1)})`,
      'aria-label': about,
      'aria-pressed': message ? String(selected?.message === message.id) : null,
    });
    const [title, rect, words] = group.children;
    text(title, about);
    set(rect, { x: -one.w / 2, y: -10, width: one.w, height: 20, rx: 5 });
    text(words, one.words);
    group.pick = () => (message ? onPick(message.id) : onOpen(pair));
  }

  /** @param {ReturnType<typeof routesOf>} routes */
  function animate({ drawn }) {
    sparks.replaceChildren();
    if (still()) return;
    for (const { message, curve } of drawn) {
      if (!message.isDelivering) continue;
      const spark = svg('circle', { r: 6, class: `spark is-${family(message.message)}` });
      spark.style.offsetPath = `path("${curve.d}")`;
      spark.style.offsetRotate = '0deg';
      sparks.append(spark);
      const way = [{ offsetDistance: '0%' }, { offsetDistance: '100%' }];
      const run = spark.animate(way, { duration: 380, easing: 'ease-in-out' });
      run.onfinish = () => spark.remove();
    }
  }

  return { arrows, leads, labels, sparks, draw, animate };
}

/** The heads of the arrows, one for each family of messages. */
export function arrowHeads() {
  /** @param {string} name */
  const head = (name) =>
    svg(
      'marker',
      {
        id: `head-${name}`,
        viewBox: '0 0 10 10',
        refX: 8.5,
        refY: 5,
        markerWidth: 9,
        markerHeight: 9,
        markerUnits: 'userSpaceOnUse',
        orient: 'auto-start-reverse',
      },
      svg('path', { d: 'M0 0 10 5 0 10 2.5 5z', class: `head is-${name}` }),
    );
  return svg('defs', {}, ['vote', 'append', 'client'].map(head));
}

function makeLabel() {
  const words = svg('text', { 'text-anchor': 'middle', dy: '0.35em' });
  return svgButton(svg('title', {}), svg('rect', {}), words);
}

/**
 * @param {SentAt} message
 * @param {Picked | null} selected
 */
function classesOf(message, selected) {
  const classes = [
    'message',
    `is-${family(message.message)}`,
    message.isNew && 'is-new',
    message.isDelivering && 'is-delivering',
    message.isDropping && 'is-dropping',
    selected?.message === message.id && 'is-picked',
  ];
  return classes.filter(Boolean).join(' ');
}

/** @param {SentAt} message */
function messageAbout(message) {
  const { id, from, to } = message;
  const params = { id, from: the(from), to: the(to), message: sentence(message.message) };
  const parts = [
    t('stage.message-about', params),
    message.isNew && t('stage.message-new'),
    message.isDelivering && t('stage.message-delivered'),
    message.isDropping && t('stage.message-dropped'),
  ];
  return parts.filter(Boolean).join('; ');
}

/** @param {{count: number, from: string, to: string}} stack */
const stackAbout = ({ count, from, to }) =>
  t('stage.more-about', { n: count, from: the(from), to: the(to) });

/* Routes. */

/**
 * The arrows and the labels of the messages, with their positions: `drawn` has an element for each
 * message that is drawn, `stacks` one for each pair of processes with more messages.
 * @param {SentAt[]} messages
 * @param {StageLayout} layout
 * @param {Size} size
 * @param {Picked | null} selected
 * @returns {{drawn: Route[], stacks: Stack[]}}
 */
export function routesOf(messages, { places, boxes }, { width, height }, selected) {
  const isCrowded = width < 520 || messages.length > 10 || places.size > 4;
  /** @type {any[]} */
  const drawn = [];
  /** @type {any[]} */
  const stacks = [];
  const nodes = [...places.values()];
  const used = new Map();
  /** @param {SentAt} message */
  const weight = (message) => weightOf(message, selected);
  for (const [pair, all] of byPair(messages, places)) {
    const [from, to] = [all[0].from, all[0].to].map(
      (name) => /** @type {Spot} */ (places.get(name)),
    );
    /** @param {number} i */
    const line = (i) => connect(from, to, { bend: 16 + 30 * i, nodes, boxes, used, width, height });
    const some = mostImportant(all, weight);
    some.forEach((message, i) => {
      const mark = message.isDropping ? '✕ ' : '';
      const words = mark + (isCrowded ? short(message.message) : label(message.message));
      const spare = mark || '•';
      drawn.push({
        message,
        weight: weight(message),
        curve: line(i),
        words,
        w: labelWidth(words),
        spare: { words: spare, w: labelWidth(spare) },
      });
    });
    if (all.length > some.length) {
      const rest = all.filter((message) => !some.includes(message));
      const words = t('stage.more', { n: rest.length });
      stacks.push({
        pair,
        from: all[0].from,
        to: all[0].to,
        count: rest.length,
        messages: rest,
        curve: line(some.length),
        words,
        w: labelWidth(words),
      });
    }
  }
  const labels = [...drawn, ...stacks];
  labels.sort((one, other) => (other.weight ?? 0) - (one.weight ?? 0));
  settle(labels, { nodes, boxes, width, height });
  return { drawn, stacks };
}

/**
 * The messages by pair of processes: `server 1>server 2`.
 * @param {SentAt[]} messages
 * @param {Map<string, Spot>} places
 * @returns {Map<string, SentAt[]>}
 */
function byPair(messages, places) {
  /** @type {Map<string, SentAt[]>} */
  const pairs = new Map();
  for (const message of messages) {
    if (!places.has(message.from) || !places.has(message.to)) continue;
    const pair = `${message.from}>${message.to}`;
    if (!pairs.has(pair)) pairs.set(pair, []);
    pairs.get(pair)?.push(message);
  }
  return pairs;
}

/**
 * By priority: the selected message, the messages of the current step, then the latest.
 * @param {SentAt} message
 * @param {Picked | null} selected
 */
function weightOf(message, selected) {
  const isSelected = message.id === selected?.message;
  const isNow = message.isDelivering || message.isDropping;
  return (isSelected ? 4 : 0) + (isNow ? 2 : 0) + (message.isNew ? 1 : 0);
}

/**
 * The messages of a pair that have an arrow, by number.
 * @param {SentAt[]} all
 * @param {(message: SentAt) => number} weight
 */
function mostImportant(all, weight) {
  const older = all.slice(0, Math.max(0, all.length - LATEST)).filter(weight);
  const latest = [...older, ...all.slice(-LATEST)];
  latest.sort((one, other) => weight(other) - weight(one) || other.id - one.id);
  // If there are more than fit, the count takes the room of one.
  const fan = all.length > FAN ? FAN - 1 : FAN;
  return latest.slice(0, fan).sort((one, other) => one.id - other.id);
}

/** @param {string} words */
const labelWidth = (words) => 12 + 6.65 * words.length;
