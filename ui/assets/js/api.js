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
import { translated } from './why.js';

const TOKEN = 'stateraft.token';
const watchers = new Set();
let gone = false;

export class ApiError extends Error {
  constructor(status, message, body) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
    this.body = body ?? null;
  }
}

export const token = () => {
  try {
    return sessionStorage.getItem(TOKEN);
  } catch {
    return null;
  }
};

export function setToken(value) {
  try {
    if (value) sessionStorage.setItem(TOKEN, value);
    else sessionStorage.removeItem(TOKEN);
  } catch {
    /* Without storage the reader enters the token again. */
  }
}

function headers(more) {
  const held = token();
  return held ? { ...more, authorization: `Bearer ${held}` } : { ...more };
}

export const getJson = (url, options) => ask('GET', url, undefined, options);
export const postJson = (url, body, options) => ask('POST', url, body, options);
export const putJson = (url, body, options) => ask('PUT', url, body, options);
export const deleteJson = (url, options) => ask('DELETE', url, undefined, options);

/** Returns the text of the response unchanged; errors as in the other functions. */
export const postText = (url, body, options) => ask('POST', url, body, { ...options, raw: true });

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
    if (error.name === 'AbortError') throw error;
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

function failure(status, text) {
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    /* A plain sentence, or no body. */
  }
  // The checker sends a sentence, the proxy an object with a sentence.
  const said =
    body?.error?.message ??
    body?.error ??
    (text.length && text.length < 400 && !text.startsWith('<') ? text : null);
  const known = `shell.status-${status}`;
  const words = said === null ? null : (translated(said) ?? said);
  return new ApiError(
    status,
    words ?? (has(known) ? t(known) : t('shell.status', { status })),
    body,
  );
}

/** Calls `run('gone' | 'back')`; returns a function that removes the listener. */
export function onServer(run) {
  watchers.add(run);
  return () => watchers.delete(run);
}

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
 */
export function events(url, { onEvent, onState = () => {}, lastEventId = null } = {}) {
  const control = new AbortController();
  let last = lastEventId;
  let pause = 500;
  const run = async () => {
    while (!control.signal.aborted) {
      try {
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

async function read(body, each) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  const parse = eventParser(each);
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    parse(value);
  }
}

/** A parser of the event stream format that accepts the text in pieces. */
export function eventParser(each) {
  let rest = '';
  let held = { id: null, event: 'message', data: [], retry: null };
  return (piece) => {
    rest += piece;
    // A lone carriage return at the end may be the first half of a line ending.
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === '') {
        const data = held.data.length ? parsed(held.data.join('\n')) : null;
        if (data !== null || held.id !== null || held.retry)
          each({ id: held.id, event: held.event, data, retry: held.retry });
        held = { id: null, event: 'message', data: [], retry: null };
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

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

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
