// Runs the tests of every module, in the browser itself. `window.results` is `{passed, failed}` when
// they are done, and the page lists them. It is not embedded in the program: the test runner serves it.

import { present } from './present.js';

const files = [
  'timeline',
  'describe',
  'router',
  'events',
  'step-description',
  'why',
  'diagnostic',
  'dom',
  'tour',
  'stage',
  'language',
  'keys',
  'alerts',
  'actions',
  'visited',
  'spacetime',
  'chart',
  'chaos',
  'scrubber',
  'log-grid',
];
/** @type {TestResults} */
const results = { passed: 0, failed: [] };
const out = present(document.getElementById('out'));
out.textContent = '';

/** @type {Equal} */
export function equal(found, expected) {
  const [one, other] = [JSON.stringify(found), JSON.stringify(expected)];
  if (one !== other) throw new Error(`expected ${other}, found ${one}`);
}

for (const file of files) {
  /** @type {{tests: PageTests}} */
  const { tests } = await import(`./${file}.test.js`);
  for (const [name, run] of Object.entries(tests)) {
    let line = 'ok';
    try {
      await run(equal);
      results.passed += 1;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      line = `FAILED: ${why}`;
      results.failed.push(`${file}: ${name}: ${why}`);
    }
    out.append(`${file}: ${name}: ${line}\n`);
  }
}
out.append(results.failed.length ? `${results.failed.length} failed` : `${results.passed} passed`);
window.results = results;
