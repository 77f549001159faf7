import { loadStrings, setLanguage } from '/ui/js/i18n.js';
import {
  changes,
  command,
  event,
  family,
  label,
  sentence,
  short,
  tell,
  text,
} from '/ui/js/describe.js';
import { Timeline } from '/ui/js/timeline.js';
import { append, ask, run, server, vote } from './samples.js';

const bytes = (/** @type {string} */ text) => [...new TextEncoder().encode(text)];

/** @type {PageTests} */
export const tests = {
  async labels_are_short_and_say_what_matters(equal) {
    await setLanguage('en');
    await loadStrings('shell', 'stage');
    equal(
      [label(ask.message), label(vote.message), label(append.message), short(append.message)],
      ['RequestVote t2', 'Vote t2 ✓', 'AppendEntries t2 [2,3] c1', 'App t2 [2,3]'],
    );
    equal(
      label({
        AppendEntriesResponse: { term: 3, read_round: 0, outcome: { Matched: { match_index: 4 } } },
      }),
      'Ack t3 ≤4',
    );
    equal(
      label({ AppendEntriesResponse: { term: 3, read_round: 0, outcome: 'StaleTerm' } }),
      'Refusal t3',
    );
  },
  label_of_a_kind_not_known_is_its_name(equal) {
    equal(label({ ReadIndexRequest: { term: 4 } }), 'Read Index Request t4');
  },
  steps_are_described_as_in_the_checkers_explanations(equal) {
    const timeline = new Timeline(run());
    equal(tell(timeline, 1), {
      what: 'server 1 times out and becomes a candidate in term 2',
      sends: ['RequestVote (term 2, empty log) to server 2'],
      changes: [
        { field: 'role', was: 'follower', is: 'candidate' },
        { field: 'term', was: 1, is: 2 },
        { field: 'vote', was: 'none', is: 'S1' },
        { field: 'votes', was: '', is: '1' },
      ],
    });
    equal(
      tell(timeline, 2).what,
      'server 2 receives RequestVote (term 2, empty log) from server 1',
    );
    equal(tell(timeline, 6).what, 'server 2 crashes and loses everything that is not on its disk');
  },
  transfer_is_described_from_its_start_to_its_end(equal) {
    /** @param {Partial<Running>} more */
    const leader = (more) => server(1, { role: 'leader', leader: 1, ...more });
    const waiting = leader({ transfer: { target: 2, is_requested: false } });
    const sent = leader({ transfer: { target: 2, is_requested: true } });
    const start = { process: 'server 1', event: { TransferLeadership: 2 }, state: waiting };
    equal(event(start, leader({})), 'server 1 starts to transfer its leadership to server 2');
    equal(changes(leader({}), waiting), [
      { field: 'transfer', was: 'none', is: 'to S2, TimeoutNow not sent yet' },
    ]);
    equal(changes(waiting, sent)[0].is, 'to S2, TimeoutNow sent');
    const timeout = { process: 'server 1', event: 'ElectionTimeout', state: leader({}) };
    equal(
      event(timeout, sent),
      'server 1 aborts its leadership transfer: its election timer fires',
    );
    // A server's election timer may fire after the transfer has ended.
    equal(event(timeout, leader({})), 'server 1 ignores its election timer, because it leads');
  },
  messages_of_a_transfer_are_named(equal) {
    const now = { TimeoutNowRequest: { term: 4 } };
    equal(
      [label(now), sentence(now), family(now)],
      ['TimeoutNow t4', 'TimeoutNow (term 4)', 'vote'],
    );
    const asks = {
      RequestVoteRequest: { ...ask.message.RequestVoteRequest, leadership_transfer: true },
    };
    equal(
      [label(asks), sentence(asks)],
      ['RequestVote t2 transfer', 'RequestVote (term 2, empty log, for a leadership transfer)'],
    );
  },
  event_not_known_is_named(equal) {
    equal(event({ process: 'server 1', event: 'TakeSnapshot' }, null), 'server 1: Take Snapshot');
  },
  commands_are_told_as_texts(equal) {
    equal(
      command({
        term: 1,
        payload: {
          Command: {
            Write: {
              operation: { Put: { key: bytes('x'), value: bytes('é'), condition: 'Always' } },
            },
          },
        },
      }),
      'x=é',
    );
    equal(
      command({
        term: 1,
        payload: { Command: { Write: { operation: { Increment: { key: bytes('n'), by: 2 } } } } },
      }),
      'n+=2',
    );
    const conditions = ['Absent', 'Present', { Version: 3 }];
    equal(
      conditions.map((condition) =>
        command({
          term: 1,
          payload: {
            Command: { Write: { operation: { Delete: { key: bytes('x'), condition } } } },
          },
        }),
      ),
      ['delete x if absent', 'delete x if present', 'delete x if version 3'],
    );
  },
  bytes_are_told_as_text_or_as_bytes_and_never_at_length(equal) {
    equal(
      [text(bytes('ñ\n')), text(bytes('ñ'.repeat(40))), text(bytes('ñ'.repeat(41)))],
      ['ñ\\x0a', 'ñ'.repeat(40), `${'ñ'.repeat(40)}…`],
    );
    equal(
      [text([255, 10]), text(Array(7).fill(255))],
      ['(2 bytes: ff0a)', '(7 bytes: ffffffffffff…)'],
    );
  },
  changes_of_what_did_not_change_are_none(equal) {
    const { start } = run();
    equal(changes(start[0], start[0]), []);
  },
  async spanish_says_the_same(equal) {
    await setLanguage('es');
    await loadStrings('stage');
    const timeline = new Timeline(run());
    equal(
      tell(timeline, 1).what,
      'Al servidor 1 se le agota el tiempo y pasa a candidato en el mandato 2',
    );
    equal(
      tell(timeline, 2).what,
      'el servidor 2 recibe RequestVote (mandato 2, log vacío) del servidor 1',
    );
    equal(label(vote.message), 'Voto t2 ✓');
    await setLanguage('en');
  },
};
