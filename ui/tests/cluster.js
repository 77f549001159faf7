// A running cluster as its proxy tells of it, made up: for looking at the live page and for testing it.

/**
 * The state. `isolated` and `killed` are servers, `links` as the proxy lists them.
 * @param {{
 *   servers?: number, index?: number, term?: number, leader?: number, isolated?: number[],
 *   killed?: number[], links?: Chaos['links'], lag?: number, silent?: number, role?: string,
 * }} [options]
 */
export function cluster({
  servers = 3,
  index = 123_456,
  term = 17,
  leader = 1,
  isolated = [],
  killed = [],
  links = [],
  lag = 0,
  silent = 0,
  role,
} = {}) {
  const ids = Array.from({ length: servers }, (_, place) => place + 1);
  const entry = { term, payload: 'Noop' };
  const counts = {
    dropped: 0,
    dropped_by_faults: 0,
    elections: 3,
    entries_appended: index,
    fsyncs: 51_234,
    heartbeats_in: 1,
    heartbeats_out: 1,
    leaderships: 1,
    messages_in: 912_345,
    messages_out: 912_399,
    steps: 9,
  };
  const status = (/** @type {number} */ id) => ({
    id,
    term,
    leader,
    role: id === leader ? 'leader' : (role ?? 'follower'),
    voted_for: leader,
    votes: id === leader ? ids : [],
    boot: '0011223344556677',
    commit_index: index,
    applied_index: index,
    durable_index: index,
    last_index: index,
    first_index: index - 99,
    snapshot_index: index - 100,
    log_start: index - 23,
    log: Array.from({ length: 24 }, () => entry),
    syncs: 51_234,
    uptime_seconds: 86_400,
    voters: ids,
    waiting: 0,
    counts,
    followers:
      id === leader
        ? Object.fromEntries(
            ids
              .filter((other) => other !== leader)
              .map((other) => [
                other,
                {
                  flow: 'pipeline',
                  lag,
                  match_index: index - lag,
                  next_index: index + 1 - lag,
                  silent_ms: isolated.includes(other) || killed.includes(other) ? silent : 12,
                  window: 512,
                },
              ]),
          )
        : {},
  });
  const up = ids.filter((id) => !killed.includes(id) && !isolated.includes(id));
  const majority = Math.floor(servers / 2) + 1;
  const leads = up.includes(leader) && up.length >= majority;
  return {
    cluster: 'made up',
    health: {
      state: up.length < majority ? 'no_quorum' : leads ? 'ok' : 'no_leader',
      servers,
      up: up.length,
      majority,
      margin: up.length - majority,
      leader: leads ? leader : null,
      term,
      commit_index: index,
      commit_age_ms: leads ? 0 : 12_000,
    },
    proxy: {
      version: '0.0.0',
      uptime_seconds: 90_000,
      leader: killed.includes(leader) ? null : leader,
      requests_in_flight: 12,
      requests_total: 1_234_567,
    },
    nodes: ids.map((id) =>
      killed.includes(id)
        ? {
            id,
            status: null,
            problem: 'no response in time',
            cause: { code: 'no_response' },
            last: status(id),
            age_ms: 12_000,
          }
        : { id, status: status(id), problem: null, age_ms: 0 },
    ),
    chaos: {
      embedded: true,
      links,
      isolated: isolated.map((node) => ({ node, seconds_left: 20 })),
      halted: killed.map((node) => ({ node, how: 'killed', seconds_left: null })),
    },
    keys: {
      items: [{ key: 'greeting', value: 'hello', version: index }],
      more: false,
      fresh: killed.length * 2 < servers,
    },
  };
}
