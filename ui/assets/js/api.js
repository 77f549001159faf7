// Requests to the server that served the page, and to no other server.
//
// `getJson`, `postJson` and `deleteJson` return the parsed body, or throw an `ApiError` whose message
// is a sentence for the reader and whose `body` is the body of the response. `events` reads a stream of
// server-sent events with `fetch`, because `EventSource` cannot send a token; it reconnects
// automatically after the last event received. `onServer(run)` calls `run('gone')` when the server does
// not respond and `run('back')` when it responds again.
//
// If the server requires a token, it is kept for the session under `stateraft.token`.

import { t, has } from './i18n.js';
import { sentence } from './why.js';

const TOKEN = 'stateraft.token';
/** @type {Set<(state: 'gone' | 'back') => void>} */
const watchers = new Set();
let gone = false;

export class ApiError extends Error {
  /** @param {number} status @param {string} message @param {any} [body] */
  constructor(status, message, body) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
    this.body = body ?? null;
  }
}

/**
 * The message of a caught error.
 * @param {unknown} error
 */
export const messageOf = (error) => (error instanceof Error ? error.message : String(error));

export const token = () => {
  try {
    return sessionStorage.getItem(TOKEN);
  } catch {
    return null;
  }
};

/** @param {string | null} value */
export function setToken(value) {
  try {
    if (value) sessionStorage.setItem(TOKEN, value);
    else sessionStorage.removeItem(TOKEN);
  } catch {
    /* Without storage the reader enters the token again. */
  }
}

/** @param {Record<string, string>} more @returns {Record<string, string>} */
function headers(more) {
  const held = token();
  return held ? { ...more, authorization: `Bearer ${held}` } : { ...more };
}

/** @typedef {{signal?: AbortSignal, raw?: boolean}} Options */
/** @param {string} url @param {Options} [options] */
export const getJson = (url, options) => ask('GET', url, undefined, options);
/** @param {string} url @param {unknown} body @param {Options} [options] */
export const postJson = (url, body, options) => ask('POST', url, body, options);
/** @param {string} url @param {Options} [options] */
export const deleteJson = (url, options) => ask('DELETE', url, undefined, options);

/**
 * Returns the text of the response unchanged; errors as in the other functions.
 * @param {string} url
 * @param {unknown} body
 * @param {Options} [options]
 */
export const postText = (url, body, options) => ask('POST', url, body, { ...options, raw: true });

/**
 * @param {string} method
 * @param {string} url
 * @param {unknown} body
 * @param {Options} [options]
 * @returns {Promise<any>}
 */
async function ask(method, url, body, { signal, raw = false } = {}) {
  let answer;
  try {
    answer = await fetch(url, {
      method,
      signal,
      headers: headers(body === undefined ? {} : { 'content-type': 'application/json' }),
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (/** @type {Error} */ (error).name === 'AbortError') throw error;
    tell('gone');
    throw new ApiError(0, t('shell.gone'));
  }
  tell('back');
  const text = await answer.text();
  if (!answer.ok) throw failure(answer.status, text);
  if (raw) return text;
  if (!text) return null;
  try {
    return JSON.parse(text);
  } catch {
    throw new ApiError(answer.status, t('shell.not-json', { url }));
  }
}

/** @param {number} status @param {string} text */
function failure(status, text) {
  /** @type {any} */
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    /* A plain sentence, or no body. */
  }
  // The checker sends a sentence and its data, the proxy an object with a sentence.
  const said =
    body?.error?.message ??
    body?.error ??
    (text.length && text.length < 400 && !text.startsWith('<') ? text : null);
  const known = `shell.status-${status}`;
  const words = said === null ? null : sentence(said, body?.cause);
  return new ApiError(
    status,
    words ?? (has(known) ? t(known) : t('shell.status', { status })),
    body,
  );
}

/**
 * Calls `run('gone' | 'back')`; returns a function that removes the listener.
 * @param {(state: 'gone' | 'back') => void} run
 */
export function onServer(run) {
  watchers.add(run);
  return () => watchers.delete(run);
}

/** @param {'gone' | 'back'} state */
function tell(state) {
  const now = state === 'gone';
  if (now === gone) return;
  gone = now;
  for (const run of watchers) run(state);
}

/**
 * Reads server-sent events. `onEvent({id, event, data})` receives `data` parsed if it is JSON;
 * `onState('open' | 'waiting' | 'refused', error?)`. Returns `{close()}`. A refusal (401, 403, 404,
 * 410) ends the stream; any other failure is retried after 0.5 s, 1 s, 2 s, up to 10 s.
 * @param {string} url
 * @param {{
 *   onEvent: (event: ServerEvent) => void,
 *   onState?: (state: string, error?: ApiError) => void,
 *   lastEventId?: string | null,
 * }} options
 */
export function events(url, { onEvent, onState = () => {}, lastEventId = null }) {
  const control = new AbortController();
  let last = lastEventId;
  let pause = 500;
  const run = async () => {
    while (!control.signal.aborted) {
      try {
        /** @type {Record<string, string>} */
        const more = { accept: 'text/event-stream' };
        if (last !== null) more['last-event-id'] = last;
        const answer = await fetch(url, {
          headers: headers(more),
          signal: control.signal,
          cache: 'no-store',
        });
        if ([400, 401, 403, 404, 410].includes(answer.status)) {
          onState('refused', failure(answer.status, await answer.text()));
          return;
        }
        if (!answer.ok || !answer.body) throw failure(answer.status, await answer.text());
        tell('back');
        onState('open');
        pause = 500;
        await read(answer.body, (event) => {
          if (event.id !== null) last = event.id;
          if (event.retry) pause = event.retry;
          if (event.data !== null) onEvent(event);
        });
      } catch (error) {
        if (control.signal.aborted) return;
        if (!(error instanceof ApiError)) tell('gone');
      }
      if (control.signal.aborted) return;
      onState('waiting');
      await rest(pause, control.signal);
      pause = Math.min(pause * 2, 10_000);
    }
  };
  run();
  return { close: () => control.abort() };
}

/** @param {ReadableStream<Uint8Array<ArrayBuffer>>} body @param {(event: ServerEvent) => void} each */
async function read(body, each) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  const parse = eventParser(each);
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    parse(value);
  }
}

/** @typedef {{id: string | null, event: string, data: any, retry: number | null}} ServerEvent */

/**
 * A parser of the event stream format that accepts the text in pieces.
 * @param {(event: ServerEvent) => void} each
 */
export function eventParser(each) {
  let rest = '';
  const blank = () => ({
    id: /** @type {string | null} */ (null),
    event: 'message',
    data: /** @type {string[]} */ ([]),
    retry: /** @type {number | null} */ (null),
  });
  let held = blank();
  return (/** @type {string} */ piece) => {
    rest += piece;
    // A lone carriage return at the end may be the first half of a line ending.
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '') {
        const data = held.data.length ? parsed(held.data.join('\n')) : null;
        if (data !== null || held.id !== null || held.retry)
          each({ id: held.id, event: held.event, data, retry: held.retry });
        held = blank();
        continue;
      }
      const colon = line.indexOf(':');
      if (colon === 0) continue;
      const name = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
      if (name === 'data') held.data.push(value);
      else if (name === 'event') held.event = value;
      else if (name === 'id') held.id = value;
      else if (name === 'retry' && /^\d+$/.test(value)) held.retry = Number(value);
    }
  };
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** @param {number} milliseconds @param {AbortSignal} signal @returns {Promise<void>} */
function rest(milliseconds, signal) {
  return new Promise((done) => {
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        done();
      },
      { once: true },
    );
  });
}
