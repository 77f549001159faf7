// The tree of visited states.

import { loadStrings, setLanguage } from '/ui/js/i18n.js';
import { Visited, flatten, pathOf } from '/ui/js/explore/visited.js';
import { server } from './samples.js';

/**
 * Calls a function with a tree of these paths, which is not kept.
 * @param {string[]} paths
 * @param {(visited: Visited) => void} run
 */
function withTree(paths, run) {
  const name = 'test';
  sessionStorage.removeItem(`stateraft.visited.${name}`);
  const visited = new Visited(name);
  for (const path of paths) visited.add(path.split('.'), []);
  run(visited);
  sessionStorage.removeItem(visited.world);
}

/** @type {PageTests} */
export const tests = {
  current_path_runs_straight_down_and_branches_are_indented(equal) {
    withTree(['1e.2d1.1h', '1e.3d2.3c'], ({ root }) => {
      /** @param {string} path @param {number} depth */
      const rows = (path, depth) =>
        flatten(root, path.split('.'), depth).map(({ node, indent, onPath, isHere }) => [
          pathOf(node).join('.'),
          indent,
          `${onPath ? 'path' : ''}${isHere ? ' here' : ''}`,
        ]);
      equal(rows('1e.3d2.3c', 2), [
        ['', 0, 'path'],
        ['1e', 0, 'path'],
        ['1e.2d1', 1, ''],
        ['1e.2d1.1h', 1, ''],
        ['1e.3d2', 0, 'path here'],
        ['1e.3d2.3c', 0, 'path'],
      ]);
    });
  },
  async transfer_and_its_end_have_their_own_words(equal) {
    await setLanguage('en');
    await loadStrings('stage', 'explore');
    const transfer = { target: 2, is_requested: true };
    const steps = [
      { event: { TransferLeadership: 2 }, state: server(1, { role: 'leader', transfer }) },
      { event: 'ElectionTimeout', state: server(1, { role: 'leader' }) },
    ].map((step, place) => ({ step: place + 1, process: 'server 1', ...step }));
    withTree([], (visited) => {
      visited.add(['1l2', '1e'], steps);
      const words = flatten(visited.root, ['1l2', '1e'], 0).map(({ node }) => node.words?.words);
      equal(words, [undefined, 'S1 transfers to S2', 'S1 aborts the transfer']);
    });
  },
  tree_survives_a_reload(equal) {
    withTree(['1e.2d1', '1e.3d2'], ({ root }) => {
      const again = new Visited('test');
      const paths = (/** @type {typeof root} */ tree) =>
        flatten(tree, [], 0)
          .map(({ node }) => pathOf(node).join('.'))
          .sort();
      equal(paths(again.root), paths(root));
    });
  },
};
