// The table of servers: role, term, log positions, lag behind the leader, and counters.

import { h, keyed, set, text } from '../dom.js';
import { duration, number, t } from '../i18n.js';
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
 * The reasons that the proxy gives in English, and the texts of the page.
 * @type {[RegExp, string][]}
 */
const REASONS = [
  [/^no (answer|response) in time$/, 'live.problem-late'],
  [/^the server has stopped$/, 'live.problem-stopped'],
  [/^cannot connect to (?<at>\S+): Connection refused/, 'live.problem-refused'],
  [/^cannot connect to (?<at>\S+): (Connection|Operation) timed out/, 'live.problem-timeout'],
  [
    /^cannot connect to (?<at>\S+): (No route to host|Network is unreachable)/,
    'live.problem-no-route',
  ],
  [/^cannot connect to (?<at>\S+): failed to lookup address/, 'live.problem-unresolved'],
  [/^cannot connect to (?<at>\S+): (?<why>.*)$/s, 'live.problem-connect'],
  [/^its HTTP address is not given/, 'live.problem-no-address'],
  [/^(?<at>\S+) answers (?<status>\d+)/, 'live.problem-status'],
];

/**
 * The reason why a server's health is unknown, in the language of the page if the reason is known.
 * @param {string} problem
 */
export function reason(problem) {
  for (const [pattern, key] of REASONS) {
    const found = pattern.exec(problem);
    if (found) return t(key, found.groups);
  }
  return problem;
}

/**
 * @param {ClusterNode} node
 * @param {Progress | undefined} progress
 * @param {import('./state.js').State} state
 * @returns {Record<string, string | null>}
 */
function cells(node, progress, state) {
  const { id, status, problem } = node;
  if (!status) {
    const halted = state.halted(id);
    const role = halted
      ? t(`stage.role-${halted}`)
      : `${t('stage.role-silent')}: ${reason(problem ?? '')}`;
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
