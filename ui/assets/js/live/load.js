// The load of the cluster: charts of the throughput and of the latency over a span of time.
//
//   const load = Load(panel);
//   load.take(state.samples);            // after new samples
//   load.update(state);                  // draws, at the current time
//   load.row                             // the values of the last sample, or undefined

import { h } from '../dom.js';
import { number, t } from '../i18n.js';
import { Chart } from './chart.js';
import { marksOf } from './events.js';
import { figures } from './state.js';

/** The spans to select from, in seconds. */
const SPANS = [60, 120, 300, 600];

/**
 * Operations per second, with the digits that matter.
 * @param {number} value
 */
export const rate = (value) => number(value, value < 10 ? 1 : 0);

/** @param {number} value */
function milliseconds(value) {
  if (value < 1) return number(value, 2);
  return number(value, value < 10 ? 1 : 0);
}

/** @param {HTMLElement} panel */
export function Load(panel) {
  let span = 120;
  /** @type {Figures[]} */
  let rows = [];
  /** The offset of the proxy's clock from the local clock, in milliseconds. */
  let ahead = 0;
  /** @type {ReturnType<typeof marksOf>} */
  let marks = [];

  /** @param {number} seconds */
  const option = (seconds) =>
    h(
      'option',
      { value: seconds, selected: seconds === span },
      t('live.last-minutes', { n: seconds / 60 }),
    );
  const onchange = () => {
    span = Number(spans.value);
    draw();
  };
  const spans = h('select', { id: 'live-span', onchange }, SPANS.map(option));
  const charts = h('div', { class: 'live-charts' });
  panel.append(
    h(
      'div',
      { class: 'row' },
      h('label', { class: 'small', for: 'live-span' }, t('live.span')),
      spans,
      h('span', { class: 'small dim' }, t('live.marks')),
    ),
    charts,
  );
  /**
   * @param {string} key
   * @param {string} name
   * @param {string} cls
   */
  const line = (key, name, cls) => ({ key, name: t(`live.${name}`), cls });
  const throughput = Chart(charts, {
    title: t('live.throughput'),
    unit: t('live.per-second'),
    show: rate,
    lines: [
      line('writes', 'writes', 'is-write'),
      line('reads', 'reads', 'is-read'),
      line('failed', 'failed', 'is-failed'),
    ],
  });
  const latency = Chart(charts, {
    title: t('live.latency'),
    unit: t('live.milliseconds'),
    scale: 'log',
    show: milliseconds,
    lines: [
      line('w50', 'writes-p50', 'is-write'),
      line('w99', 'writes-p99', 'is-write is-far'),
      line('r50', 'reads-p50', 'is-read'),
      line('r99', 'reads-p99', 'is-read is-far'),
    ],
  });

  function draw() {
    const view = { rows, span, marks, now: Date.now() + ahead };
    throughput.update(view);
    latency.update(view);
  }

  return {
    /** @returns {Figures | undefined} */
    get row() {
      return rows.at(-1);
    },
    /**
     * Takes the samples, which are new now.
     * @param {Sample[]} samples
     */
    take(samples) {
      rows = samples.map(figures);
      const last = rows.at(-1);
      ahead = last ? last.at - Date.now() : 0;
    },
    /** @param {import('./state.js').State} state */
    update(state) {
      marks = marksOf(state.events);
      draw();
    },
    destroy() {
      throughput.destroy();
      latency.destroy();
    },
  };
}
