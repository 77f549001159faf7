// Requests to the key-value store of the proxy, and the encoding of keys and values as base64.
//
// The paths and the outcomes are those of docs/http.md.

import { token } from '../api.js';
import { t } from '../i18n.js';
import { problemOf } from './problem.js';

/**
 * A response; `status` is 0 if none arrived.
 * @typedef {{status: number, body: any, words: string}} Answer
 */

/** @param {string} text */
export const utf8 = (text) => new TextEncoder().encode(text);
/** @param {string} text */
export const fromBase64 = (text) => Uint8Array.from(atob(text.trim()), (c) => c.charCodeAt(0));
/** @param {Uint8Array} bytes */
export const toBase64 = (bytes) =>
  btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));

/**
 * The resource of a key, in base64url: browsers resolve `.` and `..` in paths, even if escaped.
 * @param {Uint8Array} bytes
 */
export const keyPath = (bytes) =>
  `/v1/key/${toBase64(bytes).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')}`;

/**
 * Never throws: status 0 means that no response arrived.
 * @param {string} method
 * @param {string} url
 * @param {string | Uint8Array<ArrayBuffer>} [body]
 * @param {Record<string, string>} [more]
 * @returns {Promise<Answer>}
 */
export async function ask(method, url, body, more = {}) {
  /** @type {Record<string, string>} */
  const headers = { ...more };
  const held = token();
  if (held) headers.authorization = `Bearer ${held}`;
  try {
    const answer = await fetch(url, { method, headers, body, cache: 'no-store' });
    const told = await answer.json().catch(() => null);
    return {
      status: answer.status,
      body: told,
      words: problemOf(told) ?? t('shell.status', { status: answer.status }),
    };
  } catch {
    return { status: 0, body: null, words: t('shell.gone') };
  }
}
