// The actions of fault injection.

import { activeFaults } from '/ui/js/live/chaos-active.js';
import { serverActions } from '/ui/js/live/chaos-servers.js';

/** @type {PageTests} */
export const tests = {
  server_has_an_action_that_begins_or_ends_each_fault(equal) {
    /** @param {Parameters<typeof serverActions>[0]} server */
    const enabled = (server) =>
      serverActions(server)
        .filter(({ disabled }) => !disabled)
        .map(({ name }) => name);
    const healthy = { isolated: false, halted: null, embedded: true };
    equal(enabled(healthy), ['isolate', 'pause', 'kill']);
    equal(enabled({ ...healthy, isolated: true, halted: 'paused' }), ['rejoin', 'resume', 'kill']);
    equal(enabled({ ...healthy, halted: 'killed' }), ['isolate', 'start']);
    // A proxy without its own servers can only cut their links.
    equal(enabled({ ...healthy, embedded: false }), ['isolate']);
  },
  active_fault_has_the_action_that_ends_it(equal) {
    const seconds_left = null;
    const all = activeFaults({
      embedded: true,
      isolated: [{ node: 1, seconds_left }],
      halted: [
        { node: 2, how: 'paused', seconds_left },
        { node: 3, how: 'killed', seconds_left },
      ],
      links: [{ from: 1, to: 'proxy', faults: { cut: true }, seconds_left }],
    });
    equal(
      all.map(({ undo }) => undo),
      [
        { do: 'rejoin', node: 1 },
        { do: 'resume', node: 2 },
        { do: 'start', node: 3 },
        { do: 'link', from: 1, to: 'proxy' },
      ],
    );
  },
};
