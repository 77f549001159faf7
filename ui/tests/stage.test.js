import { loadStrings } from '/ui/js/i18n.js';
import { Stage } from '/ui/js/stage.js';
import { Timeline } from '/ui/js/timeline.js';
import { server } from './samples.js';

/** A follower whose log is as long as a busy cluster's is after a day. */
const busy = (/** @type {number} */ id) =>
  server(id, {
    leader: 1,
    commit_index: 12_345_678,
    log_start: 12_345_678,
    log: [{ term: 1, payload: 'Noop' }],
  });

/** @type {PageTests} */
export const tests = {
  async words_beside_a_server_stay_in_the_picture(equal) {
    await loadStrings('stage');
    for (const [count, width, height] of [
      [3, 880, 480],
      [5, 880, 480],
      [3, 600, 480],
      [3, 370, 420],
      [5, 370, 420],
    ]) {
      const host = document.createElement('div');
      Object.assign(host.style, { width: `${width}px`, height: `${height}px` });
      document.body.append(host);
      const start = Array.from({ length: count }, (_, place) => busy(place + 1));
      const stage = Stage(host);
      stage.update({ at: new Timeline({ header: {}, start, steps: [] }).at(0) });
      const all = stage.picture.getBoundingClientRect();
      const words = [...stage.picture.querySelectorAll('.fact')];
      const outside = words.filter((word) => {
        const box = word.getBoundingClientRect();
        return (
          box.left < all.left ||
          box.right > all.right ||
          box.top < all.top ||
          box.bottom > all.bottom
        );
      });
      equal(
        [count, width, words.length >= 2 * count, outside.map((word) => word.textContent)],
        [count, width, true, []],
      );
      stage.destroy();
      host.remove();
    }
  },
};
