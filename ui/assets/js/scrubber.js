// The position in a run, and the controls that change it.
//
//   const scrubber = Scrubber(host, {onGoto(n), onPlay(playing)});
//   scrubber.update({timeline, at: timeline.at(n), next?: boolean});
//   scrubber.key(event): handles its own keys (see `scrubberShortcuts`); returns whether it did.
//
// `next: true` highlights the forward button. Playing calls `onGoto` for each step until the end, or
// until the position changes in another way.
//
// The parts: `scrubber/controls.js` (the elements), `scrubber/marks.js` (the marks above the slider),
// `scrubber/playback.js` (playing).

import { closest } from './dom.js';
import { t } from './i18n.js';
import { Controls, MOVES } from './scrubber/controls.js';
import { Marks } from './scrubber/marks.js';
import { Playback } from './scrubber/playback.js';

/** @typedef {{timeline: Timeline, at: Picture, next?: boolean}} ScrubberView */

/** The time between two steps at normal speed, in milliseconds. */
const PACE = 1100;
/** Elements that have keys of their own. */
const KEEPS_KEYS =
  'input:not([type="range"]), textarea, select, [role="tree"], [role="tab"], dialog';

export const scrubberShortcuts = () => [
  { keys: '← →', what: t('stage.key-step') },
  { keys: t('stage.keys-ends'), what: t('stage.key-ends') },
  { keys: t('stage.keys-play'), what: t('stage.key-play') },
];

/**
 * @param {HTMLElement} host
 * @param {{onGoto?: (n: number) => void, onPlay?: (playing: boolean) => void}} [options]
 */
export function Scrubber(host, { onGoto = () => {}, onPlay = () => {} } = {}) {
  /** @type {ScrubberView | undefined} */
  let view;
  const range = () => ({
    now: view?.at.n ?? 0,
    least: view?.timeline.offset ?? 0,
    most: view?.timeline.last ?? 0,
  });
  const playback = new Playback({
    range,
    pace: () => PACE / controls.speed,
    onGoto,
    onChange(isPlaying) {
      onPlay(isPlaying);
      controls.drawPlay(isPlaying);
    },
  });
  const marks = Marks();
  const controls = Controls({
    onMove: (move) => go(move(range())),
    onPlay: () => playback.toggle(),
    onTyped(typed) {
      const n = Number.parseInt(typed, 10);
      if (Number.isNaN(n)) controls.showStep(range().now);
      else go(n);
    },
    marks: marks.element,
  });
  controls.drawPlay(false);
  host.append(controls.element);

  /** @param {number} n */
  function go(n) {
    const { now, least, most } = range();
    n = Math.max(least, Math.min(most, n));
    playback.stop();
    if (n !== now) onGoto(n);
  }

  /** @param {KeyboardEvent} event */
  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || closest(event, KEEPS_KEYS)) return false;
    const move = {
      ArrowLeft: MOVES.back,
      ArrowRight: MOVES.forward,
      Home: MOVES.start,
      End: MOVES.end,
    }[event.key];
    const isOnRange = event.target === controls.range;
    // The space bar activates these elements.
    const plays = event.key === ' ' && !closest(event, 'button, a, [role="button"], summary');
    if (move && !isOnRange) go(move(range()));
    else if (plays) playback.toggle();
    else return false;
    event.preventDefault();
    return true;
  }

  return {
    /** @param {ScrubberView} next */
    update(next) {
      view = next;
      controls.update({ ...range(), isNext: next.next === true });
      marks.update(next.timeline);
    },
    key,
    play: () => playback.start(),
    pause: () => playback.stop(),
    get isPlaying() {
      return playback.isPlaying;
    },
    destroy() {
      playback.destroy();
      controls.element.remove();
    },
  };
}
