// The list of actions: its groups, and its search.

import { matches } from '/ui/js/explore/action-filter.js';
import { groupsOf } from '/ui/js/explore/action-groups.js';
import { sentenceOf, wordsOf } from '/ui/js/explore/actions.js';
import { loadStrings, setLanguage } from '/ui/js/i18n.js';
import { Timeline } from '/ui/js/timeline.js';
import { run } from './samples.js';

/**
 * @param {string} key
 * @param {string} kind
 * @param {Partial<Action>} [more]
 * @returns {Action}
 */
const action = (key, kind, more = {}) => ({
  key,
  kind,
  process: 'server 1',
  message: null,
  label: '',
  allowed: true,
  why_not: null,
  cause: null,
  effect: true,
  ...more,
});

const names = ['server 1', 'server 2'];
/** @param {Action[]} list */
const keysOf = (list) => list.map(({ key }) => key);

/** @type {PageTests} */
export const tests = {
  delivery_of_a_dropped_message_is_an_old_one(equal) {
    const all = [
      action('1d1', 'deliver', { message: 1 }),
      action('x1', 'drop', { message: 1 }),
      action('1d2', 'deliver', { message: 2, allowed: false }),
      action('x2', 'drop', { message: 2, allowed: false }),
      action('1d3', 'again', { message: 3 }),
    ];
    const [{ fresh, old, lonely }, ...others] = groupsOf(names, all, all, true);
    equal([keysOf(fresh), keysOf(old), lonely, others], [['1d1'], ['1d2', '1d3'], [], []]);
  },
  drop_without_a_delivery_in_the_list_has_a_row_if_drops_are_selected(equal) {
    const all = [
      action('1d1', 'deliver', { message: 1 }),
      action('x1', 'drop', { message: 1 }),
      action('x2', 'drop', { message: 2, allowed: false }),
    ];
    const drops = all.filter(({ kind }) => kind === 'drop');
    equal(keysOf(groupsOf(names, all, drops, true)[0].lonely), ['x1']);
    equal(groupsOf(names, all, drops, false)[0].lonely, []);
  },
  allowed_actions_precede_forbidden_ones(equal) {
    const all = [action('1e', 'timeout', { allowed: false }), action('1h', 'heartbeat')];
    equal(keysOf(groupsOf(names, all, all, false)[0].plain), ['1h', '1e']);
  },
  async transfer_names_its_target(equal) {
    await setLanguage('en');
    await loadStrings('shell', 'stage', 'explore');
    const timeline = new Timeline(run());
    const transfer = action('1l2', 'transfer');
    const abort = action('1e', 'abort-transfer');
    equal(
      [transfer, abort].map((one) => wordsOf(one, timeline).says),
      ['Transfer leadership to S2', 'Abort the transfer'],
    );
    const view = { at: timeline.at(0), timeline, list: null, selected: null };
    equal(
      sentenceOf(transfer, view),
      'Server 1 starts to transfer its leadership to server 2: it refuses requests, brings the log of server 2 up to date and then sends TimeoutNow.',
    );
  },
  async search_finds_all_words_of_a_query_in_any_order(equal) {
    await setLanguage('en');
    await loadStrings('shell', 'stage', 'explore');
    const timeline = new Timeline(run());
    const delivery = action('2d1', 'deliver', { process: 'server 2', message: 1 });
    equal(
      ['', 's2 requestvote', 'VOTE server', 's2 heartbeat'].map((query) =>
        matches(query, delivery, timeline),
      ),
      [true, true, true, false],
    );
  },
};
