// The picture of a chart: the grid, the marks, the lines, and the line at the selected time.
//
//   const picture = ChartPicture({lines, scale, show});
//   picture.element
//   picture.draw({rows, marks, view, width, here});

import { keyed, set, svg, text } from '../dom.js';
import {
  BOTTOM,
  HEIGHT,
  LEFT,
  RIGHT,
  TOP,
  linePath,
  times,
  timeScale,
  valueScale,
} from './chart-scale.js';

/**
 * @typedef {{key: string, name: string, cls: string}} ChartLine
 * @typedef {{key: string, at: number, cls: string, about: string}} ChartMark
 * @typedef {{key: string, value?: number, at?: number, words?: string}} Tick
 * @typedef {import('./chart-scale.js').Position} Position
 */

/** @param {{lines: ChartLine[], scale: string, show: (value: number) => string}} options */
export function ChartPicture({ lines, scale, show }) {
  const grid = svg('g', { class: 'chart-grid' });
  const marks = svg('g', { class: 'chart-marks' });
  const paths = svg('g', { class: 'chart-lines' });
  const cursorLine = svg('line', {});
  const cursor = svg('g', { class: 'chart-cursor' }, cursorLine);
  const layers = [grid, marks, paths, cursor];
  const element = svg('svg', { class: 'chart-picture', role: 'img', tabindex: 0 }, layers);

  /**
   * @param {Tick[]} ticks
   * @param {Position} x
   * @param {Position} y
   * @param {number} width
   */
  function drawGrid(ticks, x, y, width) {
    /**
     * @param {PageElement} group
     * @param {Tick} tick
     */
    const update = (group, { value, at, words: time = '' }) => {
      const [line, words] = group.children;
      if (value !== undefined) {
        set(line, { x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) });
        set(words, { x: LEFT - 6, y: y(value), dy: '0.32em', 'text-anchor': 'end' });
        text(words, show(value));
      } else if (at !== undefined) {
        set(line, { x1: x(at), x2: x(at), y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM + 4 });
        set(words, { x: x(at), y: HEIGHT - 6, 'text-anchor': 'middle' });
        text(words, time);
      }
    };
    const make = () => svg('g', {}, svg('line', {}), svg('text', {}));
    keyed(grid, ticks, ({ key }) => key, make, update);
  }

  /**
   * @param {ChartMark[]} list
   * @param {Position} x
   */
  function drawMarks(list, x) {
    /**
     * @param {PageElement} group
     * @param {ChartMark} mark
     */
    const update = (group, mark) => {
      const [about, line, sign] = group.children;
      set(group, { class: mark.cls });
      text(about, mark.about);
      set(line, { x1: x(mark.at), x2: x(mark.at), y1: TOP, y2: HEIGHT - BOTTOM });
      set(sign, { d: signOf(mark, x(mark.at)) });
    };
    const make = () => svg('g', {}, svg('title', {}), svg('line', {}), svg('path', {}));
    keyed(marks, list, ({ key }) => key, make, update);
  }

  return {
    element,
    /**
     * `here` is the row at the selected time, if one is selected.
     * @param {{
     *   rows: any[], marks: ChartMark[], view: {now: number, span: number}, width: number,
     *   here: any | null,
     * }} drawn
     */
    draw({ rows, marks: list, view, width, here }) {
      set(element, { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}` });
      const values = rows.flatMap((row) =>
        lines.map(({ key }) => row[key]).filter((value) => value !== null && value > 0),
      );
      const { ticks, y } = valueScale(scale, values);
      const x = timeScale(view, width);
      const levels = ticks.map((value) => ({ key: `y${value}`, value }));
      drawGrid([...levels, ...times(view, width)], x, y, width);
      drawMarks(list, x);
      keyed(
        paths,
        lines,
        ({ key }) => key,
        () => svg('path', {}),
        (path, { key, cls }) => set(path, { class: `line ${cls}`, d: linePath(rows, key, x, y) }),
      );
      cursor.style.display = here ? '' : 'none';
      if (here) set(cursorLine, { x1: x(here.at), x2: x(here.at), y1: TOP, y2: HEIGHT - BOTTOM });
    },
  };
}

/**
 * A crown for a new leader, a cross for a fault.
 * @param {ChartMark} mark
 * @param {number} x
 */
function signOf({ cls }, x) {
  const f = x.toFixed(1);
  return cls === 'is-bad'
    ? `M${f} ${TOP - 3}m-3.5 -3.5l7 7m-7 0l7 -7`
    : `M${f} ${TOP + 1}l-4.5 -7h9z`;
}
