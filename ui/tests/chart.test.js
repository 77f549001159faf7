// The scales of a chart, and the path of a line.

import { linePath, nearest, timeAt, timeScale, valueScale } from '/ui/js/live/chart-scale.js';

/** @type {PageTests} */
export const tests = {
  line_does_not_connect_samples_across_a_gap(equal) {
    const rows = [
      { at: 0, value: 1 },
      { at: 1000, value: null },
      { at: 2000, value: 2 },
      { at: 9000, value: 3 },
    ];
    const path = linePath(
      rows,
      'value',
      (at) => at / 1000,
      (value) => value,
    );
    equal(path, 'M0.0 1.0h0.01L2.0 2.0M9.0 3.0h0.01');
  },
  position_of_a_time_leads_back_to_it(equal) {
    const view = { now: 1_000_000, span: 120 };
    const x = timeScale(view, 640);
    equal(
      [880_000, 930_000, 1_000_000].map((at) => Math.round(timeAt(x(at), view, 640))),
      [880_000, 930_000, 1_000_000],
    );
  },
  axis_contains_all_values(equal) {
    for (const scale of ['linear', 'log']) {
      for (const values of [[], [0.2], [3, 47], [12_345]]) {
        const { ticks, y } = valueScale(scale, values);
        const [least, most] = [Math.min(...ticks), Math.max(...ticks)];
        equal(
          [scale, values, values.every((value) => value >= least && value <= most)],
          [scale, values, true],
        );
        equal([scale, values, y(most) < y(least)], [scale, values, true]);
      }
    }
  },
  nearest_sample_to_a_time_is_selected(equal) {
    const rows = [{ at: 0 }, { at: 1000 }, { at: 3000 }];
    equal(
      [-5, 400, 1900, 2100, 9000].map((at) => nearest(rows, at)),
      [0, 0, 1, 2, 2],
    );
  },
};
