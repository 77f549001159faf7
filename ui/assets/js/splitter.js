// A movable line between two panels: with the pointer, or with the arrow keys (Home and End for the
// limits, Enter or a double click for the default size). The selected size is kept.
//
//   const line = Splitter({name: 'actions', label: t('..'), of: bench, panel, axis: 'x', side: 1, least: 200, most: 0.4});
//   bench.append(panel, line, rest);
//
// The size of `panel` is the custom property `--NAME` of `of`, for the style sheet; `side` is 1 if the
// panel is before the line and -1 if it is after it; `most` is a fraction of the window. In a window
// that is too small for the selected size, the panel is smaller.

import { h, set } from './dom.js';

const KEPT = 'stateraft.sizes';
const STEP = 16;

function kept() {
  try {
    return JSON.parse(localStorage.getItem(KEPT) ?? '{}') ?? {};
  } catch {
    return {};
  }
}

/**
 * @param {{
 *   name: string, label: string, of: HTMLElement, panel: HTMLElement, axis: 'x' | 'y', side: 1 | -1,
 *   least: number, most: number,
 * }} options
 */
export function Splitter({ name, label, of, panel, axis, side, least, most }) {
  const isWide = axis === 'x';
  const line = h('div', {
    class: `splitter is-${axis}`,
    role: 'separator',
    tabindex: 0,
    'aria-label': label,
    title: label,
    'aria-orientation': isWide ? 'vertical' : 'horizontal',
    'data-panel': name,
    onkeydown: keys,
    onpointerdown: grab,
    ondblclick: () => resize(null),
  });
  const limit = () => Math.max(least, Math.round((isWide ? innerWidth : innerHeight) * most));
  const size = () => Math.round(panel.getBoundingClientRect()[isWide ? 'width' : 'height']);

  /**
   * Sets the size in pixels; `null` restores the default.
   * @param {number | null} pixels
   */
  function resize(pixels) {
    const chosen = pixels === null ? null : Math.max(least, Math.min(limit(), Math.round(pixels)));
    apply(chosen);
    const all = kept();
    if (chosen === null) delete all[name];
    else all[name] = chosen;
    try {
      localStorage.setItem(KEPT, JSON.stringify(all));
    } catch {
      /* Without storage the size lasts until the page is closed. */
    }
  }

  /** @param {number | null} pixels */
  function apply(pixels) {
    if (pixels === null) of.style.removeProperty(`--${name}`);
    else
      of.style.setProperty(
        `--${name}`,
        `clamp(${least}px, ${pixels}px, ${most * 100}${isWide ? 'vw' : 'vh'})`,
      );
  }

  function tell() {
    set(line, { 'aria-valuemin': least, 'aria-valuemax': limit(), 'aria-valuenow': size() });
  }

  /** @param {KeyboardEvent} event */
  function keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const [less, more] = isWide ? ['ArrowLeft', 'ArrowRight'] : ['ArrowUp', 'ArrowDown'];
    const to = {
      [less]: () => size() - side * STEP,
      [more]: () => size() + side * STEP,
      Home: () => least,
      End: limit,
      Enter: () => null,
    }[event.key];
    if (!to) return;
    event.preventDefault();
    // The steps of a run use the same keys.
    event.stopPropagation();
    resize(to());
  }

  /** @param {PointerEvent} event */
  function grab(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    line.focus();
    line.setPointerCapture(event.pointerId);
    const place = isWide ? 'clientX' : 'clientY';
    const [from, was] = [event[place], size()];
    /** @param {PointerEvent} moved */
    const move = (moved) => resize(was + side * (moved[place] - from));
    line.addEventListener('pointermove', move);
    line.addEventListener(
      'lostpointercapture',
      () => line.removeEventListener('pointermove', move),
      { once: true },
    );
  }

  if (typeof kept()[name] === 'number') apply(kept()[name]);
  tell();
  // The observer ends with the panel.
  new ResizeObserver(tell).observe(panel);
  return line;
}
