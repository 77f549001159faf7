// Draws a search: its progress while it runs, and its verdict.

import { h, replace } from '../dom.js';
import { bytes, duration, number, t } from '../i18n.js';
import { why } from '../why.js';

/** @type {Record<string, string>} */
const TONE = {
  exhausted: 'good',
  found: 'good',
  violated: 'bad',
  truncated: 'warn',
  not_found: 'warn',
  stopped: 'warn',
  failed: 'bad',
};

/**
 * @param {HTMLElement} box
 * @param {{done: JobDone, onClose: () => void}} options
 */
export function drawVerdict(box, { done, onClose }) {
  const tone = TONE[done.verdict] ?? 'warn';
  box.className = `job is-${tone}`;
  const close = { type: 'button', class: 'quiet', 'aria-label': t('shell.close') };
  replace(
    box,
    h(
      'div',
      { class: 'row' },
      h('span', { class: `chip is-${tone}` }, t(`explore.verdict-${done.verdict}`)),
      h('span', { class: 'job-say', role: 'status' }, why(done.summary, { cause: done.result })),
      done.states && h('span', { class: 'dim small mono' }, effortOf(done)),
      h('span', { class: 'spacer' }),
      h('button', { ...close, onclick: onClose }, '×'),
    ),
  );
}

/** @param {JobDone} done */
const effortOf = ({ states, elapsed_seconds: seconds = 0 }) =>
  `${t('explore.states', { n: states })} · ${duration(seconds)}`;

/**
 * `progress` is the last event of the search, or `null` before the first one.
 * @param {HTMLElement} box
 * @param {{asked: any, progress: any, onStop: () => void}} options
 */
export function drawProgress(box, { asked, progress, onStop }) {
  box.className = 'job is-running';
  replace(
    box,
    h(
      'div',
      { class: 'row' },
      h('span', { class: 'spinner', 'aria-hidden': 'true' }),
      h('b', {}, t(titleOf(asked))),
      progress && factsOf(progress),
      h('span', { class: 'spacer' }),
      h('button', { type: 'button', class: 'danger', onclick: onStop }, t('explore.stop')),
    ),
  );
}

/** @param {{kind: string, mutant?: string | null}} asked */
function titleOf({ kind, mutant }) {
  if (kind !== 'check') return 'explore.job-find';
  return mutant ? 'explore.job-hunt' : 'explore.job-check';
}

/** @param {any} progress */
function factsOf(progress) {
  /**
   * @param {string} key
   * @param {Content} value
   */
  const fact = (key, value) =>
    h(
      'span',
      { class: 'job-fact' },
      h('span', { class: 'dim' }, t(`explore.${key}`)),
      ' ',
      h('b', { class: 'mono' }, value),
    );
  return [
    fact('p-states', number(progress.states)),
    fact('p-rate', `${number(progress.states_per_second, 0)}/s`),
    fact('p-frontier', number(progress.frontier)),
    fact('p-depth', number(progress.depth)),
    fact('p-memory', bytes(progress.memory_bytes)),
    fact('p-elapsed', duration(progress.elapsed_seconds)),
  ];
}
