import { State } from '/ui/js/live/state.js';

const lost = { kind: 'lost_disk', node: 3, text: 'another disk' };
const twice = { kind: 'duplicate_id', node: 2, text: 'two run' };

/**
 * The state of the page after a status with these servers.
 * @param {{id: number, status: Partial<Status> | null}[]} nodes
 */
function state(...nodes) {
  const made = new State();
  made.take({ event: 'message', data: { nodes } });
  return made;
}

/** @type {PageTests} */
export const tests = {
  alert_is_shown_once_however_many_servers_raise_it(equal) {
    const told = state(
      { id: 1, status: { alerts: [lost, twice] } },
      { id: 2, status: null },
      { id: 3, status: { alerts: [lost] } },
    );
    equal(told.alerts, [twice, lost]);
    equal(state({ id: 1, status: null }).alerts, []);
  },
  server_does_not_count_if_it_or_its_leader_says_so(equal) {
    /** @param {boolean} counts */
    const follower = (counts) => ({
      lag: 0,
      match_index: 1,
      next_index: 2,
      silent_ms: 0,
      flow: 'pipeline',
      window: 1,
      counts,
    });
    const followers = { 2: follower(true), 3: follower(false) };
    const told = state(
      { id: 1, status: { role: 'leader', term: 4, followers } },
      { id: 2, status: { role: 'follower', term: 4 } },
      { id: 3, status: { role: 'follower', term: 0 } },
    );
    equal(
      [1, 2, 3].map((id) => told.counts(id)),
      [true, true, false],
    );
    const leaderless = state({
      id: 3,
      status: { role: 'leader', term: 9, suspended: 'another disk' },
    });
    equal(leaderless.counts(3), false);
    equal(leaderless.leader, null);
  },
};
