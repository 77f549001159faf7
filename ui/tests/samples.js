// A short run, made by hand: server 1 is elected, its first heartbeat is lost and sent again, server 2 crashes.

/**
 * A follower in term 1 with an empty log.
 * @param {number} id
 * @param {Partial<Running>} [more]
 * @returns {Snapshot}
 */
export const server = (id, more = {}) => ({
  kind: 'server',
  id,
  disk: { hard_state: { current_term: 1, voted_for: null }, log: [] },
  running: {
    role: 'follower',
    term: 1,
    voted_for: null,
    leader: null,
    votes: [],
    log: [],
    commit_index: 0,
    durable_index: 0,
    unsynced: [],
    followers: [],
    reads: [],
    store: [],
    ...more,
  },
});
/**
 * @param {number} from
 * @param {number} to
 * @param {Message} message
 * @returns {Envelope}
 */
const between = (from, to, message) => ({ from: { Node: from }, to: { Node: to }, message });

export const ask = between(1, 2, {
  RequestVoteRequest: { term: 2, last_log_index: 0, last_log_term: 0 },
});
export const vote = between(2, 1, { RequestVoteResponse: { term: 2, vote_granted: true } });
export const append = between(1, 2, {
  AppendEntriesRequest: {
    term: 2,
    prev_log_index: 1,
    prev_log_term: 1,
    entries: [
      { term: 2, payload: 'Noop' },
      { term: 2, payload: 'Noop' },
    ],
    leader_commit: 1,
    read_round: 0,
  },
});
// The same message with its fields in another order.
const askAgain = {
  message: { RequestVoteRequest: { last_log_term: 0, last_log_index: 0, term: 2 } },
  to: { Node: 2 },
  from: { Node: 1 },
};

/** @returns {SampleRun} */
export const run = () => ({
  header: { schema: 'stateraft-trace/4' },
  start: [server(1), server(2)],
  steps: [
    {
      step: 1,
      process: 'server 1',
      event: 'ElectionTimeout',
      sent: [ask],
      witnesses: [],
      state: server(1, { role: 'candidate', term: 2, voted_for: 1, votes: [1] }),
    },
    {
      step: 2,
      process: 'server 2',
      event: { Deliver: { envelope: askAgain, ask: null } },
      sent: [vote],
      witnesses: [],
      state: server(2, { term: 2, voted_for: 1 }),
    },
    {
      step: 3,
      process: 'server 1',
      event: { Deliver: { envelope: vote, ask: null } },
      sent: [append],
      witnesses: ['leader elected'],
      state: server(1, {
        role: 'leader',
        term: 2,
        voted_for: 1,
        leader: 1,
        log: [{ term: 2, payload: 'Noop' }],
      }),
    },
    {
      step: 4,
      process: 'server 2',
      event: { Drop: { envelope: append } },
      sent: [],
      witnesses: [],
      state: server(2, { term: 2, voted_for: 1 }),
    },
    {
      step: 5,
      process: 'server 1',
      event: 'HeartbeatTimeout',
      sent: [append],
      witnesses: [],
      state: server(1, {
        role: 'leader',
        term: 2,
        voted_for: 1,
        leader: 1,
        log: [{ term: 2, payload: 'Noop' }],
      }),
    },
    {
      step: 6,
      process: 'server 2',
      event: 'Crash',
      sent: [],
      witnesses: [],
      state: { ...server(2), running: null },
    },
  ],
});

/**
 * A long run: the same six steps, each time in terms of their own.
 * @param {number} times
 * @returns {SampleRun}
 */
export function long(times) {
  const { header, start, steps } = run();
  const all = [];
  for (let round = 0; round < times; round += 1) {
    const text = JSON.stringify(steps).replace(
      /"(term|current_term)":(\d+)/g,
      (_, name, term) => `"${name}":${Number(term) + 10 * round}`,
    );
    all.push(...JSON.parse(text));
  }
  return { header, start, steps: all.map((step, place) => ({ ...step, step: place + 1 })) };
}
