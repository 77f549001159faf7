// Words for events, messages, entries and changes, in the language of the page. The English words
// are the words of the checker's counterexamples (checker/src/explain/words.rs).
//
//   label(message)      'RequestVote t2', 'AppendEntries t1 [2,3] c1'
//   short(message)      the same in a shorter form: 'Vote? t2', 'App t1 [2,3]'
//   sentence(message)   'RequestVote (term 2, log ends with entry 1 of term 1)'
//   family(message)     'vote', 'append' or 'client': the kind of message
//   event(step, before) 'server 1 times out and becomes a candidate in term 2'
//   sends(step)         ['RequestVote (..) to servers 2 and 3']
//   changes(before, after) [{field: 'role', was: 'follower', is: 'candidate'}, ..]
//   entry(entry), command(entry), text(bytes), who(name), the(name), role(name)

import { list, t } from './i18n.js';
import {
  addressName,
  eventOf,
  identity,
  isDown,
  logOf,
  roleOf,
  splitName,
  termOf,
} from './timeline.js';

const decoder = new TextDecoder('utf-8', { fatal: true });
/** The number of characters shown of a text, and of bytes shown if they are not a text. */
const LETTERS = 40;
const BYTES = 6;

/**
 * Bytes as text; a long text is abbreviated. Traces have lists of numbers, other sources have texts.
 * @param {Bytes} bytes
 */
export function text(bytes) {
  if (typeof bytes === 'string') return brief(bytes);
  const held = new Uint8Array(bytes ?? []);
  let read;
  try {
    read = decoder.decode(held);
  } catch {
    const start = Array.from(held.subarray(0, BYTES), hex).join('');
    return t('stage.bytes', { n: held.length, start: held.length > BYTES ? `${start}…` : start });
  }
  return brief(read.replace(/[\u0000-\u001f\u007f]/g, (c) => `\\x${hex(c.charCodeAt(0))}`));
}

/** @param {number} byte */
const hex = (byte) => byte.toString(16).padStart(2, '0');

/** @param {string} words */
function brief(words) {
  const letters = [...words];
  return letters.length > LETTERS ? `${letters.slice(0, LETTERS).join('')}…` : words;
}

/**
 * 'server 2' in the language of the page.
 * @param {string} name
 */
export function who(name) {
  const { kind, id } = splitName(name);
  return t(`stage.${kind}`, { id });
}

/**
 * The same within a sentence, with the article that some languages require: 'el servidor 2'.
 * @param {string} name
 */
export function the(name) {
  const { kind, id } = splitName(name);
  return t(`stage.the-${kind}`, { id });
}

/**
 * The short form: 'S2'.
 * @param {string} name
 */
export function initial(name) {
  const { kind, id } = splitName(name);
  return t(`stage.${kind}-short`, { id });
}

/** @param {string} name */
export const role = (name) => t(`stage.role-${name}`);

/**
 * @param {Message | undefined} message
 * @returns {{kind: string, body: any}}
 */
function parts(message) {
  const [kind, body] = Object.entries(message ?? {})[0] ?? ['Unknown', {}];
  return { kind, body: body ?? {} };
}

/** @param {Message | undefined} message */
export function family(message) {
  const { kind } = parts(message);
  if (kind.startsWith('Client')) return 'client';
  if (kind.startsWith('Append') || kind.startsWith('InstallSnapshot')) return 'append';
  return 'vote';
}

/**
 * The indexes of the entries in an AppendEntries message.
 * @param {{prev_log_index?: number, entries?: Entry[]}} body
 */
function carried(body) {
  const first = (body.prev_log_index ?? 0) + 1;
  return (body.entries ?? []).map((_, place) => first + place);
}

/** @param {number[]} all */
function indexes(all) {
  if (!all.length) return '[]';
  if (all.length > 3) return `[${all[0]}–${all.at(-1)}]`;
  return `[${all.join()}]`;
}

/**
 * @param {Message | undefined} message
 * @returns {string}
 */
export function label(message) {
  const { kind, body } = parts(message);
  switch (kind) {
    case 'PreVoteRequest':
      return `PreVote t${body.next_term}`;
    case 'PreVoteResponse':
      return `PreVote t${body.next_term} ${body.vote_granted ? '✓' : '✗'}`;
    case 'RequestVoteRequest':
      return `RequestVote t${body.term}${body.leadership_transfer ? ` ${t('stage.msg-transfer')}` : ''}`;
    case 'RequestVoteResponse':
      return `${t('stage.msg-vote')} t${body.term} ${body.vote_granted ? '✓' : '✗'}`;
    case 'AppendEntriesRequest':
      return `AppendEntries t${body.term} ${indexes(carried(body))} c${body.leader_commit}`;
    case 'AppendEntriesResponse':
      return `${outcome(body.outcome)} t${body.term}${reach(body.outcome)}`;
    case 'InstallSnapshotRequest':
      return `InstallSnapshot t${body.term} ≤${body.snapshot?.last_included_index}`;
    case 'InstallSnapshotResponse':
      return body.match_index
        ? `${t('stage.msg-ack')} t${body.term} ≤${body.match_index}`
        : `${t('stage.msg-refusal')} t${body.term}`;
    case 'TimeoutNowRequest':
      return `TimeoutNow t${body.term}`;
    case 'ClientRequest':
      return `${request(body.body)} #${body.id}`;
    case 'ClientResponse':
      return `${response(body.body)} #${body.id}`;
    default:
      return spaced(kind) + (body.term === undefined ? '' : ` t${body.term}`);
  }
}

/** @param {Message} message */
export function short(message) {
  const { kind, body } = parts(message);
  switch (kind) {
    case 'PreVoteRequest':
      return `PV? t${body.next_term}`;
    case 'PreVoteResponse':
      return `PV t${body.next_term} ${body.vote_granted ? '✓' : '✗'}`;
    case 'RequestVoteRequest':
      return `${t('stage.msg-vote')}? t${body.term}`;
    case 'AppendEntriesRequest':
      return `App t${body.term} ${indexes(carried(body))}`;
    case 'InstallSnapshotRequest':
      return `Snap t${body.term} ≤${body.snapshot?.last_included_index}`;
    default:
      return label(message);
  }
}

/** @param {any} outcome */
function outcome(outcome) {
  if (outcome?.Matched) return t('stage.msg-ack');
  return t('stage.msg-refusal');
}

/** @param {any} outcome */
function reach(outcome) {
  if (outcome?.Matched) return ` ≤${outcome.Matched.match_index}`;
  if (outcome?.Conflict) return ` ≤${outcome.Conflict.conflict_index}`;
  return '';
}

/**
 * @param {any} body
 * @returns {string}
 */
function request(body) {
  if (body === 'OpenSession') return t('stage.msg-open');
  if (body?.CloseSession) return t('stage.msg-close');
  if (body?.RenewSession) return t('stage.msg-renew');
  if (body?.Write) return operation(body.Write.operation);
  if (body?.Read) return query(body.Read.query);
  if (body?.TransferLeadership)
    return t('stage.msg-transfer-to', { id: body.TransferLeadership.target });
  return spaced(Object.keys(body ?? {})[0] ?? '');
}

/** @param {any} body */
function response(body) {
  if (body?.Applied !== undefined) return t('stage.msg-done');
  if (body?.Found !== undefined)
    return body.Found?.Value ? `= ${text(body.Found.Value.value)}` : t('stage.msg-found');
  if (body === 'Unavailable') return t('stage.msg-unavailable');
  if (body?.NotLeader) return t('stage.msg-not-leader');
  if (body?.Interrupted) return t('stage.msg-interrupted');
  if (body === 'Leads') return t('stage.msg-leads');
  if (body?.NotTransferred) return t('stage.msg-not-transferred');
  return spaced(typeof body === 'string' ? body : (Object.keys(body ?? {})[0] ?? ''));
}

/** @param {string} name */
const spaced = (name) => name.replace(/([a-z])([A-Z])/g, '$1 $2');

/* Entries. */

/** @param {Record<string, any>} operation */
function operation(operation) {
  const [kind, body] = Object.entries(operation ?? {})[0] ?? ['?', {}];
  const condition = suffix(body.condition);
  if (kind === 'Put') return `${text(body.key)}=${text(body.value)}${condition}`;
  if (kind === 'Delete') return t('stage.cmd-delete', { key: text(body.key) }) + condition;
  if (kind === 'Increment') return `${text(body.key)}+=${body.by}`;
  return spaced(kind);
}

/**
 * The condition of a write, after the write that it belongs to.
 * @param {any} condition
 */
function suffix(condition) {
  if (condition === 'Absent') return ` ${t('stage.cmd-if-absent')}`;
  if (condition === 'Present') return ` ${t('stage.cmd-if-present')}`;
  const version = condition?.Version;
  return version ? ` ${t('stage.cmd-if-version', { version })}` : '';
}

/** @param {Record<string, any>} query */
function query(query) {
  if (query?.Get) return t('stage.cmd-get', { key: text(query.Get.key) });
  if (query?.Scan) return t('stage.cmd-scan', { key: text(query.Scan.prefix) });
  return spaced(Object.keys(query ?? {})[0] ?? '');
}

/**
 * The command of an entry, without its term.
 * @param {Entry} entry
 * @returns {string}
 */
export function command(entry) {
  const payload = entry?.payload;
  if (payload === 'Noop') return t('stage.cmd-noop');
  const held = payload?.Command;
  if (held?.Write) return operation(held.Write.operation);
  if (held?.OpenSession) return t('stage.cmd-open');
  if (held?.CloseSession) return t('stage.cmd-close');
  if (held?.RenewSession) return t('stage.cmd-renew');
  if (held) return spaced(typeof held === 'string' ? held : Object.keys(held)[0]);
  // A source may have a text in place of the model's command.
  if (typeof payload === 'string') return spaced(payload);
  return spaced(Object.keys(payload ?? {})[0] ?? '');
}

/** @param {Entry} held */
export const entry = (held) => `t${held.term} ${command(held)}`;

/**
 * @param {number} first
 * @param {Entry[]} all
 */
const entries = (first, all) =>
  all.map((held, place) => `${first + place}:${entry(held)}`).join(', ');

/* Messages as sentences. */

/**
 * @param {Message | undefined} message
 * @returns {string}
 */
export function sentence(message) {
  const { kind, body } = parts(message);
  const end = () =>
    body.last_log_index
      ? t('stage.say-log-end', { index: body.last_log_index, term: body.last_log_term })
      : t('stage.say-log-empty');
  switch (kind) {
    case 'PreVoteRequest':
      return t('stage.say-prevote', { term: body.next_term, end: end() });
    case 'PreVoteResponse':
      return t(body.vote_granted ? 'stage.say-prevote-yes' : 'stage.say-prevote-no', {
        next: body.next_term,
        term: body.term,
      });
    case 'RequestVoteRequest':
      return t('stage.say-vote', {
        term: body.term,
        end: end(),
        transfer: body.leadership_transfer ? t('stage.say-transfer') : '',
      });
    case 'RequestVoteResponse':
      return t(body.vote_granted ? 'stage.say-vote-yes' : 'stage.say-vote-no', { term: body.term });
    case 'AppendEntriesRequest':
      return t('stage.say-append', {
        term: body.term,
        after: body.prev_log_index
          ? t('stage.say-after', { index: body.prev_log_index, term: body.prev_log_term })
          : t('stage.say-from-start'),
        entries: body.entries?.length
          ? t('stage.say-entries', { entries: entries(body.prev_log_index + 1, body.entries) })
          : t('stage.say-no-entries'),
        commit: body.leader_commit,
        round: round(body.read_round),
      });
    case 'AppendEntriesResponse':
      return appendAnswer(body);
    case 'InstallSnapshotRequest':
      return t('stage.say-install', {
        term: body.term,
        index: body.snapshot?.last_included_index,
        of: body.snapshot?.last_included_term,
      });
    case 'InstallSnapshotResponse':
      return t(body.match_index ? 'stage.say-installed' : 'stage.say-install-stale', {
        term: body.term,
        index: body.match_index,
      });
    case 'TimeoutNowRequest':
      return t('stage.say-timeout-now', { term: body.term });
    case 'ClientRequest':
      return t('stage.say-request', { id: body.id, client: body.client, what: request(body.body) });
    case 'ClientResponse':
      return t('stage.say-response', { id: body.id, client: body.client, what: answer(body.body) });
    default:
      return label(message);
  }
}

/** @param {number} round */
const round = (round) => (round ? t('stage.say-round', { round }) : '');

/** @param {any} body */
function appendAnswer(body) {
  const { Matched: matched, Conflict: conflict } =
    typeof body.outcome === 'object' ? (body.outcome ?? {}) : {};
  const common = { term: body.term, round: round(body.read_round) };
  if (matched) return t('stage.say-ack', { ...common, index: matched.match_index });
  if (!conflict) return t('stage.say-refusal-stale', common);
  const where = {
    ...common,
    prev: conflict.prev_log_index,
    index: conflict.conflict_index,
    conflict: conflict.conflict_term,
  };
  return t(
    conflict.conflict_index ? 'stage.say-refusal-conflict' : 'stage.say-refusal-short',
    where,
  );
}

/** @param {any} body */
function answer(body) {
  const hint = body?.NotLeader?.hint ?? body?.Interrupted?.hint;
  if (body?.NotLeader)
    return hint ? t('stage.ans-not-leader-hint', { id: hint }) : t('stage.msg-not-leader');
  if (body?.Interrupted)
    return hint ? t('stage.ans-interrupted-hint', { id: hint }) : t('stage.msg-interrupted');
  if (body?.Applied !== undefined) return applied(body.Applied);
  if (body?.Found !== undefined) {
    const { Value: value, Pairs: pairs } = body.Found ?? {};
    if (pairs) return t('stage.ans-pairs', { n: pairs.length });
    return value
      ? t('stage.ans-value', { value: text(value.value), version: value.version })
      : t('stage.ans-none');
  }
  return response(body);
}

/** @param {any} held */
function applied(held) {
  if (held?.SessionOpened !== undefined) return t('stage.ans-session', { id: held.SessionOpened });
  if (held?.Written) return t('stage.ans-written', { version: held.Written.version });
  if (held?.Number)
    return t('stage.ans-number', { value: held.Number.value, version: held.Number.version });
  if (held?.ConditionFailed) return t('stage.ans-condition');
  /** @type {Record<string, string>} */
  const answers = {
    Nothing: 'nothing',
    NotANumber: 'not-number',
    SessionExpired: 'expired',
    AlreadyAcknowledged: 'acknowledged',
    NotApplied: 'not-applied',
    SessionsInUse: 'in-use',
    SessionClosed: 'closed',
    SessionRenewed: 'renewed',
    TooManyUnacknowledged: 'too-many',
    QuotaExceeded: 'quota',
    Overflow: 'overflow',
  };
  const known = answers[held];
  return known ? t(`stage.ans-${known}`) : spaced(String(held));
}

/* Events. */

/**
 * The event of a step, as a sentence without a full stop. `before` is the previous state of the process.
 * @param {Pick<Step, 'process' | 'event' | 'state'>} step
 * @param {Snapshot | null} before
 * @returns {string}
 */
export function event(step, before) {
  const held = eventOf(step);
  const name = the(step.process);
  const running = before?.running;
  const next = (termOf(before) || 0) + 1;
  const message = sentence(held.envelope?.message);
  const from = held.envelope && the(addressName(held.envelope.from));
  switch (held.name) {
    case 'Deliver': {
      const told = t('stage.ev-deliver', { who: name, message, from });
      return held.ask ? `${told}; ${t('stage.ev-ask', { id: held.ask })}` : told;
    }
    case 'Drop':
      return t('stage.ev-drop', {
        message,
        from,
        to: held.envelope && the(addressName(held.envelope.to)),
      });
    case 'ElectionTimeout':
      if (running?.transfer) return t('stage.ev-abort-transfer', { who: name });
      if (running?.role === 'leader') return t('stage.ev-election-ignored', { who: name });
      if (step.state?.running?.role === 'pre-candidate')
        return t('stage.ev-prevote', { who: name, term: next });
      return t('stage.ev-timeout', { who: name, term: step.state?.running?.term ?? next });
    case 'HeartbeatTimeout':
      return t(
        running?.role === 'leader' || !running ? 'stage.ev-heartbeat' : 'stage.ev-asks-again',
        { who: name },
      );
    case 'QuorumTimeout':
      return t(running?.role === 'leader' ? 'stage.ev-quorum' : 'stage.ev-unheard', { who: name });
    case 'TransferLeadership':
      return t('stage.ev-transfer', { who: name, to: the(`server ${held.target}`) });
    case 'ProxyTimeout':
      return t('stage.ev-proxy-timeout', {
        who: name,
        id: held.id,
        client: held.client,
        ask: held.ask,
      });
    default: {
      const key = `stage.ev-${held.name.replace(/([a-z])([A-Z])/g, '$1-$2').toLowerCase()}`;
      const told = t(key, { who: name });
      return told === key ? `${name}: ${spaced(held.name)}` : told;
    }
  }
}

/**
 * The messages that a step sends; equal messages form one item.
 * @param {Step} step
 */
export function sends(step) {
  /** @type {Map<string, {message: Message, to: string[]}>} */
  const groups = new Map();
  for (const envelope of step.sent ?? []) {
    const key = identity({ ...envelope, to: null });
    if (!groups.has(key)) groups.set(key, { message: envelope.message, to: [] });
    groups.get(key)?.to.push(addressName(envelope.to));
  }
  return [...groups.values()].map(({ message, to }) =>
    t('stage.say-to', { message: sentence(message), to: everybody(to) }),
  );
}

/** @param {string[]} names */
function everybody(names) {
  const ids = names.map(splitName);
  if (names.length > 1 && ids.every(({ kind }) => kind === 'server'))
    return t('stage.servers', { ids: list(ids.map(({ id }) => id)) });
  return list(names.map(the));
}

/**
 * The changes of a step to its process: `{field, was, is}` in words, `field` as in `stage.field-..`.
 * @param {Snapshot | null} before
 * @param {Snapshot | null} after
 */
export function changes(before, after) {
  /** @type {{field: string, of?: number, was: any, is: any}[]} */
  const found = [];
  /** @param {string} field @param {any} was @param {any} is */
  const change = (field, was, is) => {
    if (was !== is) found.push({ field, was, is });
  };
  if (!after || !before) return found;
  if (after.kind === 'proxy') {
    change('believes', nobody(before.leader), nobody(after.leader));
    change('in-flight', before.in_flight, after.in_flight);
    return found;
  }
  if (after.kind === 'client') {
    change(
      'state',
      t(before.idle ? 'stage.idle' : 'stage.waiting'),
      t(after.idle ? 'stage.idle' : 'stage.waiting'),
    );
    change('session', before.session ?? t('stage.none'), after.session ?? t('stage.none'));
    change('invoked', before.invoked, after.invoked);
    return found;
  }
  change('role', role(roleOf(before)), role(roleOf(after)));
  change('term', termOf(before), termOf(after));
  /** @type {Partial<Running>[]} */
  const [was, is] = [before.running ?? {}, after.running ?? {}];
  if (!isDown(before) && !isDown(after)) {
    change('vote', nobody(was.voted_for), nobody(is.voted_for));
    change('leader', nobody(was.leader), nobody(is.leader));
    change('votes', (was.votes ?? []).join(), (is.votes ?? []).join());
    change('commit', was.commit_index, is.commit_index);
    change('durable', was.durable_index, is.durable_index);
    const followers = new Map((was.followers ?? []).map((held) => [held.id, held]));
    for (const held of is.followers ?? []) {
      const old = followers.get(held.id);
      if (!old) continue;
      if (old.match_index !== held.match_index)
        found.push({ field: 'match', of: held.id, was: old.match_index, is: held.match_index });
      if (held.next_index < old.next_index)
        found.push({ field: 'next', of: held.id, was: old.next_index, is: held.next_index });
    }
    change('transfer', transferWords(was.transfer), transferWords(is.transfer));
    change('reads', (was.reads ?? []).length, (is.reads ?? []).length);
    change('unsynced', (was.unsynced ?? []).length, (is.unsynced ?? []).length);
  }
  const [old, now] = [logOf(before), logOf(after)];
  change('log', tail(old), tail(now));
  return found;
}

/**
 * The last entries of a log, in short form.
 * @param {ReturnType<typeof logOf>} held
 */
function tail(held) {
  const from = Math.max(0, held.log.length - 4);
  const more = from > 0 || held.start > 1 ? '… ' : '';
  return held.log.length
    ? more + entries(held.start + from, held.log.slice(from))
    : t('stage.empty');
}

/** @param {number | null | undefined} id */
export const nobody = (id) =>
  id === null || id === undefined ? t('stage.none') : t('stage.server-short', { id });

/**
 * The leadership transfer of a leader: 'to S2, TimeoutNow sent', or 'none'.
 * @param {Running['transfer']} transfer
 */
export const transferWords = (transfer) =>
  transfer
    ? t(transfer.is_requested ? 'stage.transfer-sent' : 'stage.transfer-waiting', {
        target: nobody(transfer.target),
      })
    : t('stage.none');

/**
 * The complete description of a step: `{what, sends, changes}`.
 * @param {Timeline} timeline
 * @param {number} n
 */
export function tell(timeline, n) {
  const step = timeline.step(n);
  if (!step)
    return {
      what: t(n > 0 ? 'stage.at-part' : 'stage.at-start', { n: n + 1 }),
      sends: [],
      changes: [],
    };
  const before = timeline.state(step.process, n - 1);
  return {
    what: event(step, before),
    sends: sends(step),
    changes: step.state ? changes(before, step.state) : [],
  };
}
