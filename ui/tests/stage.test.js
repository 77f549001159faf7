import { loadStrings, setLanguage } from '/ui/js/i18n.js';
import { Stage } from '/ui/js/stage.js';
import { Timeline } from '/ui/js/timeline.js';
import { present } from './present.js';
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
  async leader_shows_its_transfer_and_its_armed_timer(equal) {
    await setLanguage('en');
    await loadStrings('stage');
    /** @param {Running['transfer']} transfer */
    const shown = (transfer) => {
      const host = document.createElement('div');
      Object.assign(host.style, { width: '370px', height: '420px' });
      document.body.append(host);
      const stage = Stage(host);
      const start = [server(1, { role: 'leader', leader: 1, transfer }), server(2)];
      stage.update({ at: new Timeline({ header: {}, start, steps: [] }).at(0) });
      const leader = present(stage.picture.querySelector('.process.is-leader'));
      const facts = [...leader.querySelectorAll('.fact')].map((fact) => fact.textContent);
      const isArmed = leader.querySelector('.timer.is-armed') !== null;
      const about = leader.getAttribute('aria-label')?.split(', ').slice(-2).join(', ');
      stage.destroy();
      host.remove();
      return [facts.at(-1), isArmed, about];
    };
    equal(shown(null), ['commit 0', false, 'leader 1, commit 0 of 0']);
    equal(shown({ target: 2, is_requested: false }), [
      'transfer to S2',
      true,
      'leadership transfer to S2, TimeoutNow not sent yet',
    ]);
    equal(shown({ target: 2, is_requested: true }), [
      'TimeoutNow to S2',
      true,
      'leadership transfer to S2, TimeoutNow sent',
    ]);
  },
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
