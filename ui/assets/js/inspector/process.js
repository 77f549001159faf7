// A process in the inspector: the fields of its state, with the changes of the last step marked.

import { entry, role, text as words, transferWords, who } from '../describe.js';
import { h } from '../dom.js';
import { t } from '../i18n.js';
import { diskBase, isDown, logOf, roleOf, splitName, termOf } from '../timeline.js';
import { changing, fact } from './facts.js';

/** The number of entries of a log, and of pairs of a store, that are shown. */
const ENTRIES = 12;
const PAIRS = 50;

/** @typedef {(process: Snapshot) => any} Field */

/** @param {any} held */
const idOf = (held) =>
  held === null || held === undefined ? t('stage.none') : t('stage.server-short', { id: held });
/** @param {any} held */
const idsOf = (held) => (held?.length ? held.map(idOf).join(', ') : t('stage.none'));
/**
 * The part of a server's state that a crash loses.
 * @param {Snapshot | null | undefined} process
 * @returns {Partial<Running>}
 */
const runningOf = (process) => process?.running ?? {};

/**
 * `before` is the state before the last step, or `null` if that step was of another process.
 * @param {string} name
 * @param {Snapshot} snapshot
 * @param {Snapshot | null} before
 * @returns {Content}
 */
export function processDetails(name, snapshot, before) {
  /**
   * @param {string} key
   * @param {Field} value
   */
  const field = (key, value) => fact(key, value(snapshot), before ? value(before) : undefined);
  const fields = fieldsOf(splitName(name).kind, snapshot, before);
  const facts = fields.map(([key, value]) => field(`stage.${key}`, value));
  return [
    h('h3', {}, who(name)),
    h('dl', { class: 'facts-list' }, facts),
    followersTable(runningOf(snapshot).followers, runningOf(before).followers),
    storeTable(runningOf(snapshot).store),
  ];
}

/**
 * The fields of a process that are shown, in their order.
 * @param {string} kind
 * @param {Snapshot} snapshot
 * @param {Snapshot | null} before
 * @returns {[string, Field][]}
 */
function fieldsOf(kind, snapshot, before) {
  if (kind === 'proxy')
    return [
      ['field-believes', ({ leader }) => idOf(leader)],
      ['field-in-flight', (proxy) => proxy.in_flight],
    ];
  if (kind === 'client')
    return [
      ['field-state', ({ idle }) => t(idle ? 'stage.idle' : 'stage.waiting')],
      ['field-session', ({ session }) => session ?? t('stage.none')],
      ['field-invoked', ({ invoked }) => invoked],
    ];
  /** @type {[string, Field][]} */
  const fields = [
    ['field-role', (server) => role(roleOf(server))],
    ['field-term', termOf],
  ];
  if (!isDown(snapshot)) fields.push(...runningFields(snapshot, before));
  fields.push(['field-log', logWords]);
  if (snapshot.disk) fields.push(['insp-on-disk', diskWords]);
  return fields;
}

/**
 * @param {Snapshot} snapshot
 * @param {Snapshot | null} before
 * @returns {[string, Field][]}
 */
function runningFields(snapshot, before) {
  const { votes, unsynced, reads, transfer } = runningOf(snapshot);
  /** @type {[string, Field][]} */
  const fields = [
    ['field-vote', (server) => idOf(runningOf(server).voted_for)],
    ['field-leader', (server) => idOf(runningOf(server).leader)],
  ];
  if (votes?.length) fields.push(['field-votes', (server) => idsOf(runningOf(server).votes)]);
  if (transfer || runningOf(before).transfer)
    fields.push(['field-transfer', (server) => transferWords(runningOf(server).transfer)]);
  fields.push(
    ['field-commit', (server) => logOf(server).commit],
    ['field-durable', (server) => logOf(server).durable],
  );
  if (unsynced?.length || runningOf(before).unsynced?.length)
    fields.push(['field-unsynced', (server) => runningOf(server).unsynced?.length ?? 0]);
  if (reads?.length) fields.push(['field-reads', (server) => runningOf(server).reads?.length ?? 0]);
  return fields;
}

/**
 * The last entries of a log.
 * @param {Snapshot} server
 */
function logWords(server) {
  const { log, last } = logOf(server);
  const shown = log.slice(-ENTRIES);
  const first = last - shown.length + 1;
  return shown.map((one, place) => `${first + place}:${entry(one)}`).join(', ') || t('stage.empty');
}

/** @param {Snapshot} server */
function diskWords({ disk = {} }) {
  /** @type {Partial<HardState>} */
  const hard = disk.hard_state ?? {};
  return t('stage.insp-disk', {
    term: hard.current_term ?? 0,
    vote: idOf(hard.voted_for),
    n: (disk.log_start ?? diskBase(disk) + 1) - 1 + (disk.log?.length ?? 0),
  });
}

/**
 * The replication progress of a leader.
 * @param {Follower[]} [followers]
 * @param {Follower[]} [before]
 */
function followersTable(followers = [], before = []) {
  if (!followers.length) return null;
  const heads = ['stage.insp-follower', 'stage.insp-match', 'stage.insp-next'];
  /** @param {Follower} follower */
  const row = (follower) => {
    const was = before.find(({ id }) => id === follower.id);
    /** @param {'match_index' | 'next_index'} key */
    const cell = (key) => {
      const isChanged = was !== undefined && was[key] !== follower[key];
      return changing('td', follower[key], was?.[key], isChanged);
    };
    const name = h('th', { scope: 'row' }, idOf(follower.id));
    return h('tr', {}, name, cell('match_index'), cell('next_index'));
  };
  const columns = heads.map((key) => h('th', { scope: 'col' }, t(key)));
  return h(
    'table',
    { class: 'insp-table' },
    h('caption', {}, t('stage.insp-followers')),
    h('thead', {}, h('tr', {}, columns)),
    h('tbody', {}, followers.map(row)),
  );
}

/** @param {Running['store']} [store] */
function storeTable(store = []) {
  if (!store.length) return null;
  const rows = store
    .slice(0, PAIRS)
    .map(({ key, value, version }) =>
      h(
        'tr',
        {},
        h('th', { scope: 'row' }, words(key)),
        h('td', {}, words(value)),
        h('td', { class: 'dim' }, `v${version}`),
      ),
    );
  const caption = h('caption', {}, t('stage.insp-store'));
  return h('table', { class: 'insp-table' }, caption, h('tbody', {}, rows));
}
