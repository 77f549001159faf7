// Collects the messages of the proxy: the latest status, recent events, and recent samples of the load.
// Derives from them the state that the stage and the logs draw.

const SAMPLES = 600;
const EVENTS = 1000;

export class State {
  constructor() {
    /** @type {Cluster | null} */
    this.status = null;
    /** The time of arrival. */
    this.told = 0;
    /** @type {Sample[]} */
    this.samples = [];
    /**
     * Ordered by number; events of an earlier run of the proxy come first.
     * @type {ClusterEvent[]}
     */
    this.events = [];
    /**
     * Whether events are missing: `{missed: 12}`, or `{missed: null}` if the number is unknown.
     * @type {{missed: number | null} | null}
     */
    this.gap = null;
    /**
     * The last known status of each server.
     * @type {Map<number, Status>}
     */
    this.known = new Map();
    /**
     * The role and the term of each server as drawn last.
     * @type {Map<string, string>}
     */
    this.marks = new Map();
  }

  /**
   * Handles a server-sent event. Returns the changed part: `status`, `samples`, `events` or nothing.
   * @param {{event: string, data: any}} received
   */
  take({ event, data }) {
    if (event === 'message') {
      this.status = data;
      this.told = Date.now();
      return 'status';
    }
    if (event === 'samples') {
      this.samples.push(...data);
      this.samples.splice(0, this.samples.length - SAMPLES);
      return 'samples';
    }
    if (event === 'happened') {
      this.events.push(...data);
      this.events.splice(0, this.events.length - EVENTS);
      return 'events';
    }
    if (event === 'gap') {
      // A restarted proxy sends all its data, which replaces the data of the old one.
      if (data.missed === null) {
        this.events = [];
        this.samples = [];
      }
      this.gap = data;
      return 'events';
    }
    return null;
  }

  /**
   * `'paused'`, `'killed'` or nothing.
   * @param {number} id
   */
  halted(id) {
    return this.status?.chaos?.halted.find((one) => one.node === id)?.how ?? null;
  }

  /** @param {number} id */
  isolated(id) {
    return this.status?.chaos?.isolated.some((one) => one.node === id) ?? false;
  }

  /**
   * The age in milliseconds of a server's last status; nothing without a status.
   * @param {ClusterNode} node
   */
  age(node) {
    if (node.status) return 0;
    const since = this.told ? Date.now() - this.told : 0;
    return node.age_ms === undefined || node.age_ms === null ? null : node.age_ms + since;
  }

  /**
   * Whether the cluster can work, according to the proxy, and the age of the last known commit index.
   */
  get health() {
    const held = this.status?.health;
    if (!held) return null;
    const since = held.commit_age_ms ? Date.now() - this.told : 0;
    return {
      ...held,
      commit_age_ms: held.commit_age_ms === null ? null : held.commit_age_ms + since,
    };
  }

  /**
   * The leader of the highest term, according to the servers that respond.
   * @returns {Status | null}
   */
  get leader() {
    /** @type {Status | null} */
    let best = null;
    for (const { id, status } of this.status?.nodes ?? []) {
      if (status?.role === 'leader' && !status.suspended && (!best || status.term > best.term))
        best = { ...status, id };
    }
    return best;
  }

  /**
   * The alerts of all servers, each once: `{kind, node, text}`.
   * @returns {Alert[]}
   */
  get alerts() {
    /** @type {Map<string, Alert>} */
    const found = new Map();
    for (const { status } of this.status?.nodes ?? []) {
      for (const alert of status?.alerts ?? []) found.set(`${alert.kind} ${alert.node}`, alert);
    }
    return [...found.values()].sort(
      (one, other) => one.node - other.node || (one.kind < other.kind ? -1 : 1),
    );
  }

  /**
   * Whether a server counts toward a quorum. It does unless it or its leader reports otherwise.
   * @param {number} id
   */
  counts(id) {
    const status = this.status?.nodes.find((node) => node.id === id)?.status;
    return !status?.suspended && this.leader?.followers[id]?.counts !== false;
  }

  /**
   * The current picture, in the form of `timeline.at(n)`.
   * @returns {Picture}
   */
  at() {
    /** @type {Record<string, Snapshot | null>} */
    const processes = {};
    const changed = new Set();
    const names = [];
    for (const node of this.status?.nodes ?? []) {
      const name = `server ${node.id}`;
      // For a silent server: the last status known to the proxy, or else to the page.
      const status = node.status ?? node.last;
      if (status) this.known.set(node.id, status);
      names.push(name);
      const snapshot = this.snapshot(node);
      processes[name] = snapshot;
      const { running } = snapshot;
      const mark = `${running?.role ?? 'down'} ${running?.term}`;
      if (this.marks.has(name) && this.marks.get(name) !== mark) changed.add(name);
      this.marks.set(name, mark);
    }
    if (this.status) {
      const { leader, requests_in_flight: inFlight } = this.status.proxy;
      names.push('proxy 1');
      processes['proxy 1'] = { kind: 'proxy', id: 1, leader, in_flight: inFlight };
    }
    return {
      n: 0,
      last: 0,
      step: null,
      before: null,
      event: null,
      names,
      processes,
      changed,
      inFlight: [],
      messages: [],
    };
  }

  /**
   * A server in the form of docs/trace.md. A silent server is drawn in its last known state.
   * @param {ClusterNode} node
   * @returns {Snapshot}
   */
  snapshot({ id, status }) {
    const last = status ?? this.known.get(id);
    if (!last)
      return {
        kind: 'server',
        id,
        disk: { hard_state: { current_term: 0, voted_for: null }, log: [] },
        running: null,
      };
    const durable = Math.max(0, last.durable_index - last.log_start + 1);
    const disk = {
      hard_state: { current_term: last.term, voted_for: last.voted_for },
      log_start: last.log_start,
      log: last.log.slice(0, durable),
    };
    const halted = this.halted(id);
    if (halted === 'killed') return { kind: 'server', id, disk, running: null };
    const running = {
      role: status ? status.role : (halted ?? 'silent'),
      term: last.term,
      voted_for: last.voted_for,
      leader: last.leader,
      votes: last.votes,
      log: last.log,
      log_start: last.log_start,
      commit_index: last.commit_index,
      durable_index: last.durable_index,
      applied_index: last.applied_index,
      snapshot_index: last.snapshot_index,
      unsynced: [],
      followers: Object.entries(last.followers).map(([of, held]) => ({ id: Number(of), ...held })),
    };
    return { kind: 'server', id, disk, running };
  }
}

const READS = ['get', 'scan'];

/**
 * The values of a sample for the charts: operations per second, and milliseconds.
 * @param {Sample} sample
 * @returns {Figures}
 */
export function figures(sample) {
  const seconds = sample.over_ms / 1000 || 1;
  /** @type {Figures} */
  const told = {
    at: sample.at,
    reads: 0,
    writes: 0,
    failed: 0,
    r50: milliseconds(sample.reads_us?.p50),
    r99: milliseconds(sample.reads_us?.p99),
    w50: milliseconds(sample.writes_us?.p50),
    w99: milliseconds(sample.writes_us?.p99),
  };
  for (const [kind, { answered, unavailable }] of Object.entries(sample.operations)) {
    told[READS.includes(kind) ? 'reads' : 'writes'] += answered / seconds;
    told.failed += unavailable / seconds;
  }
  return told;
}

/** @param {number | null | undefined} micros */
const milliseconds = (micros) => (micros === undefined || micros === null ? null : micros / 1000);

/**
 * A leader without any response from a follower does not know the follower's progress.
 * @param {Pick<Progress, 'lag' | 'match_index' | 'flow'>} progress
 */
export const lagOf = ({ lag, match_index: match, flow }) =>
  match === 0 && flow === 'probe' ? '?' : lag;
