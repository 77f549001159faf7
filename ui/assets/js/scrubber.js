// The position in a run, and the controls that change it.
//
//   const scrubber = Scrubber(host, {onGoto(n), onPlay(playing)});
//   scrubber.update({timeline, at: timeline.at(n), next?: boolean});
//   scrubber.key(event): handles its own keys (see `shortcuts`); returns whether it did.
//
// `next: true` highlights the forward button. Playing calls `onGoto` for each step until the end, or
// until the position changes in another way.

import { closest, h, replace, set, svg, text } from './dom.js';
import { t } from './i18n.js';

/** @typedef {{timeline: Timeline, at: Picture, next?: boolean}} ScrubberView */

const SPEEDS = [0.5, 1, 2, 5, 20];

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
  /**
   * @param {Content} words
   * @param {string} name
   * @param {() => void} run
   */
  const button = (words, name, run, cls = '') =>
    h(
      'button',
      { type: 'button', class: cls, 'aria-label': t(name), title: t(name), onclick: run },
      words,
    );
  const first = button('|◀', 'stage.go-start', () => go(least()));
  const back = button(
    ['◀ ', h('span', { class: 'wide-only' }, t('stage.back'))],
    'stage.go-back',
    () => go(now() - 1),
  );
  const play = button('', 'stage.play', () => setPlaying(!timer));
  const forward = button([h('span', {}, t('stage.next')), ' ▶'], 'stage.go-forward', () =>
    go(now() + 1),
  );
  const last = button('▶|', 'stage.go-end', () => go(most()));
  const range = h('input', {
    type: 'range',
    min: 0,
    step: 1,
    'aria-label': t('stage.scrub'),
    oninput: () => go(Number(range.value)),
  });
  const marks = svg('svg', {
    class: 'scrub-marks',
    'aria-hidden': 'true',
    preserveAspectRatio: 'none',
  });
  const where = h('input', {
    type: 'text',
    inputmode: 'numeric',
    class: 'scrub-where',
    'aria-label': t('stage.go-to'),
    onchange: () => goTyped(),
    onfocus: () => where.select(),
  });
  const of = h('span', { class: 'dim' });
  const speed = h(
    'select',
    { class: 'quiet', 'aria-label': t('stage.speed') },
    SPEEDS.map((times) => h('option', { value: times, selected: times === 1 }, `${times}×`)),
  );
  const box = h(
    'div',
    { class: 'scrubber', role: 'group', 'aria-label': t('stage.scrub') },
    h('div', { class: 'scrub-buttons' }, first, back, play, forward, last),
    h('div', { class: 'scrub-track' }, marks, range),
    h('div', { class: 'scrub-where-box' }, where, of, speed),
  );
  host.append(box);

  /** @type {ScrubberView} */
  let view;
  let timer = 0;
  /** @type {{timeline: Timeline, signature: string} | null} */
  let drawn = null;
  const now = () => view?.at.n ?? 0;
  const least = () => view?.timeline.offset ?? 0;
  const most = () => view?.timeline.last ?? 0;

  /** @param {number} n */
  function go(n) {
    n = Math.max(least(), Math.min(most(), n));
    setPlaying(false);
    if (n !== now()) onGoto(n);
  }

  function goTyped() {
    const n = Number.parseInt(where.value, 10);
    if (Number.isNaN(n)) where.value = String(now());
    else go(n);
  }

  /** @param {boolean} on */
  function setPlaying(on) {
    clearTimeout(timer);
    const was = timer !== 0;
    timer = 0;
    if (on) {
      if (now() >= most()) onGoto(least());
      tick();
    }
    if (was !== (timer !== 0)) onPlay(timer !== 0);
    drawPlay();
  }

  function tick() {
    timer = setTimeout(
      () => {
        if (now() >= most()) {
          setPlaying(false);
          return;
        }
        onGoto(now() + 1);
        if (now() < most()) tick();
        else setPlaying(false);
      },
      1100 / Number(speed.value),
    );
  }

  function drawPlay() {
    const on = timer !== 0;
    replace(
      play,
      on ? '❚❚' : '▶',
      h('span', { class: 'wide-only' }, t(on ? 'stage.pause' : 'stage.play')),
    );
    set(play, {
      'aria-label': t(on ? 'stage.pause' : 'stage.play'),
      title: t(on ? 'stage.pause' : 'stage.play'),
    });
  }

  function drawMarks() {
    const { timeline } = view;
    const signature = `${timeline.length}/${timeline.marks.length}`;
    if (drawn?.timeline === timeline && drawn.signature === signature) return;
    drawn = { timeline, signature };
    const total = Math.max(1, timeline.length);
    /** @param {number} step */
    const share = (step) => (step - timeline.offset) / total;
    set(marks, { viewBox: `0 0 1000 10` });
    // At most one mark for each distinguishable position: the most severe.
    const grave = ['timeout', 'restart', 'leader', 'crash', 'broken'];
    const places = new Map();
    for (const mark of timeline.marks) {
      if (!grave.includes(mark.kind)) continue;
      const place = Math.round(share(mark.step) * 400);
      if (!places.has(place) || grave.indexOf(places.get(place).kind) < grave.indexOf(mark.kind))
        places.set(place, mark);
    }
    marks.replaceChildren(
      ...[...places.values()].map((mark) =>
        svg('rect', {
          class: `mark is-${mark.kind}`,
          x: share(mark.step) * 1000 - 1.5,
          y: mark.kind === 'timeout' ? 4 : 0,
          width: 3,
          height: mark.kind === 'timeout' ? 6 : 10,
        }),
      ),
    );
  }

  drawPlay();
  return {
    /** @param {ScrubberView} next */
    update(next) {
      view = next;
      const [n, total] = [now(), most()];
      set(range, { min: least(), max: total });
      range.value = String(n);
      range.setAttribute('aria-valuetext', t('stage.step-of', { n, of: total }));
      // Room for the long step numbers of a long run.
      where.style.minWidth = `${String(total).length + 2}ch`;
      if (document.activeElement !== where) where.value = String(n);
      text(of, ` / ${total}`);
      for (const one of [first, back]) one.disabled = n <= least();
      for (const one of [forward, last]) one.disabled = n >= total;
      play.disabled = total === least();
      forward.classList.toggle('primary', next.next === true && n < total);
      drawMarks();
    },
    /** @param {KeyboardEvent} event */
    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return false;
      // Form fields keep their keys, and so do elements that the space bar activates.
      if (
        closest(
          event,
          'input:not([type="range"]), textarea, select, [role="tree"], [role="tab"], dialog',
        )
      )
        return false;
      const run = {
        ArrowLeft: () => go(now() - 1),
        ArrowRight: () => go(now() + 1),
        Home: () => go(least()),
        End: () => go(most()),
      }[event.key];
      if (run && event.target !== range) {
        event.preventDefault();
        run();
        return true;
      }
      if (event.key === ' ' && !closest(event, 'button, a, [role="button"], summary')) {
        event.preventDefault();
        setPlaying(!timer);
        return true;
      }
      return false;
    },
    play: () => setPlaying(true),
    pause: () => setPlaying(false),
    get isPlaying() {
      return timer !== 0;
    },
    destroy() {
      clearTimeout(timer);
      box.remove();
    },
  };
}
