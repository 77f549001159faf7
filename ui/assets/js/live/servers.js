// The table of servers: role, term, log positions, lag behind the leader, and counters.

import { h, keyed, set, text } from '../dom.js';
import { duration, has, number, t } from '../i18n.js';
import { lagOf } from './state.js';

const COLUMNS = [
  'role',
  'term',
  'commit',
  'applied',
  'durable',
  'last',
  'lag',
  'flow',
  'in',
  'out',
  'dropped',
  'syncs',
  'elections',
  'up',
];
const WORDS = new Set(['role', 'flow', 'up']);

/**
 * @param {HTMLElement} host
 * @param {{onPick: (name: string) => void}} options
 */
export function Servers(host, { onPick }) {
  const body = h('tbody', {});
  host.append(
    h(
      'div',
      { class: 'scroll', tabindex: 0, role: 'group', 'aria-label': t('live.servers') },
      h(
        'table',
        { class: 'servers' },
        h(
          'thead',
          {},
          h(
            'tr',
            {},
            h('th', { scope: 'col' }, t('live.server')),
            COLUMNS.map((name) =>
              h(
                'th',
                { scope: 'col', class: WORDS.has(name) ? null : 'number' },
                t(`live.col-${name}`),
              ),
            ),
          ),
        ),
        body,
      ),
    ),
    h(
      'details',
      { class: 'small columns-about' },
      h('summary', {}, t('live.columns')),
      h(
        'dl',
        {},
        COLUMNS.map((name) => [
          h('dt', {}, t(`live.col-${name}`)),
          h('dd', {}, t(`live.col-${name}-about`)),
        ]),
      ),
    ),
  );

  return {
    /**
     * @param {import('./state.js').State} state
     * @param {string | null} selected
     */
    update(state, selected) {
      const followers = state.leader?.followers ?? {};
      keyed(
        body,
        state.status?.nodes ?? [],
        ({ id }) => id,
        ({ id }) =>
          h(
            'tr',
            {},
            h(
              'th',
              { scope: 'row' },
              h(
                'button',
                { type: 'button', class: 'quiet', onclick: () => onPick(`server ${id}`) },
                t('stage.server', { id }),
              ),
            ),
            COLUMNS.map((name) => h('td', { class: WORDS.has(name) ? null : 'number mono' })),
          ),
        (row, node) => {
          const told = cells(node, followers[node.id], state);
          set(row, {
            class: [
              selected === `server ${node.id}` && 'is-picked',
              !node.status && 'is-gone',
              node.status && !state.counts(node.id) && 'is-uncounted',
            ]
              .filter(Boolean)
              .join(' '),
          });
          COLUMNS.forEach((name, place) => text(row.children[place + 1], told[name] ?? '–'));
        },
      );
    },
  };
}

/**
 * The reason why a server has no status, in the language of the page if that has a text for its code.
 * @param {ClusterNode | ClusterEvent} held
 */
export function reason({ problem, cause }) {
  const key = `live.problem-${cause?.code}`;
  return has(key) ? t(key, { ...cause }) : (problem ?? '');
}

/**
 * @param {ClusterNode} node
 * @param {Progress | undefined} progress
 * @param {import('./state.js').State} state
 * @returns {Record<string, string | null>}
 */
function cells(node, progress, state) {
  const { id, status } = node;
  if (!status) {
    const halted = state.halted(id);
    const role = halted ? t(`stage.role-${halted}`) : `${t('stage.role-silent')}: ${reason(node)}`;
    const last = state.known.get(id);
    const age = state.age(node);
    if (!last || age === null) return { role };
    // The last known status, with its age.
    return {
      role: `${role} · ${t('live.ago', { time: duration(Math.round(age / 1000)) })}`,
      term: number(last.term),
      commit: number(last.commit_index),
      applied: number(last.applied_index),
      durable: number(last.durable_index),
      last: number(last.last_index),
      lag: progress ? number(progress.lag) : null,
    };
  }
  const { counts } = status;
  return {
    role:
      t(`stage.role-${status.role}`) +
      (state.isolated(id) ? ` · ${t('live.isolated')}` : '') +
      (state.counts(id) ? '' : ` · ${t('live.not-counted')}`),
    term: number(status.term),
    commit: number(status.commit_index),
    applied: number(status.applied_index),
    durable: number(status.durable_index),
    last: number(status.last_index),
    lag: progress ? (lagOf(progress) === '?' ? '?' : number(progress.lag)) : null,
    flow: progress
      ? progress.silent_ms > 1500
        ? t('live.silent', { n: Math.round(progress.silent_ms / 1000) })
        : t('live.flow-short', { flow: t(`live.flow-${progress.flow}`), window: progress.window })
      : null,
    in: number(counts.messages_in),
    out: number(counts.messages_out),
    dropped: number(counts.dropped),
    syncs: number(counts.fsyncs),
    elections: number(counts.elections),
    up: duration(status.uptime_seconds),
  };
}
