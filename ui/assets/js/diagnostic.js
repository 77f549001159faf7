// Diagnostics in the language of the page: causes of violations, rejected traces and requests, results of
// searches. The checker sends a diagnostic as data, `{code, server, term, ...}`, beside its English
// sentence. Other languages have a text for each code in `diagnostic`.
//
//   diagnosticWords(violation.cause)     // the sentence, or null without a text for its code

import { text, the } from './describe.js';
import { has, list, t } from './i18n.js';
import { propertyName, witness } from './properties.js';
import { splitName } from './timeline.js';

/**
 * The parameters with words of their own, by name.
 * @type {Record<string, (value: any) => string>}
 */
const FORMS = {
  before: promise,
  after: promise,
  invariant: (name) => t(`stage.invariant-${name}`),
  operations: (all) => all.map(operation).join('; '),
  property: propertyName,
  witness,
  witnesses: (names) => list(names.map(witness)),
  lines: list,
  // A number is no address: no process has it.
  process: (name) => (typeof name === 'string' ? address(name) : name),
  receiver: address,
  bound,
  budget: bound,
  predicate: (name) => t(`explore.predicate-${name}`).replace(/\.$/, ''),
};

/**
 * The sentence of a diagnostic; null in English, and for an unknown code.
 * @param {Diagnostic | null | undefined} diagnostic
 * @returns {string | null}
 */
export function diagnosticWords(diagnostic) {
  const key = `diagnostic.${diagnostic?.code}`;
  if (!diagnostic || !has(key)) return null;
  /** @type {Record<string, any>} */
  const words = {};
  for (const [name, value] of Object.entries(diagnostic)) {
    // A nested diagnostic is an object with a code.
    words[name] = value?.code ? diagnosticWords(value) : (FORMS[name]?.(value) ?? value);
    if (words[name] === null) return null;
  }
  return t(key, words);
}

/** @param {string} name */
function bound(name) {
  const key = `explore.bound-${name}`;
  return has(key) ? t(key) : name;
}

/**
 * A process within a sentence. A file may name a process of an unknown kind.
 * @param {string} name
 */
function address(name) {
  return has(`stage.the-${splitName(name).kind}`) ? the(name) : name;
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
  if (call.Read) return query(call.Read);
  const [kind, body] = Object.entries(call.Write)[0];
  const condition = conditionWords(body.condition);
  if (kind === 'Put') return `put ${text(body.key)}=${text(body.value)}${condition}`;
  if (kind === 'Delete') return `delete ${text(body.key)}${condition}`;
  return `increment ${text(body.key)} by ${body.by}`;
}

/** @param {any} read */
function query({ Get, Scan }) {
  if (Get) return `get ${text(Get.key)}`;
  const after = Scan.after ? ` after ${text(Scan.after)}` : '';
  return `scan ${text(Scan.prefix)}*${after}, limit ${Scan.limit}`;
}

/** @param {any} condition */
function conditionWords(condition) {
  if (!condition || condition === 'Always') return '';
  if (typeof condition === 'string') return ` if ${condition.toLowerCase()}`;
  return ` if version ${condition.Version}`;
}

/** @param {any} end */
function endWords(end) {
  if (typeof end === 'string') return t(`stage.operation-${end}`);
  const { Answered: answer, Found: found } = end.Returned;
  if (found?.Pairs) return pageWords(found.Pairs);
  if (found?.Value === null) return t('stage.operation-FoundNothing');
  if (found) return t('stage.operation-Found', held(found.Value));
  if (typeof answer === 'string') return t(`stage.operation-${answer}`);
  const version = answer.ConditionFailed?.found;
  if (version) return t('stage.operation-OtherVersion', { version });
  if (answer.ConditionFailed) return t('stage.operation-Absent');
  const [kind, body] = Object.entries(answer)[0];
  return t(`stage.operation-${kind}`, body);
}

/** @param {any} versioned */
const held = ({ value, version }) => ({ value: text(value), version });

/** @param {any} page */
function pageWords({ pairs, more }) {
  const key = more ? 'stage.operation-FoundMore' : 'stage.operation-FoundPairs';
  const all = pairs.map((/** @type {any} */ [name, found]) =>
    t('stage.operation-pair', { key: text(name), ...held(found) }),
  );
  return all.length ? t(key, { pairs: list(all) }) : t('stage.operation-FoundNoKeys');
}
