// The verdict on an opened run: whether the server accepted it, its violations, and the part shown. The
// buttons lead to the violation, to the end, and to the other parts.

import { h } from '../dom.js';
import { t } from '../i18n.js';
import { propertyName } from '../properties.js';
import { why } from '../why.js';
import { rejection } from './open.js';

/** The number of violations listed. */
const LISTED = 5;

/**
 * @param {Opened} run
 * @param {{onGoto: (n: number) => void, onPart: (part: Part, n: number) => void}} options
 */
export function verdictOf(run, { onGoto, onPart }) {
  const { verdict, timeline, kind } = run;
  /** @param {number} to @param {string} words */
  const jump = (to, words) => h('button', { type: 'button', onclick: () => onGoto(to) }, words);
  // A violation by the steps of nodes ends the run.
  const { property } = timeline.header;
  let lines = [];
  if (verdict.accepted) lines = accepted(run, jump);
  else if (kind === 'nodes' && property) lines = [violated(run, property, jump)];
  else lines = [rejected(run, jump)];
  if (run.of > timeline.length) lines.push(shownPart(run, onPart));
  return h('div', { class: 'replay-verdict', role: 'status' }, lines);
}

/**
 * @typedef {(to: number, words: string) => HTMLElement} Jump
 */

/** @param {string} cls @param {Content[]} words */
const line = (cls, ...words) => h('p', { class: cls }, words);

/** @param {string} sign @param {string} words */
const strong = (sign, words) => h('strong', {}, `${sign} `, words);

/** @param {Opened} run @param {Jump} jump */
function accepted({ timeline, of }, jump) {
  const violations = timeline.marks.filter((mark) => mark.kind === 'violation');
  const about = t(violations.length ? 'replay.accepted-violated' : 'replay.accepted-about', {
    n: of,
  });
  const lines = [line('is-good', strong('✓', t('replay.accepted')), ' ', about)];
  for (const { step, properties: [violation] = [] } of violations.slice(0, LISTED)) {
    if (!violation) continue;
    const params = { property: propertyName(violation.property), n: step };
    const cause = h('span', { class: 'why' }, why(violation.why, { cause: violation.cause }));
    const button = jump(step, t('replay.go-violated'));
    lines.push(line('is-bad', strong('✗', t('replay.violated', params)), ' ', button, cause));
  }
  return lines;
}

/** @param {Opened} run @param {string} property @param {Jump} jump */
function violated({ verdict, timeline, of }, property, jump) {
  const { file, line: number } = verdict;
  const params = { property: propertyName(property), n: of, line: number, file };
  const cause = why(timeline.header.why, { cause: timeline.header.cause, end: '.' });
  return line(
    'is-bad',
    strong('✗', t('replay.violated-at', params)),
    ' ',
    jump(of, t('replay.go-violated')),
    h('span', { class: 'why' }, cause, ' ', t('replay.violated-nodes')),
  );
}

/** @param {Opened} run @param {Jump} jump */
function rejected({ verdict, timeline, kind, of }, jump) {
  const isEndShown = of > 0 && (kind === 'nodes' || of <= timeline.length);
  const end = () => [t('replay.rejected-shown'), ' ', jump(of, t('replay.go-end'))];
  return line(
    'is-bad',
    strong('✗', t('replay.rejected')),
    ' ',
    rejection(verdict),
    isEndShown && h('span', { class: 'why' }, end()),
  );
}

/** @param {Opened} run @param {(part: Part, n: number) => void} onPart */
function shownPart({ timeline, kind, of }, onPart) {
  const { offset, last } = timeline;
  /** @param {string} key @param {Part} part @param {number} n */
  const button = (key, part, n) =>
    h('button', { type: 'button', onclick: () => onPart(part, n) }, t(key));
  const isNodes = kind === 'nodes';
  return line(
    'is-warn',
    t('replay.shown', { from: offset + 1, to: last, of }),
    ' ',
    isNodes && offset > 0 && button('replay.earlier', { to: offset }, offset),
    ' ',
    isNodes && last < of && button('replay.later', { from: last + 1 }, last + 1),
  );
}
