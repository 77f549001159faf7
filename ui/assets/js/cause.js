// The cause of a violation in the language of the page. The server sends a cause as data, `{code, server,
// term, ...}`, and as an English sentence. Other languages have a text for each code in `stage`.
//
//   causeWords(violation.cause)     // the sentence, or null without a text for its code

import { text } from './describe.js';
import { has, list, t } from './i18n.js';

/**
 * The sentence of a cause; null in English, and for an unknown code.
 * @param {Cause | null | undefined} cause
 * @returns {string | null}
 */
export function causeWords(cause) {
  const key = `stage.cause-${cause?.code}`;
  if (!cause || !has(key)) return null;
  return t(key, {
    ...cause,
    before: cause.before && promise(cause.before),
    after: cause.after && promise(cause.after),
    invariant: cause.invariant && t(`stage.invariant-${cause.invariant}`),
    operations: cause.operations?.map(operation).join('; '),
  });
}

/**
 * The promise of a disk: its term and its vote.
 * @param {HardState} held
 */
function promise({ current_term: term, voted_for: candidate }) {
  return t(candidate === null ? 'stage.cause-no-vote' : 'stage.cause-vote', { term, candidate });
}

/**
 * An operation of a client, and the operations that had returned before its call.
 * @param {Operation} operation
 * @param {number} place
 * @param {Operation[]} all
 */
function operation({ call, after, end }, place, all) {
  const numbers = after
    .map((id) => all.findIndex((other) => String(other.id) === String(id)) + 1)
    .filter((n) => n > 0);
  const n = numbers.length;
  return t(n ? 'stage.operation-after' : 'stage.operation-alone', {
    n,
    number: place + 1,
    call: callWords(call),
    earlier: n > 0 && list(numbers),
    end: endWords(end),
  });
}

/** @param {any} call */
function callWords(call) {
  if (call.Put !== undefined) return `put ${text(call.Put)}`;
  if (call.Increment !== undefined) return `increment by ${call.Increment}`;
  return call.toLowerCase();
}

/** @param {any} end */
function endWords(end) {
  if (typeof end === 'string') return t(`stage.operation-${end}`);
  const result = end.Returned;
  if (result === 'Done') return t('stage.operation-Done');
  if (result.Number !== undefined) return t('stage.operation-Number', { value: result.Number });
  if (result.Found === null) return t('stage.operation-FoundNothing');
  return t('stage.operation-Found', { value: text(result.Found) });
}
