// Errors of the proxy as texts, in the language of the page if that has a text for their code.

import { ApiError, messageOf } from '../api.js';
import { has, t } from '../i18n.js';

/**
 * The text of the body of an error.
 * @param {any} body
 */
export function problemOf(body) {
  const { code, message } = body?.error ?? {};
  const key = `live.code-${code}`;
  return has(key) ? t(key) : message;
}

/**
 * The text of a failed request.
 * @param {unknown} error
 * @returns {string}
 */
export const problemText = (error) =>
  (error instanceof ApiError && problemOf(error.body)) || messageOf(error);
