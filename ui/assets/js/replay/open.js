// Opens a trace: a selected, dropped, pasted or served file.
//
// The page itself detects files that are too large, empty, not a trace, or of another version, and says
// how to continue. The server checks everything else by executing the trace.

import { ApiError, getJson, messageOf, postJson } from '../api.js';
import { bytes, t } from '../i18n.js';
import { Timeline } from '../timeline.js';
import { sentence } from '../why.js';

/** The limit of the server, in bytes. */
export const MOST = 64 * 1024 * 1024;
const SCOPE = 'stateraft-trace/4';
const NODES = 'stateraft-node/2';

/** An error that the reader can correct. */
export class Refusal extends Error {}

/**
 * The trace that the server was started with. Of a long run the server sends a part: `part` is
 * `{from: 7}` or `{to: 9}`, its first or its last step; without it the server chooses.
 * @param {AbortSignal} signal
 * @param {Part} [part]
 */
export async function served(signal, part = {}) {
  const asked = new URLSearchParams(/** @type {Record<string, any>} */ (part)).toString();
  return opened(await getJson(`/api/traces/served${asked && `?${asked}`}`, { signal }));
}

/**
 * Reads files of the browser.
 * @param {File[]} files
 * @returns {Promise<TraceFile[]>}
 */
export async function readFiles(files) {
  const size = files.reduce((sum, file) => sum + file.size, 0);
  if (size > MOST) throw tooLarge(size, files);
  return Promise.all(
    files.map(async (file) => {
      try {
        return { name: file.name, text: await file.text() };
      } catch (error) {
        throw new Refusal(t('replay.unread', { file: file.name, why: messageOf(error) }));
      }
    }),
  );
}

/**
 * Sends the texts `[{name, text}]` to the server, which executes them. `usedDisks`: the servers had run
 * before; `part` as above.
 * @param {TraceFile[]} files
 * @param {{usedDisks?: boolean, part?: Part, signal?: AbortSignal}} [options]
 * @returns {Promise<Opened>}
 */
export async function execute(files, { usedDisks = false, part = {}, signal } = {}) {
  const kinds = new Set(files.map(kindOf));
  if (files.length > 1 && kinds.has('scope')) throw new Refusal(t('replay.mixed'));
  try {
    const answer = await postJson(
      '/api/traces',
      { files, used_disks: usedDisks, ...part },
      { signal },
    );
    return { ...opened(answer), files, usedDisks };
  } catch (error) {
    if (error instanceof ApiError && error.status === 413)
      throw tooLarge(new Blob([JSON.stringify({ files })]).size, files);
    throw error;
  }
}

/**
 * @param {number} size
 * @param {{name: string}[]} files
 */
function tooLarge(size, files) {
  const command = `raft-checker replay --serve ${files.map(({ name }) => name).join(' ')}`;
  return new Refusal(t('replay.too-large', { size: bytes(size), most: bytes(MOST), command }));
}

/**
 * The kind of a trace, according to its header.
 * @param {TraceFile} file
 */
function kindOf({ name, text }) {
  const first = text.slice(0, text.search(/\n|$/)).trim();
  if (!text.trim()) throw new Refusal(t('replay.empty', { file: name }));
  /** @type {any} */
  let header = null;
  try {
    header = JSON.parse(first);
  } catch {
    /* No header. */
  }
  const found = header?.schema ?? (header?.trace && `${header.trace}/${header.version}`);
  if (found === SCOPE) return 'scope';
  if (found === NODES) return 'nodes';
  if (/^stateraft-(trace|node)\//.test(found ?? '')) {
    throw new Refusal(
      t('replay.version', {
        file: name,
        found,
        known: found.startsWith('stateraft-node') ? NODES : SCOPE,
      }),
    );
  }
  throw new Refusal(t('replay.not-trace', { file: name }));
}

/**
 * @param {any} answer
 * @returns {Opened}
 */
function opened(answer) {
  const { kind, header, start, steps = [], network, walk = null } = answer;
  const verdict = answer.verdict ?? { accepted: true };
  // Not even the start of the run can be shown.
  if (!header || !start?.length) throw new Refusal(rejection(verdict));
  const timeline = new Timeline({
    source: kind === 'nodes' ? 'nodes' : 'trace',
    header,
    start,
    steps,
    network,
    offset: (answer.from ?? 1) - 1,
  });
  return { kind, timeline, verdict, walk, of: answer.of ?? steps.length };
}

/**
 * The reason for a rejected trace, as a sentence.
 * @param {Verdict} verdict
 */
export function rejection(verdict) {
  const known = { ...verdict, why: sentence(verdict.why ?? '', verdict.cause) };
  return t(
    verdict.file
      ? 'replay.rejected-at'
      : verdict.line
        ? 'replay.rejected-line'
        : 'replay.rejected-why',
    known,
  );
}
