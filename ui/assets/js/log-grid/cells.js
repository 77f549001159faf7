// The cells of the log grid as data: the words, the signs and the classes of each entry.
//
//   rowsOf(at)                           // a row for each server
//   cellOf(row, index, isAccused)

import { command } from '../describe.js';
import { t } from '../i18n.js';
import { diskBase, isDown, logOf, splitName } from '../timeline.js';

/**
 * @typedef {{
 *   index: number, cls: string, about: string | null, term: string, says: string, signs: string,
 * }} LogCell
 * @typedef {{
 *   name: string, snapshot: Snapshot | null, log: ReturnType<typeof logOf>,
 *   disk: ReturnType<typeof diskOf>, before: ReturnType<typeof logOf> | null,
 * }} LogRow
 */

/**
 * The servers with their logs; `before` is the log before the current step of the server that acts.
 * @param {Picture} at
 * @returns {LogRow[]}
 */
export const rowsOf = (at) =>
  at.names
    .filter((name) => splitName(name).kind === 'server' && at.processes[name])
    .map((name) => {
      const snapshot = at.processes[name];
      const before = at.step?.process === name ? logOf(at.before) : null;
      return { name, snapshot, log: logOf(snapshot), disk: diskOf(snapshot), before };
    });

/**
 * The lowest and the highest index of these logs.
 * @param {LogRow[]} rows
 */
export function extentOf(rows) {
  const last = Math.max(0, ...rows.map(({ log, disk }) => Math.max(log.last, disk.last)));
  const lowest = Math.max(1, Math.min(...rows.map(({ log }) => log.start), last || 1));
  return { lowest, last };
}

/** @param {Snapshot | null} snapshot */
function diskOf(snapshot) {
  const disk = snapshot?.disk;
  const start = disk ? (disk.log_start ?? diskBase(disk) + 1) : logOf(snapshot).start;
  const log = disk?.log ?? [];
  return { start, log, last: start + log.length - 1 };
}

/**
 * @param {LogRow} row
 * @param {number} index
 * @param {boolean} isAccused
 * @returns {LogCell}
 */
export function cellOf(row, index, isAccused) {
  const { log, disk, snapshot } = row;
  const entry = log.log[index - log.start];
  const onDisk = disk.log[index - disk.start];
  if (entry) return entryCell(entry, row, index, isAccused);
  if (index <= log.snapshot && index < log.start) {
    const about = `${index}: ${t('stage.log-in-snapshot')}`;
    return { index, cls: 'log-cell is-snapshot', about, term: '', says: '▤', signs: '' };
  }
  if (onDisk && !isDown(snapshot)) {
    return {
      index,
      cls: `log-cell is-gone term-${onDisk.term % 8}`,
      about: `${nameOf(onDisk, index)}: ${t('stage.log-gone')}`,
      term: `t${onDisk.term}`,
      says: command(onDisk),
      signs: '',
    };
  }
  return { index, cls: 'log-cell is-none', about: null, term: '', says: '', signs: '' };
}

/**
 * @param {Entry} entry
 * @param {number} index
 */
const nameOf = (entry, index) =>
  t('stage.log-entry', { index, term: entry.term, command: command(entry) });

/**
 * An entry in the memory of a server.
 * @param {Entry} entry
 * @param {LogRow} row
 * @param {number} index
 * @param {boolean} isAccused
 * @returns {LogCell}
 */
function entryCell(entry, { log, before }, index, isAccused) {
  const old = before?.log[index - before.start];
  const isNew = before && (!old || old.term !== entry.term);
  const isCommitted = index <= log.commit;
  const isDurable = index <= log.durable;
  const isApplied = log.applied !== null && index <= log.applied;
  const isCommittedNow = before && isCommitted && index > before.commit;
  const words = [
    t(isCommitted ? 'stage.log-committed' : 'stage.log-uncommitted'),
    t(isDurable ? 'stage.log-durable' : 'stage.log-volatile'),
    isApplied && t('stage.log-applied'),
    index <= log.snapshot && t('stage.log-in-snapshot'),
    isNew && t('stage.log-new'),
    isAccused && t('stage.log-accused'),
  ];
  const cls = [
    'log-cell',
    `term-${entry.term % 8}`,
    isCommitted && 'is-committed',
    !isDurable && 'is-volatile',
    (isNew || isCommittedNow) && 'is-fresh',
    isAccused && 'is-accused',
  ];
  return {
    index,
    term: `t${entry.term}`,
    says: command(entry),
    signs: `${isCommitted ? '✓' : ''}${isDurable ? '●' : '○'}${isApplied ? '▲' : ''}`,
    about: `${nameOf(entry, index)}: ${words.filter(Boolean).join(', ')}`,
    cls: cls.filter(Boolean).join(' '),
  };
}
