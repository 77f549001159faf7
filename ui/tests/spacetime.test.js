// The space-time diagram: its lanes, its scale, and its keys.

import { Lanes } from '/ui/js/spacetime/lanes.js';
import { Scale, stepOfKey } from '/ui/js/spacetime/scale.js';
import { Timeline } from '/ui/js/timeline.js';
import { run } from './samples.js';

/** @type {PageTests} */
export const tests = {
  low_lane_moves_the_lanes_below_it(equal) {
    const lanes = new Lanes();
    const names = ['server 1', 'server 2'];
    const tops = () => {
      lanes.layOut(names);
      return lanes.list.map(({ top }) => top);
    };
    const [first, second] = tops();
    lanes.toggleLow('server 1');
    equal(tops(), [first, second - 28]);
    lanes.toggleLow('server 1');
    equal(tops(), [first, second]);
  },
  last_lane_cannot_be_hidden(equal) {
    const lanes = new Lanes();
    const hide = (/** @type {string} */ name) => {
      lanes.hide(name);
      lanes.layOut(['server 1', 'server 2']);
    };
    lanes.layOut(['server 1', 'server 2']);
    hide('server 1');
    hide('server 2');
    equal([lanes.list.map(({ name }) => name), lanes.count], [['server 2'], 2]);
  },
  position_of_a_step_leads_back_to_it(equal) {
    const scale = new Scale({ offset: 500, last: 900 });
    equal(
      [500, 640, 900].map((step) => scale.stepAt(scale.x(step))),
      [500, 640, 900],
    );
    equal([scale.stepAt(-100), scale.stepAt(1e6)], [500, 900]);
  },
  step_out_of_view_is_scrolled_into_view(equal) {
    const scale = new Scale({ offset: 0, last: 400 });
    const visible = { left: 1000, width: 500 };
    equal(scale.inSight(45, visible), 1000);
    for (const n of [0, 20, 80, 400]) {
      const left = scale.inSight(n, visible);
      const x = scale.x(n) - left;
      equal([n, left >= 0, x > 0 && x < 500], [n, true, true]);
    }
  },
  arrow_keys_move_along_a_lane_and_between_lanes(equal) {
    const timeline = new Timeline(run());
    const lanes = [{ name: 'server 1' }, { name: 'server 2' }];
    const at = timeline.at(4);
    const keys = ['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown', 'Home', 'End', 'a'];
    equal(
      keys.map((key) => stepOfKey(key, { timeline, at }, lanes)),
      [3, 5, 3, 4, 0, 6, null],
    );
  },
};
