// The event log, latest first: elections, leaders, servers that failed and came back, injected faults. A
// sign and a word name the kind of an event; each kind can be filtered out.

import { h, keyed, set, text } from '../dom.js';
import { list, t } from '../i18n.js';
import { clock } from './chart-scale.js';
import { reason } from './servers.js';

/**
 * kind: for the filter; sign: displayed; mark: also in the charts.
 * @type {Record<string, {kind: string, sign: string, cls: string, mark?: boolean}>}
 */
const KINDS = {
  became_leader: { kind: 'elections', sign: '♛', cls: 'is-good', mark: true },
  stepped_down: { kind: 'elections', sign: '▽', cls: 'is-warn' },
  became_candidate: { kind: 'elections', sign: '⬡', cls: 'is-plain' },
  started_pre_vote: { kind: 'votes', sign: '?', cls: 'is-plain' },
  voted: { kind: 'votes', sign: '✓', cls: 'is-plain' },
  became_follower: { kind: 'votes', sign: '→', cls: 'is-plain' },
  truncated_log: { kind: 'elections', sign: '✂', cls: 'is-warn' },
  started: { kind: 'servers', sign: '▲', cls: 'is-good' },
  unreachable: { kind: 'servers', sign: '✕', cls: 'is-bad', mark: true },
  back: { kind: 'servers', sign: '○', cls: 'is-good' },
  chaos: { kind: 'chaos', sign: '⚡', cls: 'is-bad', mark: true },
  proxy_started: { kind: 'servers', sign: '▲', cls: 'is-plain' },
  proxy_follows: { kind: 'votes', sign: '→', cls: 'is-plain' },
};
const FILTERS = ['elections', 'servers', 'chaos', 'votes'];
const SHOWN = 200;

/** @param {ClusterEvent} event */
const kindOf = (event) => KINDS[event.what] ?? { kind: 'servers', sign: '·', cls: 'is-plain' };

/** @param {HTMLElement} host */
export function EventList(host) {
  let shown = new Set(['elections', 'servers', 'chaos']);
  /** @type {import('./state.js').State} */
  let state;
  const filters = h(
    'div',
    { class: 'row', role: 'group', 'aria-label': t('live.show') },
    FILTERS.map((kind) =>
      h(
        'button',
        {
          type: 'button',
          class: 'chip-button',
          'aria-pressed': String(shown.has(kind)),
          onclick: (/** @type {{currentTarget: HTMLElement}} */ { currentTarget }) => {
            shown = new Set(shown);
            if (!shown.delete(kind)) shown.add(kind);
            set(currentTarget, { 'aria-pressed': String(shown.has(kind)) });
            draw();
          },
        },
        t(`live.kind-${kind}`),
      ),
    ),
  );
  const gap = h('p', { class: 'small chip is-warn', role: 'status', hidden: true });
  const rows = h('ol', {
    class: 'events plain scroll',
    tabindex: 0,
    'aria-label': t('live.events'),
    reversed: true,
  });
  const none = h('p', { class: 'dim small' }, t('live.no-events'));
  host.append(filters, gap, rows, none);

  function draw() {
    if (!state) return;
    const all = state.events.filter((event) => shown.has(kindOf(event).kind));
    // Ordered by the clock of the event's process; event numbers order events of equal time.
    all.sort((one, other) => other.at - one.at || other.id - one.id);
    const some = all.slice(0, SHOWN);
    // After a restart the proxy counts from 1 again.
    keyed(
      rows,
      some,
      ({ id, at }) => `${id} ${at}`,
      (event) => {
        const { sign, cls } = kindOf(event);
        return h(
          'li',
          { class: cls },
          h('time', { datetime: new Date(event.at).toISOString() }, clock(event.at)),
          h('span', { class: 'sign', 'aria-hidden': 'true' }, sign),
          h('span', {}, sentence(event)),
        );
      },
    );
    none.hidden = some.length > 0;
    rows.hidden = !none.hidden;
    gap.hidden = !state.gap;
    if (state.gap)
      text(
        gap,
        state.gap.missed === null ? t('live.gap-restart') : t('live.gap', { n: state.gap.missed }),
      );
  }

  return {
    /** @param {import('./state.js').State} next */
    update(next) {
      state = next;
      draw();
    },
  };
}

/**
 * The marks of a chart.
 * @param {ClusterEvent[]} events
 */
export function marksOf(events) {
  return events
    .filter((event) => kindOf(event).mark && !(event.what === 'chaos' && event.by_itself))
    .map((event) => ({
      key: `${event.id} ${event.at}`,
      at: event.at,
      cls: kindOf(event).cls,
      about: `${clock(event.at)} ${sentence(event)}`,
    }));
}

/** @param {number} id */
const server = (id) => t('stage.server', { id });

/**
 * An event as a sentence.
 * @param {ClusterEvent} event
 */
export function sentence(event) {
  const who = server(event.node);
  switch (event.what) {
    case 'became_leader':
    case 'stepped_down':
    case 'became_candidate':
    case 'started_pre_vote':
      return t(`live.ev-${event.what}`, { who, term: event.term });
    case 'voted':
    case 'became_follower':
      return t(`live.ev-${event.what}`, { who, other: server(event.other), term: event.term });
    case 'truncated_log':
      return t('live.ev-truncated_log', { who, index: event.index });
    case 'started':
      return event.index
        ? t('live.ev-started', { who, index: event.index, n: event.index, term: event.term })
        : t('live.ev-started-new', { who });
    case 'unreachable':
      return t('live.ev-unreachable', { who, problem: reason(event) });
    case 'back':
      return t('live.ev-back', { who });
    case 'proxy_started':
      return t('live.ev-proxy-started', { version: event.version });
    case 'proxy_follows':
      return event.node === null ? t('live.ev-proxy-lost') : t('live.ev-proxy-follows', { who });
    case 'chaos':
      return event.by_itself
        ? t('live.ev-by-itself', { what: action(event.action) })
        : action(event.action);
    default:
      return event.what;
  }
}

/**
 * The end of a link: `1`, `'proxy'` or `'clients'`.
 * @param {End} which
 */
export const end = (which) => (typeof which === 'number' ? server(which) : t(`live.end-${which}`));

/**
 * The faults of a link: 'cut', or 'drops 30%, delays by 50–100 ms'.
 * @param {LinkFault} fault
 */
export function describeFaults({ cut, drop = 0, duplicate = 0, reorder = 0, delay_ms: delay }) {
  if (cut) return t('live.fault-cut');
  /** @param {number} part */
  const share = (part) => Math.round(part * 100);
  const all = [
    drop > 0 && t('live.fault-drop', { share: share(drop) }),
    duplicate > 0 && t('live.fault-duplicate', { share: share(duplicate) }),
    reorder > 0 && t('live.fault-reorder', { share: share(reorder) }),
    delay && t('live.fault-delay', { min: delay[0], max: delay[1] }),
  ].filter(Boolean);
  return all.length ? list(all) : t('live.fault-none');
}

/** @param {Record<string, any>} done */
function action(done) {
  const who = done.node === undefined ? '' : server(done.node);
  const time = done.for_seconds ? ` (${t('live.for', { seconds: done.for_seconds })})` : '';
  if (done.do === 'link') {
    const key = done.both ? 'live.act-link-both' : 'live.act-link';
    return t(key, { from: end(done.from), to: end(done.to), faults: describeFaults(done) }) + time;
  }
  return t(`live.act-${done.do}`, { who }) + time;
}
