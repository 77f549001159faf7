// The scrubber: playing a run, and the marks above the slider.

import { severest } from '/ui/js/scrubber/marks.js';
import { Playback } from '/ui/js/scrubber/playback.js';
import { Timeline } from '/ui/js/timeline.js';
import { run } from './samples.js';

/**
 * Plays from step `now` to the end of a run of four steps. Returns the steps shown, and the changes.
 * @param {number} now
 */
function play(now) {
  /** @type {(number | boolean)[]} */
  const log = [];
  return new Promise((done) => {
    const playback = new Playback({
      range: () => ({ now, least: 0, most: 4 }),
      pace: () => 0,
      onGoto(n) {
        now = n;
        log.push(n);
      },
      onChange(isPlaying) {
        log.push(isPlaying);
        if (!isPlaying) done(log);
      },
    });
    playback.start();
  });
}

/** @type {PageTests} */
export const tests = {
  async playing_ends_at_the_last_step(equal) {
    equal(await play(2), [true, 3, 4, false]);
  },
  async playing_at_the_end_begins_at_the_start(equal) {
    equal(await play(4), [0, true, 1, 2, 3, 4, false]);
  },
  position_has_one_mark_the_most_severe(equal) {
    const timeline = new Timeline(run());
    const marks = ['leader', 'violation', 'timeout'].map((kind) => ({
      step: 2,
      process: 'server 1',
      kind,
    }));
    timeline.marks = [...marks, { step: 5, process: 'server 2', kind: 'crash' }];
    equal(
      severest(timeline).map(({ step, kind }) => [step, kind]),
      [
        [2, 'violation'],
        [5, 'crash'],
      ],
    );
  },
};
