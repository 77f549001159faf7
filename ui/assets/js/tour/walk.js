// Loads the tours, and provides their walks for other pages.
//
// A tour is `tours/NAME.json` (the text) and a trace for each of its parts. The cards of all parts form
// one sequence; `cardAt(tour, n)` finds the n-th.

import { getJson } from '../api.js';
import { eventOf, readJsonl } from '../timeline.js';
import { format } from '../router.js';

/** @type {Record<string, string>} */
const LETTERS = {
  ElectionTimeout: 'e',
  HeartbeatTimeout: 'h',
  Compact: 'k',
  QuorumTimeout: 'q',
  Propose: 'w',
  ProposeTogether: 'b',
  Read: 'g',
  Sync: 's',
  Crash: 'c',
  Restart: 'r',
  Invoke: 'i',
  ClientTimeout: 't',
};

/**
 * All tours in order, without their traces.
 * @returns {Promise<Tour[]>}
 */
export async function tours() {
  const names = await getJson('/ui/tours/index.json');
  return Promise.all(names.map((/** @type {string} */ name) => getJson(`/ui/tours/${name}.json`)));
}

/**
 * A tour with the timelines of its parts and a list of all its cards.
 * @param {string} name
 * @returns {Promise<Tour>}
 */
export async function loadTour(name) {
  const tour = await getJson(`/ui/tours/${name}.json`);
  tour.cards = [];
  await Promise.all(
    tour.parts.map(async (/** @type {TourPart} */ part) => {
      const text = await getJson(traceOf(part), { raw: true });
      part.timeline = readJsonl(text, 'tour');
    }),
  );
  tour.parts.forEach((/** @type {TourPart} */ part, /** @type {number} */ number) => {
    let done = 0;
    part.cards.forEach((/** @type {TourCard} */ card, /** @type {number} */ place) => {
      const from = done;
      done += card.do?.length ?? 0;
      tour.cards.push({ ...card, part, number, place, from, to: done });
    });
  });
  return tour;
}

/**
 * The address of a part's trace.
 * @param {{trace: string}} part
 */
export const traceOf = (part) => `/ui/tours/${part.trace}.jsonl`;

/**
 * The path of a run in the notation of the explorer: `['1e', '2d1']`. The path ends before the first
 * event without a letter in that notation.
 * @param {Timeline} timeline
 * @param {number} [steps]
 */
export function pathOf(timeline, steps = timeline.length) {
  /** @type {string[]} */
  const path = [];
  for (let n = 1; n <= steps; n += 1) {
    const key = timeline.steps[n - 1].key ?? keyOf(timeline, n);
    if (!key) break;
    path.push(key);
  }
  return path;
}

/**
 * @param {Timeline} timeline
 * @param {number} n
 */
function keyOf(timeline, n) {
  const step = timeline.steps[n - 1];
  const event = eventOf(step);
  const message = timeline.links[n - 1].now;
  if (event.name === 'Drop') return `x${message}`;
  const process = timeline.names.indexOf(step.process) + 1;
  if (event.name === 'Deliver') return `${process}d${message}${event.ask ? `-${event.ask}` : ''}`;
  if (event.name === 'ProxyTimeout') return `${process}p${event.client}-${event.id}-${event.ask}`;
  if (event.name === 'TransferLeadership') return `${process}l${event.target}`;
  return LETTERS[event.name] ? process + LETTERS[event.name] : null;
}

/**
 * The explorer's parameters for the state of a part after this number of steps.
 * @param {TourPart} part
 * @param {number} steps
 * @returns {WalkPath}
 */
export function walkOf(part, steps) {
  return {
    scope: { name: part.scope, bounds: part.bounds ?? {} },
    mutant: part.mutant ?? null,
    steps: part.steps ?? 'merged',
    path: pathOf(part.timeline, steps),
  };
}

/**
 * The address of a walk in the explorer.
 * @param {WalkPath} walk
 * @param {number} [at]
 */
export function exploreHash(walk, at = walk.path.length) {
  const merged = !walk.steps || walk.steps === 'merged';
  return format({
    page: 'explore',
    params: {
      scope: walk.scope.name,
      ...walk.scope.bounds,
      mutant: walk.mutant,
      steps: merged ? null : walk.steps,
      path: walk.path.join('.'),
      at,
    },
  });
}

/**
 * The messages that a card points at, by number: `AppendEntries 1 2` is the newest message of this kind
 * from 1 to 2 up to step `n`.
 * @param {Timeline} timeline
 * @param {TourCard} card
 * @param {number} n
 */
export function lookedAt(timeline, card, n) {
  /** @type {{processes: Set<string>, messages: Set<number>}} */
  const found = { processes: new Set(), messages: new Set() };
  for (const look of card.look ?? []) {
    if (timeline.names.includes(look)) {
      found.processes.add(look);
      continue;
    }
    const [kind, from, to] = look.split(' ');
    /** @type {{id: number, sent: number} | null} */
    let newest = null;
    for (const message of timeline.all) {
      if (
        message.from !== long(from) ||
        message.to !== long(to) ||
        KINDS[Object.keys(message.message)[0]] !== kind
      )
        continue;
      const sent = lastUpTo([message.sentAt, ...message.sentAgain], n);
      if (sent !== null && (!newest || sent >= newest.sent)) newest = { id: message.id, sent };
    }
    if (newest) found.messages.add(newest.id);
  }
  return found;
}

/** @type {Record<string, string>} */
const KINDS = {
  RequestVoteRequest: 'RequestVote',
  RequestVoteResponse: 'Vote',
  AppendEntriesRequest: 'AppendEntries',
  AppendEntriesResponse: 'Acknowledgement',
  ClientRequest: 'Request',
  ClientResponse: 'Response',
  TimeoutNowRequest: 'TimeoutNow',
};

/** @param {string} short */
const long = (short) => (/^\d+$/.test(short) ? `server ${short}` : `${short} 1`);
/**
 * @param {number[]} steps
 * @param {number} n
 * @returns {number | null}
 */
const lastUpTo = (steps, n) => steps.findLast((at) => at <= n) ?? null;
