// The scales of a chart: values and times to pixels, the ticks of the axes, and the path of a line.
//
//   const {ticks, y} = valueScale('log', values);
//   const x = timeScale({now, span}, width);

import { currentLanguage } from '../i18n.js';

export const LEFT = 50;
export const RIGHT = 10;
export const TOP = 10;
export const BOTTOM = 24;
export const HEIGHT = 190;
/** A line does not connect points that are further apart than this, in milliseconds. */
const HOLE = 3500;

/** @typedef {(value: number) => number} Position */

const height = HEIGHT - TOP - BOTTOM;

/**
 * @param {string} scale `linear` or `log`
 * @param {number[]} values
 */
export const valueScale = (scale, values) =>
  scale === 'log' ? logarithmic(values) : linear(values);

/** @param {number[]} values */
function linear(values) {
  const most = Math.max(1, ...values);
  const power = 10 ** Math.floor(Math.log10(most));
  const step =
    [0.2, 0.5, 1, 2, 5, 10].map((by) => by * power).find((by) => most / by <= 4.2) ?? power;
  const top = Math.ceil(most / step) * step;
  const ticks = [];
  for (let value = 0; value <= top + step / 2; value += step)
    ticks.push(Number(value.toPrecision(6)));
  return { ticks, y: (/** @type {number} */ value) => TOP + height * (1 - value / top) };
}

/** @param {number[]} values */
function logarithmic(values) {
  const low = Math.floor(Math.log10(Math.max(0.001, Math.min(1, ...values))));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(10, ...values))));
  const ticks = [];
  for (let power = low; power <= high; power += 1) ticks.push(10 ** power);
  return {
    ticks,
    y: (/** @type {number} */ value) =>
      TOP + height * (1 - (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low)),
  };
}

/**
 * The time `now` is at the right edge, and the time `span` seconds before it at the left edge.
 * @param {{now: number, span: number}} view
 * @param {number} width
 * @returns {Position}
 */
export function timeScale({ now, span }, width) {
  const from = now - span * 1000;
  return (at) => LEFT + ((at - from) / (span * 1000)) * (width - LEFT - RIGHT);
}

/**
 * The time at a position, the inverse of `timeScale`.
 * @param {number} x
 * @param {{now: number, span: number}} view
 * @param {number} width
 */
export const timeAt = (x, { now, span }, width) =>
  now - span * 1000 * (1 - (x - LEFT) / (width - LEFT - RIGHT));

/**
 * The ticks of the time axis.
 * @param {{now: number, span: number}} view
 * @param {number} width
 */
export function times({ now, span }, width) {
  const room = Math.max(2, Math.floor((width - LEFT) / 90));
  const step = [10, 15, 30, 60, 120, 300].find((seconds) => span / seconds <= room) ?? 300;
  const first = Math.ceil((now - span * 1000) / 1000 / step) * step * 1000;
  const ticks = [];
  for (let at = first; at <= now - span * 40; at += step * 1000)
    ticks.push({ key: `x${at}`, at, words: clock(at, step % 60 === 0) });
  return ticks;
}

/**
 * The path of a line. A sample without a value is skipped.
 * @param {any[]} rows
 * @param {string} key
 * @param {Position} x
 * @param {Position} y
 */
export function linePath(rows, key, x, y) {
  let d = '';
  let last = null;
  for (const row of rows) {
    const value = row[key];
    if (value === null || value === undefined) continue;
    d += `${last !== null && row.at - last < HOLE ? 'L' : 'M'}${x(row.at).toFixed(1)} ${y(value).toFixed(1)}`;
    // A single value is a dot.
    if (last === null || row.at - last >= HOLE) d += 'h0.01';
    last = row.at;
  }
  return d;
}

/**
 * The index of the row nearest to a time.
 * @param {{at: number}[]} rows
 * @param {number} at
 */
export function nearest(rows, at) {
  let best = 0;
  rows.forEach((row, place) => {
    if (Math.abs(row.at - at) < Math.abs(rows[best].at - at)) best = place;
  });
  return best;
}

/**
 * The time of day.
 * @param {number} at
 */
export function clock(at, short = false) {
  return new Date(at).toLocaleTimeString(
    currentLanguage() === 'es' ? 'es-ES' : 'en-GB',
    short ? { hour: '2-digit', minute: '2-digit' } : undefined,
  );
}
