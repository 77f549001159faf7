// One run, from any source: the states of all processes and the messages at every step.
//
// A timeline has the content of a trace (docs/trace.md): a header, the state of every process at the
// start, and one line for each step. `at(n)` is the picture after step n (0 is the start), for any n
// in any order. A bisection over the steps of a process finds its state; the messages in flight are
// computed from a checkpoint, which exists for every 64 steps.
//
// The network is a set: an equal message sent again is the same message. Messages are numbered from 1
// in the order in which they are first sent along the path; a message that is sent again is in flight
// again. Messages that exist at the start (`data.network`, or delivered without a previous send) come
// first.
//
// A timeline may be a part of a longer run (`data.offset` steps precede it): steps keep their numbers
// in the run, and the start is the state before the first step of the part. A step of a node contains
// only the changed part of its state (docs/explore.md).
//
// Deliberate omission: a timeline checks nothing and trusts its data.

const SPACING = 64;
/** @type {Record<string, string>} */
const KINDS = { Node: 'server', Proxy: 'proxy', Client: 'client' };

// A client process of the model takes a new id at each restart: 11 and 21 belong to client 1. The ids
// of deployed clients are random and far greater.
const MODEL_CLIENTS = 1000;
const RUN_STRIDE = 10;

/**
 * `"server 2"` of `{"Node": 2}`, `"client 1"` of `{"Client": 11}`.
 * @param {Address} address
 */
export function addressName(address) {
  const [kind, number] = Object.entries(address)[0];
  const isRun = kind === 'Client' && number < MODEL_CLIENTS;
  const id = isRun ? number % RUN_STRIDE : number;
  return `${KINDS[kind] ?? kind.toLowerCase()} ${id}`;
}

/**
 * `"server 2"` of a snapshot.
 * @param {Snapshot} snapshot
 */
export const processName = (snapshot) => `${snapshot.kind} ${snapshot.id}`;

/**
 * `{kind: 'server', id: '2'}` of `"server 2"`.
 * @param {string} name
 */
export function splitName(name) {
  const place = name.lastIndexOf(' ');
  return { kind: name.slice(0, place), id: name.slice(place + 1) };
}

/**
 * The name of an event, and what it carries: `{name: 'Deliver', envelope, ask}`.
 * @param {Pick<Step, 'event'>} step
 * @returns {StepEvent}
 */
export function eventOf(step) {
  const event = step.event;
  if (typeof event === 'string') return { name: event };
  const [name, held] = Object.entries(event ?? {})[0] ?? ['Unknown', {}];
  // A drop may have an envelope as its value, or in a field.
  if (name === 'Drop' && held && !held.envelope && held.message) return { name, envelope: held };
  // The value of a transfer is the id of its target.
  if (name === 'TransferLeadership') return { name, target: held };
  return { name, ...held };
}

/**
 * The name of a step's event; `AbortTransfer` for an election timer that ends the leadership transfer of a
 * leader. `before` is the state of the process before the step.
 * @param {Pick<Step, 'event'>} step
 * @param {Snapshot | null | undefined} before
 */
export function eventName(step, before) {
  const { name } = eventOf(step);
  return name === 'ElectionTimeout' && before?.running?.transfer ? 'AbortTransfer' : name;
}

/**
 * The identity of a message, independent of the order of its fields.
 * @param {{from: Address, to: Address | null, message: Message}} envelope
 */
export function identity(envelope) {
  return canonical([envelope.from, envelope.to, envelope.message]);
}

/**
 * @param {any} value
 * @returns {string}
 */
function canonical(value) {
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  return `{${Object.keys(value)
    .sort()
    .map((key) => `${key}:${canonical(value[key])}`)
    .join()}}`;
}

export class Timeline {
  /**
   * `data`: `{source, header, start, steps, network?, offset?}`.
   * @param {Run} data
   */
  constructor(data) {
    this.source = data.source ?? 'trace';
    this.header = data.header ?? {};
    this.start = data.start ?? [];
    /** @type {Step[]} */
    this.steps = [];
    /** The number of steps of the run before the first step here. */
    this.offset = data.offset ?? 0;
    /**
     * Every message of the run; the index is its number minus one.
     * @type {Sent[]}
     */
    this.all = [];
    /**
     * The steps that deserve a mark: `{step, process, kind, ..}`, in order.
     * @type {Mark[]}
     */
    this.marks = [];
    /** @type {string[]} */
    this.names = [];
    /** @type {Map<string, Sent>} */
    this.byIdentity = new Map();
    /** @type {Map<string, Sent>} */
    this.byText = new Map();
    /**
     * The states of each process, with the numbers of the steps that lead to them.
     * @type {Map<string, {at: number[], snapshots: (Snapshot | null)[]}>}
     */
    this.histories = new Map();
    /** @type {Set<number>} */
    this.waiting = new Set();
    /**
     * The numbers of the messages that are delivered more than once.
     * @type {Set<number>}
     */
    this.repeated = new Set();
    /** @type {number[][]} */
    this.checkpoints = [];
    /**
     * By step: the numbers of the message that it delivers or drops, and of those that it sends.
     * @type {{now: number | null, sent: number[]}[]}
     */
    this.links = [];
    for (const snapshot of this.start) this.know(processName(snapshot), snapshot);
    for (const envelope of data.network ?? foundAtStart(data.steps ?? []))
      this.send(envelope, this.offset);
    this.checkpoint();
    this.append(data.steps ?? []);
  }

  get length() {
    return this.steps.length;
  }

  /** The number of the last step. */
  get last() {
    return this.offset + this.steps.length;
  }

  /**
   * The step with this number.
   * @param {number} n
   */
  step(n) {
    return this.steps[n - 1 - this.offset];
  }

  /**
   * The message that step `n` delivers or drops, and the messages that it sends.
   * @param {number} n
   */
  link(n) {
    return this.links[n - 1 - this.offset];
  }

  /**
   * @param {string} name
   * @param {Snapshot | null} snapshot
   */
  know(name, snapshot) {
    this.names.push(name);
    this.histories.set(name, { at: [this.offset], snapshots: [snapshot] });
  }

  /**
   * Appends steps.
   * @param {Step[]} steps
   */
  append(steps) {
    for (const step of steps) {
      this.steps.push(step);
      this.take(step, this.last);
      if (this.steps.length % SPACING === 0) this.checkpoint();
    }
  }

  /**
   * The first `n` steps as a separate timeline.
   * @param {number} n
   */
  firstSteps(n) {
    const there = this.all.filter((message) => message.sentAt <= this.offset);
    const network = there.map(({ envelope }) => envelope);
    return new Timeline({
      source: this.source,
      header: this.header,
      start: this.start,
      network,
      steps: this.steps.slice(0, n),
    });
  }

  checkpoint() {
    this.checkpoints.push([...this.waiting]);
  }

  /**
   * @param {Step} step
   * @param {number} n
   */
  take(step, n) {
    if (!this.histories.has(step.process)) this.know(step.process, null);
    const history = /** @type {{at: number[], snapshots: (Snapshot | null)[]}} */ (
      this.histories.get(step.process)
    );
    const before = history.snapshots.at(-1) ?? null;
    if (step.state) {
      if (this.source === 'nodes') step.state = applyDelta(before, step.state);
      history.at.push(n);
      history.snapshots.push(step.state);
    }
    const event = eventOf(step);
    /** @type {{now: number | null, sent: number[]}} */
    const link = { now: null, sent: [] };
    if (event.envelope) {
      const message = this.send(event.envelope, n);
      if (event.name === 'Drop') message.dropped.push(n);
      else if (message.delivered.push(n) > 1) this.repeated.add(message.id);
      this.waiting.delete(message.id);
      link.now = message.id;
    }
    for (const envelope of step.sent ?? []) {
      const message = this.send(envelope, n);
      if (message.sentAt !== n && message.sentAgain.at(-1) !== n) message.sentAgain.push(n);
      link.sent.push(message.id);
      this.waiting.add(message.id);
    }
    this.links.push(link);
    this.note(step, n, event, before);
  }

  /**
   * @param {Envelope} envelope
   * @param {number} n
   * @returns {Sent}
   */
  send(envelope, n) {
    // The same text is the same message; only a new text needs the slower comparison.
    const text = JSON.stringify([envelope.from, envelope.to, envelope.message]);
    let message = this.byText.get(text);
    if (message) return message;
    const key = identity(envelope);
    message = this.byIdentity.get(key);
    if (message) this.byText.set(text, message);
    if (!message) {
      message = {
        id: this.all.length + 1,
        from: addressName(envelope.from),
        to: addressName(envelope.to),
        message: envelope.message,
        envelope: { from: envelope.from, to: envelope.to, message: envelope.message },
        sentAt: n,
        sentAgain: [],
        delivered: [],
        dropped: [],
        wasThere: n === this.offset,
      };
      this.all.push(message);
      this.byIdentity.set(key, message);
      this.byText.set(text, message);
      this.waiting.add(message.id);
    }
    return message;
  }

  /**
   * @param {Step} step
   * @param {number} n
   * @param {StepEvent} event
   * @param {Snapshot | null} before
   */
  note(step, n, event, before) {
    /** @param {string} kind @param {Partial<Mark>} [more] */
    const mark = (kind, more) => this.marks.push({ step: n, process: step.process, kind, ...more });
    if (event.name === 'Crash') mark('crash');
    if (event.name === 'Restart') mark('restart');
    if (event.name === 'ElectionTimeout' && roleOf(before) !== 'leader') mark('timeout');
    const was = before?.running;
    const is = step.state?.running;
    if (is?.role === 'leader' && (was?.role !== 'leader' || was.term !== is.term))
      mark('leader', { term: is.term });
    if (was?.role === 'leader' && is && is.role !== 'leader') mark('deposed', { term: is.term });
    if (was && is && is.commit_index > was.commit_index) mark('commit', { index: is.commit_index });
    if (step.violations?.length) mark('violation', { properties: step.violations });
  }

  /**
   * The state of a process after step `n`.
   * @param {string} name
   * @param {number} n
   * @returns {Snapshot | null}
   */
  state(name, n) {
    const history = this.histories.get(name);
    return history ? history.snapshots[lastNotAbove(history.at, n)] : null;
  }

  /**
   * The number of the last step up to `n` of a process; 0 if there is none.
   * @param {string} name
   * @param {number} n
   */
  lastStepOf(name, n) {
    const history = this.histories.get(name);
    return history ? history.at[lastNotAbove(history.at, n)] : 0;
  }

  /**
   * The picture after step `n`.
   * @param {number} n
   * @returns {Picture}
   */
  at(n) {
    n = Math.max(this.offset, Math.min(n, this.last));
    const step = this.step(n) ?? null;
    /** @type {Record<string, Snapshot | null>} */
    const processes = {};
    for (const name of this.names) processes[name] = this.state(name, n);
    const before = step ? this.state(step.process, n - 1) : null;
    const changed = new Set(
      step && step.state && JSON.stringify(step.state) !== JSON.stringify(before)
        ? [step.process]
        : [],
    );
    const self = this;
    return {
      n,
      step,
      processes,
      before,
      changed,
      names: this.names,
      last: this.last,
      event: step ? eventOf(step) : null,
      /** The messages in flight, including those that this step delivers or drops. */
      get inFlight() {
        return memo(this, 'inFlight', self.inFlightAt(n));
      },
      /** All messages sent so far. */
      get messages() {
        return memo(this, 'messages', self.messagesAt(n));
      },
    };
  }

  /** @param {number} n */
  messagesAt(n) {
    const found = [];
    for (const message of this.all) if (message.sentAt <= n) found.push(asOf(message, n));
    return found;
  }

  /**
   * The numbers of the messages in flight after step `n`, unordered.
   * @param {number} n
   */
  waitingAt(n) {
    const place = Math.min(Math.floor((n - this.offset) / SPACING), this.checkpoints.length - 1);
    const waiting = new Set(this.checkpoints[place]);
    for (let at = this.offset + place * SPACING + 1; at <= n; at += 1) {
      const link = this.link(at);
      if (link.now !== null) waiting.delete(link.now);
      for (const id of link.sent) waiting.add(id);
    }
    return waiting;
  }

  /**
   * The numbers of the messages that are sent or end between two steps or just before them, or that are
   * in flight during all of them, in order.
   * @param {number} from
   * @param {number} to
   */
  touched(from, to) {
    const found = new Set();
    const first = this.offset + 1;
    const begin = Math.max(first, from - 2);
    for (let n = begin; n <= Math.min(to, this.last); n += 1) {
      const link = this.link(n);
      if (link.now !== null) found.add(link.now);
      for (const id of link.sent) found.add(id);
    }
    for (const id of [...this.waitingAt(begin - 1), ...this.repeated]) {
      const { delivered, sentAt, dropped } = this.all[id - 1];
      // A message that exists at the start and is never delivered is drawn at the start.
      if (
        (sentAt < begin && (delivered.at(-1) ?? 0) > to) ||
        (begin === first && sentAt < first && !dropped.length)
      )
        found.add(id);
    }
    return [...found].sort((one, other) => one - other);
  }

  /** @param {number} n */
  inFlightAt(n) {
    const waiting = this.waitingAt(n);
    const now = this.link(n)?.now ?? null;
    if (now !== null) waiting.add(now);
    return [...waiting].sort((one, other) => one - other).map((id) => asOf(this.all[id - 1], n));
  }

  /**
   * A message by its number, as of step `n`; nothing if it is not sent yet.
   * @param {number} id
   * @returns {SentAt | null}
   */
  message(id, n = this.last) {
    const message = this.all[id - 1];
    return message && message.sentAt <= n ? asOf(message, n) : null;
  }
}

/** @type {number[]} */
const NEVER = [];

/**
 * @param {number[]} all
 * @param {number} n
 */
const upTo = (all, n) => (all.length ? all.filter((at) => at <= n) : NEVER);

/**
 * @param {Sent} message
 * @param {number} n
 * @returns {SentAt}
 */
function asOf(message, n) {
  const isQuiet = !message.sentAgain.length && !message.delivered.length && !message.dropped.length;
  // In a long run most messages in flight were sent long ago and have no further events.
  if (isQuiet && message.sentAt !== n)
    return (message.quiet ??= asIs(message, n, NEVER, NEVER, null, null));
  const sentAgain = upTo(message.sentAgain, n);
  const dropped = message.dropped.length
    ? (message.dropped.findLast((at) => at <= n) ?? null)
    : null;
  // A message sent again after a drop is not dropped.
  const droppedAt = dropped !== null && dropped >= (sentAgain.at(-1) ?? 0) ? dropped : null;
  const deliveredAt = upTo(message.delivered, n);
  return asIs(message, n, sentAgain, deliveredAt, dropped, droppedAt);
}

/**
 * @param {Sent} message
 * @param {number} n
 * @param {number[]} sentAgain
 * @param {number[]} deliveredAt
 * @param {number | null} dropped
 * @param {number | null} droppedAt
 * @returns {SentAt}
 */
function asIs(message, n, sentAgain, deliveredAt, dropped, droppedAt) {
  return {
    id: message.id,
    from: message.from,
    to: message.to,
    message: message.message,
    envelope: message.envelope,
    sentAt: message.sentAt,
    sentAgain,
    deliveredAt,
    droppedAt,
    isNew: (message.sentAt === n && !message.wasThere) || sentAgain.at(-1) === n,
    isDelivering: deliveredAt.at(-1) === n && n > 0,
    isDropping: dropped === n && n > 0,
  };
}

/**
 * @template T
 * @param {object} holder
 * @param {string} name
 * @param {T} value
 */
function memo(holder, name, value) {
  Object.defineProperty(holder, name, { value });
  return value;
}

/**
 * The complete state of a node; a step contains only the changed part.
 * @param {any} before
 * @param {any} state
 * @returns {Snapshot}
 */
function applyDelta(before, state) {
  if (!before) return state;
  /** @param {any} old @param {any} now */
  const part = (old, now) => {
    if (!old || !now) return now;
    const { log_from: from, ...fields } = now;
    if (from === undefined) return { ...old, ...fields };
    // Of a log: the entries from `from` on; the earlier entries stay.
    const kept = old.log.slice(
      Math.max(0, fields.log_start - old.log_start),
      Math.max(0, from - old.log_start),
    );
    return { ...old, ...fields, log: [...kept, ...fields.log] };
  };
  return {
    ...before,
    ...state,
    disk: part(before.disk, state.disk),
    running: 'running' in state ? part(before.running, state.running) : before.running,
  };
}

/**
 * The messages delivered or dropped without a previous send: they existed at the start.
 * @param {Step[]} steps
 */
function foundAtStart(steps) {
  const texts = new Set();
  /** @type {Envelope[]} */
  const sent = [];
  /** @type {Set<string> | null} */
  let known = null;
  /** @type {Envelope[]} */
  const found = [];
  /** @param {Envelope} envelope */
  const textOf = ({ from, to, message }) => JSON.stringify([from, to, message]);
  for (const step of steps) {
    const { envelope } = eventOf(step);
    if (envelope && !texts.has(textOf(envelope))) {
      // The fields may have a different order than in the send: this needs the slower comparison.
      known ??= new Set();
      for (const envelope of sent.splice(0)) known.add(identity(envelope));
      texts.add(textOf(envelope));
      if (!known.has(identity(envelope))) {
        known.add(identity(envelope));
        found.push(envelope);
      }
    }
    for (const envelope of step.sent ?? []) {
      const text = textOf(envelope);
      if (!texts.has(text)) {
        texts.add(text);
        sent.push(envelope);
      }
    }
  }
  return found;
}

/**
 * The index of the last number not above `limit` in an ascending list that starts with 0.
 * @param {number[]} numbers
 * @param {number} limit
 */
function lastNotAbove(numbers, limit) {
  let low = 0;
  let high = numbers.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (numbers[middle] <= limit) low = middle;
    else high = middle - 1;
  }
  return low;
}

/**
 * Creates a timeline from the lines of a trace file. Throws an `Error` whose message is `empty`,
 * `not-json` or `schema`, with `line` and, for `schema`, `found`.
 * @param {string} text
 */
export function readJsonl(text, source = 'trace') {
  const lines = text.split('\n').map((line) => line.trim());
  /** @type {any[]} */
  const rows = [];
  lines.forEach((line, place) => {
    if (!line) return;
    try {
      rows.push(JSON.parse(line));
    } catch {
      throw Object.assign(new Error('not-json'), { line: place + 1 });
    }
  });
  if (!rows.length) throw Object.assign(new Error('empty'), { line: 1 });
  const [header, ...steps] = rows;
  if (header.schema !== 'stateraft-trace/4')
    throw Object.assign(new Error('schema'), { line: 1, found: header.schema });
  if (header.property && steps.length)
    steps[steps.length - 1].violations ??= [
      { property: header.property, why: header.why, cause: header.cause },
    ];
  return new Timeline({ source, header, start: header.start, steps });
}

/* The contents of a snapshot, independent of its source. */

/** @param {Snapshot | null | undefined} snapshot */
export const isDown = (snapshot) =>
  snapshot?.down === true || (snapshot?.kind === 'server' && !snapshot.running);

/**
 * The log in a server's memory, or on its disk if the server is down.
 * @param {Snapshot | null | undefined} snapshot
 */
export function logOf(snapshot) {
  const disk = snapshot?.disk ?? {};
  const running = snapshot?.running;
  // Entries covered by a snapshot may be absent from the log.
  const base = running ? running.log_base?.index : diskBase(disk);
  const start = running?.log_start ?? snapshot?.log_start ?? disk.log_start ?? (base ?? 0) + 1;
  const log = running?.log ?? disk.log ?? [];
  const last = start + log.length - 1;
  return {
    start,
    log,
    last,
    commit: running?.commit_index ?? 0,
    applied: running?.applied_index ?? null,
    durable: running ? (running.durable_index ?? last) : last,
    snapshot:
      running?.snapshot_index ?? snapshot?.snapshot_index ?? disk.snapshot_index ?? base ?? 0,
  };
}

/**
 * The last entry that only the snapshot on a disk has.
 * @param {Disk | null | undefined} disk
 */
export const diskBase = (disk) => disk?.snapshot?.last_included_index ?? 0;

/** @param {Snapshot | null | undefined} snapshot */
export const termOf = (snapshot) =>
  snapshot?.running?.term ?? snapshot?.disk?.hard_state?.current_term ?? 0;
/** @param {Snapshot | null | undefined} snapshot */
export const roleOf = (snapshot) =>
  isDown(snapshot) ? 'down' : (snapshot?.running?.role ?? 'unknown');
