// The tree of visited states.

import { Visited, flatten, pathOf } from '/ui/js/explore/visited.js';

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
