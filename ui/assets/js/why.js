// Sentences of the checker (the cause of a violation, the reason for a rejection, the result of a search)
// in the language of the page. The checker sends each as an English sentence and as data (`diagnostic.js`).
//
//   h('p', {}, why(done.summary, { cause: done.result }))     // marked as English if there is no translation
//   sentence(body.error, body.cause)                      // the text alone

import { diagnosticWords } from './diagnostic.js';
import { h } from './dom.js';
import { currentLanguage } from './i18n.js';

/**
 * A sentence in the language of the page, or in English without a translation.
 * @param {string} english
 * @param {Diagnostic | null | undefined} cause
 */
export const sentence = (english, cause) => diagnosticWords(cause) ?? english;

/**
 * The same as an element, marked as English without a translation; `end` is appended.
 * @param {string | null | undefined} english
 * @param {{end?: string, capital?: boolean, cause?: Diagnostic | null}} [options]
 */
export function why(english, { end = '', capital = false, cause = null } = {}) {
  const translation = diagnosticWords(cause);
  let words = translation ?? english ?? '';
  if (capital) words = words.charAt(0).toUpperCase() + words.slice(1);
  const isForeign = translation === null && currentLanguage() !== 'en';
  return h('span', { lang: isForeign ? 'en' : null }, words + end);
}
