// Loads the tours, and provides their walks for other pages.
//
// A tour is `tours/NAME.json` (the text) and a trace for each of its parts. The cards of all parts form
// one sequence; `cardAt(tour, n)` finds the n-th.

import { getJson } from '../api.js';
import { eventOf, readJsonl } from '../timeline.js';
import { format } from '../router.js';

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

/** All tours in order, without their traces. */
export async function tours() {
  const names = await getJson('/ui/tours/index.json');
  return Promise.all(names.map((name) => getJson(`/ui/tours/${name}.json`)));
}

/** A tour with the timelines of its parts and a list of all its cards. */
export async function loadTour(name) {
  const tour = await getJson(`/ui/tours/${name}.json`);
  tour.cards = [];
  await Promise.all(
    tour.parts.map(async (part) => {
      const text = await getJson(traceOf(part), { raw: true });
      part.timeline = readJsonl(text, 'tour');
    }),
  );
  tour.parts.forEach((part, number) => {
    let done = 0;
    part.cards.forEach((card, place) => {
      const from = done;
      done += card.do?.length ?? 0;
      tour.cards.push({ ...card, part, number, place, from, to: done });
    });
  });
  return tour;
}

/** The address of a part's trace. */
export const traceOf = (part) => `/ui/tours/${part.trace}.jsonl`;

/**
 * The path of a run in the notation of the explorer: `['1e', '2d1']`. The path ends before the first
 * event without a letter in that notation.
 */
export function pathOf(timeline, steps = timeline.length) {
  const path = [];
  for (let n = 1; n <= steps; n += 1) {
    const key = timeline.steps[n - 1].key ?? keyOf(timeline, n);
    if (!key) break;
    path.push(key);
  }
  return path;
}

function keyOf(timeline, n) {
  const step = timeline.steps[n - 1];
  const event = eventOf(step);
  const message = timeline.links[n - 1].now;
  if (event.name === 'Drop') return `x${message}`;
  const process = timeline.names.indexOf(step.process) + 1;
  if (event.name === 'Deliver') return `${process}d${message}${event.ask ? `-${event.ask}` : ''}`;
  if (event.name === 'ProxyTimeout') return `${process}p${event.client}-${event.id}-${event.ask}`;
  return LETTERS[event.name] ? process + LETTERS[event.name] : null;
}

/** The explorer's parameters for the state of a part after this number of steps. */
export function walkOf(part, steps) {
  return {
    scope: { name: part.scope, bounds: part.bounds ?? {} },
    mutant: part.mutant ?? null,
    steps: part.steps ?? 'merged',
    path: pathOf(part.timeline, steps),
  };
}

/** The address of a walk in the explorer. */
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
 */
export function lookedAt(timeline, card, n) {
  const found = { processes: new Set(), messages: new Set() };
  for (const look of card.look ?? []) {
    if (timeline.names.includes(look)) {
      found.processes.add(look);
      continue;
    }
    const [kind, from, to] = look.split(' ');
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

const KINDS = {
  RequestVoteRequest: 'RequestVote',
  RequestVoteResponse: 'Vote',
  AppendEntriesRequest: 'AppendEntries',
  AppendEntriesResponse: 'Acknowledgement',
  ClientRequest: 'Request',
  ClientResponse: 'Response',
};

const long = (short) => (/^\d+$/.test(short) ? `server ${short}` : `${short} 1`);
const lastUpTo = (steps, n) => steps.reduce((last, at) => (at <= n ? at : last), null);
