export default {
  'replay.title': 'Replay',
  'replay.lead':
    'Open a recorded run: the core executes every step again, and all properties are checked.',
  'replay.loading': 'Looking for a trace passed at startup…',
  'replay.executing': 'Executing the steps again…',
  'replay.choose': 'Choose files…',
  'replay.drop': 'Drop files here or anywhere on the page.',
  'replay.what-scope': 'A trace of a scope, written by {command}: one file.',
  'replay.what-nodes':
    'The traces of running servers, written by {command}: one file for each server, all together.',
  'replay.paste': 'Paste a trace',
  'replay.paste-about': 'The lines of one trace',
  'replay.open': 'Open',
  'replay.example': 'No trace at hand? Open an example: Figure 8, with the bug',
  'replay.another': 'Open another',
  'replay.explore': 'Open in Explore',
  'replay.explore-about': 'Opens the explorer at the current step of this run',
  'replay.pasted': 'pasted.jsonl',

  'replay.scope': 'A run of “{scope}”',
  'replay.scope-mutant': 'A run of “{scope}”, with the bug “{mutant}” planted',
  'replay.nodes': {
    one: 'The trace of one server',
    other: 'The traces of {n} servers, merged in causal order',
  },
  'replay.steps': { one: '{n} step', other: '{n} steps' },

  'replay.accepted': 'Accepted',
  'replay.accepted-about': {
    one: 'The recorded step was replayed and matches, and no property is violated.',
    other:
      'All {n} recorded steps, including crashes and restarts, were replayed and match, and no property is violated.',
  },
  'replay.accepted-violated': {
    one: 'The recorded step was replayed and matches. The run is genuine, and it violates a property.',
    other:
      'All {n} recorded steps, including crashes and restarts, were replayed and match. The run is genuine, and it violates a property.',
  },
  'replay.rejected': 'Rejected',
  'replay.rejected-at': 'Line {line} of {file}: {why}',
  'replay.rejected-line': 'Line {line}: {why}',
  'replay.rejected-why': '{why}',
  'replay.rejected-shown': 'The valid steps before it are shown.',
  'replay.violated': '{property} is violated at step {n}',
  'replay.violated-at': '{property} is violated at step {n}, line {line} of {file}',
  'replay.violated-nodes':
    'Up to there, every step that the servers recorded was replayed and matches.',
  'replay.shown': 'Shown: steps {from} to {to} of {of}. All steps were checked.',
  'replay.earlier': 'Earlier steps',
  'replay.later': 'Later steps',
  'replay.used-disks': 'The servers ran before: their first run starts from disks in use',
  'replay.go-violated': 'Go there',
  'replay.go-end': 'Go to the last valid step',

  'replay.too-large':
    '{size} is too large: this page opens at most {most}. Give the files to the program instead: {command}',
  'replay.empty': '{file} is empty. Choose a trace that has at least a header.',
  'replay.not-trace':
    '{file} is not a trace: its first line is not a header of “stateraft-trace” or “stateraft-node”. Choose a file that raft-checker or raft-node wrote.',
  'replay.version':
    '{file} has the format {found}, but this program reads {known}. Record the trace again with this version, or open it with the version that wrote it.',
  'replay.mixed': 'Open a trace of a scope alone; only traces of servers can be opened together.',
  'replay.refused': 'The trace could not be opened: {why}',
  'replay.unread': 'The browser could not read {file}: {why}',
  'replay.failed-served': 'The trace that the server was started with could not be shown: {why}',

  'replay.now': 'This step',
  'replay.logs': 'Logs',
  'replay.spacetime': 'Space-time diagram',
  'replay.inspector': 'Details',
  'replay.key-violated': 'next violation',
  'replay.key-open': 'open another trace',
  'replay.resize-told': 'Width of the description',
  'replay.not-here':
    'This address belongs to a run that was opened from a file, and a reload discards it: open the file again.',
};
