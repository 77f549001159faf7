// The head of the live page: the health of the cluster, its figures, and the alerts of its servers.
//
//   const summary = Summary();
//   replace(host, summary.head, summary.alerts);
//   summary.update(state, row);          // `row`: the values of the last sample, if any
//   summary.connect(isOpen, state);      // whether the stream of events is open

import { h, keyed, replace, set, text } from '../dom.js';
import { duration, number, t } from '../i18n.js';
import { end } from './events.js';
import { rate } from './load.js';

/** @typedef {import('./state.js').State} State */

export function Summary() {
  const connection = h('span', { class: 'chip', role: 'status' });
  const figures = h('dl', { class: 'live-summary' });
  const cluster = h('strong', {});
  const title = h('h1', { class: 'sr-only' }, t('live.title'));
  const head = h('div', { class: 'live-head' }, title, cluster, connection, figures);
  const alertList = { class: 'live-alerts', role: 'status', 'aria-label': t('live.alerts') };
  const alerts = h('ul', alertList);
  /**
   * Whether the stream is open; nothing until the first attempt has ended.
   * @type {boolean | null}
   */
  let isOpen = null;

  /**
   * The health of the cluster in one line: never green while writes wait.
   * @param {State} state
   */
  function drawChip({ health }) {
    set(connection, { class: `chip ${toneOf(isOpen, health)}` });
    const { up = 0, servers = 0 } = health ?? {};
    text(connection, t(wordsOf(isOpen, health), { up, servers }));
  }

  /**
   * @param {State} state
   * @param {Figures | undefined} row
   */
  function drawFigures(state, row) {
    const facts = factsOf(state, row);
    if (figures.children.length !== facts.length) {
      /** @param {[string, string, string]} fact */
      const fact = ([name]) => h('div', {}, h('dt', {}, t(`live.sum-${name}`)), h('dd', {}));
      replace(figures, facts.map(fact));
    }
    facts.forEach(([, value, cls], place) => {
      const element = /** @type {Element} */ (figures.children[place].lastElementChild);
      set(element, { class: cls || null });
      text(element, value);
    });
  }

  return {
    head,
    alerts,
    /**
     * @param {boolean} next
     * @param {State} state
     */
    connect(next, state) {
      isOpen = next;
      drawChip(state);
    },
    /**
     * @param {State} state
     * @param {Figures | undefined} row
     */
    update(state, row) {
      text(cluster, state.status?.cluster ?? '');
      drawChip(state);
      /** @param {Alert} alert */
      const key = ({ kind, node }) => `${kind} ${node}`;
      keyed(
        alerts,
        state.alerts,
        key,
        () => h('li', {}),
        (item, { kind, node }) => text(item, t(`live.alert-${kind}`, { who: end(node) })),
      );
      drawFigures(state, row);
    },
  };
}

/**
 * @param {boolean | null} isOpen
 * @param {Health | null} health
 */
function toneOf(isOpen, health) {
  if (isOpen === null) return '';
  if (!isOpen) return 'is-bad';
  if (!health) return 'is-good';
  if (health.state === 'no_quorum') return 'is-bad';
  if (health.state !== 'ok') return 'is-warn';
  const isFragile = health.margin === 0 && health.servers > 2;
  return health.up < health.servers || isFragile ? 'is-warn' : 'is-good';
}

/**
 * @param {boolean | null} isOpen
 * @param {Health | null} health
 */
function wordsOf(isOpen, health) {
  if (isOpen === null) return 'live.connecting';
  if (!isOpen) return 'live.reconnecting';
  return health ? `live.health-${health.state}` : 'live.connected';
}

/**
 * The figures: `[name, value, class]`.
 * @param {State} state
 * @param {Figures | undefined} row
 * @returns {[string, string, string][]}
 */
function factsOf({ leader, health, status }, row) {
  // Without a leader the last known commit index stays, with its age.
  const index = leader?.commit_index ?? health?.commit_index ?? null;
  const age = leader ? 0 : (health?.commit_age_ms ?? 0);
  const old = age >= 1000 ? ` · ${t('live.ago', { time: duration(Math.round(age / 1000)) })}` : '';
  const short = health && health.margin < 0 ? 'is-bad' : '';
  return [
    ['leader', leader ? end(leader.id) : t('live.nobody'), leader ? '' : 'is-bad'],
    ['term', leader ? number(leader.term) : '–', ''],
    ['commit', index === null ? '–' : number(index) + old, old ? 'is-bad' : ''],
    ['up', health ? t('live.up-of', health) : '–', short],
    ['margin', health ? marginOf(health) : '–', short],
    ['writes', row ? `${rate(row.writes)}/s` : '–', ''],
    ['reads', row ? `${rate(row.reads)}/s` : '–', ''],
    ['w99', row?.w99 ? `${number(row.w99, 1)} ms` : '–', ''],
    ['in-flight', number(status?.proxy.requests_in_flight ?? 0), ''],
  ];
}

/** @param {Health} health */
const marginOf = ({ margin }) =>
  margin >= 0 ? t('live.margin', { n: margin }) : t('live.margin-short', { n: -margin });
