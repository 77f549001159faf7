import { Timeline, isDown, logOf, readJsonl, roleOf } from '/ui/js/timeline.js';
import { present } from './present.js';
import { append, long, run, server, vote } from './samples.js';

const ids = (/** @type {Picture} */ at) => at.inFlight.map((message) => message.id);
/**
 * The error of a function that must fail, with all its fields.
 * @param {() => unknown} run
 * @returns {any}
 */
const fails = (run) => {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error('it did not fail');
};

/** @type {PageTests} */
export const tests = {
  states_are_those_after_each_step(equal) {
    const timeline = new Timeline(run());
    equal(
      [0, 1, 2, 3].map((n) => roleOf(timeline.at(n).processes['server 1'])),
      ['follower', 'candidate', 'candidate', 'leader'],
    );
    equal(isDown(timeline.at(6).processes['server 2']), true);
    equal([...timeline.at(3).changed], ['server 1']);
    equal([...timeline.at(4).changed], []);
  },
  messages_are_numbered_by_first_being_sent_whatever_the_order_of_their_fields(equal) {
    const timeline = new Timeline(run());
    equal(
      timeline.all.map((message) => [message.id, message.from, message.to, message.sentAt]),
      [
        [1, 'server 1', 'server 2', 1],
        [2, 'server 2', 'server 1', 2],
        [3, 'server 1', 'server 2', 3],
      ],
    );
    equal(timeline.message(1, 2)?.deliveredAt, [2]);
  },
  message_is_in_flight_until_it_is_delivered_or_lost_and_again_when_sent_again(equal) {
    const timeline = new Timeline(run());
    equal(
      [0, 1, 2, 3, 4, 5, 6].map((n) => ids(timeline.at(n))),
      [[], [1], [1, 2], [2, 3], [3], [3], [3]],
    );
    equal(
      [
        timeline.at(4).inFlight[0].isDropping,
        timeline.at(5).inFlight[0].isDropping,
        timeline.at(5).inFlight[0].isNew,
      ],
      [true, false, true],
    );
    equal(
      [4, 5].map((n) => timeline.message(3, n)?.droppedAt),
      [4, null],
    );
  },
  message_delivered_without_being_sent_was_there_at_the_start(equal) {
    const { header, start, steps } = run();
    const timeline = new Timeline({ header, start, steps: [steps[2]] });
    equal([timeline.all[0].sentAt, ids(timeline.at(0))], [0, [1]]);
    equal(
      new Timeline({ header, start, network: [append, vote], steps: [] }).all.map(
        (message) => message.from,
      ),
      ['server 1', 'server 2'],
    );
  },
  messages_of_a_window_are_those_that_a_look_at_all_finds(equal) {
    const timeline = new Timeline(long(40));
    for (const [from, to] of [
      [0, 3],
      [1, 5],
      [60, 70],
      [100, 140],
      [236, 240],
      [0, 240],
    ]) {
      const touched = new Set(timeline.touched(from, to));
      const within = (/** @type {number} */ n) => n >= Math.max(from, 1) && n <= to;
      for (const { id, sentAt, sentAgain, delivered, dropped } of timeline.all) {
        const ends = [sentAt, ...sentAgain, ...delivered, ...dropped].some(within);
        const passes = sentAt < from && delivered.some((n) => n > to);
        if ((ends || passes) && !touched.has(id))
          throw new Error(`${id} is missing from ${from} to ${to}`);
      }
      const seen = [...touched].filter((id) => timeline.all[id - 1].sentAt > to);
      equal(seen, []);
    }
    // One that arrives again, long after it was sent, passes over all between.
    const { header, start, steps } = run();
    const again = new Timeline({
      header,
      start,
      steps: [...steps, ...long(4).steps.slice(6), steps[1]],
    });
    equal(again.touched(steps.length + 4, steps.length + 6).includes(1), true);
  },
  jump_shows_the_same_as_walking_there(equal) {
    const data = long(40);
    const whole = new Timeline(data);
    for (const n of [0, 1, 63, 64, 65, 127, 128, 129, 200, 240]) {
      const walked = new Timeline({ ...data, steps: data.steps.slice(0, n) });
      equal(ids(whole.at(n)), ids(walked.at(n)));
      equal(whole.at(n).processes, walked.at(n).processes);
    }
  },
  appended_steps_are_as_if_they_had_been_there(equal) {
    const data = long(30);
    const grown = new Timeline({ ...data, steps: data.steps.slice(0, 50) });
    grown.append(data.steps.slice(50));
    const whole = new Timeline(data);
    equal(
      [70, 180].map((n) => ids(grown.at(n))),
      [70, 180].map((n) => ids(whole.at(n))),
    );
    equal(grown.marks, whole.marks);
    equal(whole.firstSteps(4).length, 4);
  },
  part_of_a_run_has_the_numbers_of_the_whole(equal) {
    const data = long(40);
    const whole = new Timeline(data);
    const offset = 100;
    const start = whole.names.map((name) => present(whole.state(name, offset)));
    const part = new Timeline({ ...data, start, steps: data.steps.slice(offset), offset });
    equal(
      [part.length, part.last, part.at(7).n, part.at(999).n],
      [data.steps.length - offset, whole.last, offset, whole.last],
    );
    equal(
      [part.at(offset).step, part.at(offset).inFlight.some((message) => message.isNew)],
      [null, false],
    );
    for (const n of [101, 163, 164, 165, whole.last]) {
      equal(part.at(n).step, whole.at(n).step);
      equal(part.at(n).processes, whole.at(n).processes);
      // A message that was sent before the part and does not arrive in it is not known there.
      const known = new Set(part.all.map(({ envelope }) => JSON.stringify(envelope)));
      const envelopes = (/** @type {Picture} */ at) =>
        at.inFlight
          .map(({ envelope }) => JSON.stringify(envelope))
          .filter((text) => known.has(text))
          .sort();
      equal(envelopes(part.at(n)), envelopes(whole.at(n)));
    }
    equal(
      part.marks,
      whole.marks.filter((mark) => mark.step > offset),
    );
    equal(part.lastStepOf(part.names[0], offset), offset);
  },
  state_of_a_node_is_what_it_was_and_what_changed(equal) {
    // Letters in place of entries.
    const started = {
      kind: 'server',
      id: 1,
      disk: { hard_state: { current_term: 1 }, log_start: 3, log: ['c', 'd'] },
      running: { term: 1, log_start: 3, log: ['c', 'd', 'e'], store: ['a'] },
    };
    const start = [/** @type {any} */ (started)];
    /** @param {{disk: object, running: object | null}} state */
    const step = (state) => ({
      step: 1,
      process: 'server 1',
      event: 'Sync',
      state: /** @type {Snapshot} */ ({ kind: 'server', id: 1, ...state }),
    });
    const steps = [
      step({ disk: { log_start: 4, log_from: 5, log: ['e'] }, running: {} }),
      step({ disk: {}, running: { term: 2, log_start: 4, log_from: 5, log: ['x', 'y'] } }),
      step({ disk: {}, running: null }),
      step({ disk: {}, running: { term: 2, log_start: 4, log: ['d', 'e'], store: [] } }),
      step({ disk: {}, running: { log_start: 9, log_from: 9, log: ['i'] } }),
    ];
    const timeline = new Timeline({ source: 'nodes', start, steps });
    const running = (/** @type {number} */ n) => {
      const held = timeline.state('server 1', n)?.running;
      return held && [held.term, held.log_start, held.log.join(''), held.store?.join('')];
    };
    equal([1, 2, 3, 4, 5].map(running), [
      [1, 3, 'cde', 'a'],
      [2, 4, 'dxy', 'a'],
      null,
      [2, 4, 'de', ''],
      [2, 9, 'i', ''],
    ]);
    const disk = present(timeline.state('server 1', 5)?.disk);
    equal([disk.hard_state?.current_term, disk.log_start, disk.log?.join('')], [1, 4, 'de']);
  },
  marks_tell_elections_leaders_and_crashes(equal) {
    equal(
      new Timeline(run()).marks.map((mark) => [mark.step, mark.kind]),
      [
        [1, 'timeout'],
        [3, 'leader'],
        [6, 'crash'],
      ],
    );
  },
  first_steps_keep_the_messages_of_the_start(equal) {
    const { header, start, steps } = run();
    const whole = new Timeline({ header, start, network: [append], steps });
    equal(
      whole.firstSteps(2).all.map(({ id, from, to }) => [id, from, to]),
      whole.all.slice(0, 3).map(({ id, from, to }) => [id, from, to]),
    );
  },
  log_of_a_tail_knows_its_indexes(equal) {
    const entry = { term: 1, payload: 'Noop' };
    const held = logOf(
      server(1, {
        log: [entry, entry],
        log_start: 7,
        commit_index: 7,
        durable_index: 8,
        snapshot_index: 6,
      }),
    );
    equal([held.start, held.last, held.commit, held.durable, held.snapshot], [7, 8, 7, 8, 6]);
  },
  file_that_is_none_says_what_is_wrong_with_it(equal) {
    equal(fails(() => readJsonl('')).message, 'empty');
    const bad = fails(() => readJsonl('{"schema":"stateraft-trace/4"}\n{"step":'));
    equal([bad.message, bad.line], ['not-json', 2]);
    const other = fails(() => readJsonl('{"schema":"stateraft-trace/9"}'));
    equal([other.message, other.found], ['schema', 'stateraft-trace/9']);
  },
  violation_of_a_file_is_of_its_last_step(equal) {
    const { header, start, steps } = run();
    const text = [{ ...header, start, property: 'LogMatching', why: 'because' }, ...steps]
      .map((line) => JSON.stringify(line))
      .join('\n');
    equal(readJsonl(text).at(6).step?.violations, [{ property: 'LogMatching', why: 'because' }]);
  },
};
