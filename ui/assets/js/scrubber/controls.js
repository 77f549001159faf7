// The elements of the scrubber: buttons, a slider, an input for a step number, and the speed.
//
//   const controls = Controls({onMove(move), onPlay(), onTyped(text), marks});
//   controls.update({now, least, most, isNext});
//   controls.drawPlay(isPlaying);

import { h, replace, set, text } from '../dom.js';
import { t } from '../i18n.js';

/**
 * @typedef {import('./playback.js').Range} Range
 * A target, as a function of the current positions.
 * @typedef {(range: Range) => number} Move
 */

const SPEEDS = [0.5, 1, 2, 5, 20];

/** @type {Record<'start' | 'back' | 'forward' | 'end', Move>} */
export const MOVES = {
  start: ({ least }) => least,
  back: ({ now }) => now - 1,
  forward: ({ now }) => now + 1,
  end: ({ most }) => most,
};

/**
 * `onTyped` receives the text of the input for a step number.
 * @param {{
 *   onMove: (move: Move) => void, onPlay: () => void, onTyped: (typed: string) => void,
 *   marks: Element,
 * }} options
 */
export function Controls({ onMove, onPlay, onTyped, marks }) {
  /**
   * @param {Content} words
   * @param {string} name
   * @param {() => void} run
   */
  const button = (words, name, run) =>
    h('button', { type: 'button', 'aria-label': t(name), title: t(name), onclick: run }, words);
  const first = button('|◀', 'stage.go-start', () => onMove(MOVES.start));
  const backWords = ['◀ ', h('span', { class: 'wide-only' }, t('stage.back'))];
  const back = button(backWords, 'stage.go-back', () => onMove(MOVES.back));
  const play = button('', 'stage.play', onPlay);
  const forwardWords = [h('span', {}, t('stage.next')), ' ▶'];
  const forward = button(forwardWords, 'stage.go-forward', () => onMove(MOVES.forward));
  const last = button('▶|', 'stage.go-end', () => onMove(MOVES.end));
  const range = h('input', {
    type: 'range',
    min: 0,
    step: 1,
    'aria-label': t('stage.scrub'),
    oninput: () => onMove(() => Number(range.value)),
  });
  const where = h('input', {
    type: 'text',
    inputmode: 'numeric',
    class: 'scrub-where',
    'aria-label': t('stage.go-to'),
    onchange: () => onTyped(where.value),
    onfocus: () => where.select(),
  });
  const of = h('span', { class: 'dim' });
  const speed = h(
    'select',
    { class: 'quiet', 'aria-label': t('stage.speed') },
    SPEEDS.map((times) => h('option', { value: times, selected: times === 1 }, `${times}×`)),
  );
  const element = h(
    'div',
    { class: 'scrubber', role: 'group', 'aria-label': t('stage.scrub') },
    h('div', { class: 'scrub-buttons' }, first, back, play, forward, last),
    h('div', { class: 'scrub-track' }, marks, range),
    h('div', { class: 'scrub-where-box' }, where, of, speed),
  );

  return {
    element,
    range,
    /** The selected speed; 1 is the normal one. */
    get speed() {
      return Number(speed.value);
    },
    /** @param {number} n */
    showStep(n) {
      where.value = String(n);
    },
    /** @param {boolean} isPlaying */
    drawPlay(isPlaying) {
      const name = t(isPlaying ? 'stage.pause' : 'stage.play');
      replace(play, isPlaying ? '❚❚' : '▶', h('span', { class: 'wide-only' }, name));
      set(play, { 'aria-label': name, title: name });
    },
    /** @param {Range & {isNext: boolean}} shown */
    update({ now, least, most, isNext }) {
      set(range, { min: least, max: most });
      range.value = String(now);
      range.setAttribute('aria-valuetext', t('stage.step-of', { n: now, of: most }));
      // Room for the long step numbers of a long run.
      where.style.minWidth = `${String(most).length + 2}ch`;
      if (document.activeElement !== where) where.value = String(now);
      text(of, ` / ${most}`);
      for (const one of [first, back]) one.disabled = now <= least;
      for (const one of [forward, last]) one.disabled = now >= most;
      play.disabled = most === least;
      forward.classList.toggle('primary', isNext && now < most);
    },
  };
}
