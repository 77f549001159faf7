// All components on one trace, for looking at them and for measuring:
// gallery.html?trace=FILE&at=12&theme=dark&lang=es. The trace lies where this file is served.

import { loadStrings } from '/ui/js/i18n.js';
import { h } from '/ui/js/dom.js';
import { readJsonl } from '/ui/js/timeline.js';
import { Stage } from '/ui/js/stage.js';
import { LogGrid } from '/ui/js/log-grid.js';
import { present } from './present.js';

const asked = new URLSearchParams(location.search);
const theme = asked.get('theme');
if (theme) document.documentElement.dataset.theme = theme;
await loadStrings('shell', 'stage');
const host = present(document.getElementById('gallery'));
const began = performance.now();
const timeline = readJsonl(await (await fetch(present(asked.get('trace')))).text());
const read = performance.now() - began;

/** @type {{n: number, selected: Picked | null}} */
const view = { n: Number(asked.get('at') ?? 0), selected: null };
/** @param {number} n */
function go(n) {
  view.n = n;
  draw();
}
/** @param {Picked} what */
function pick(what) {
  view.selected = what;
  draw();
}
const onPickMessage = (/** @type {number} */ id) => pick({ message: id });
const onPickProcess = (/** @type {string} */ name) => pick({ process: name });

const stageHost = h('div', { style: { height: `${asked.get('height') ?? 460}px` } });
const logHost = h('div', { style: { padding: '8px' } });
host.append(stageHost, logHost);
/** @type {{update: (view: RunView) => void}[]} */
const parts = [Stage(stageHost, { onPickMessage, onPickProcess }), LogGrid(logHost)];
for (const [name, place] of [
  ['spacetime', 'SpaceTime'],
  ['inspector', 'Inspector'],
  ['scrubber', 'Scrubber'],
  ['step-description', 'StepDescription'],
]) {
  const module = await import(`/ui/js/${name}.js`);

  const there = h('div', { style: { padding: '8px' } });
  host.append(there);
  parts.push(module[place](there, { onGoto: go, onPickMessage, onPickProcess }));
}

function draw() {
  const at = timeline.at(view.n);
  for (const part of parts)
    part.update({
      timeline,
      at,
      selected: view.selected,
      accused: asked.get('accused') ? { index: 2, servers: ['server 1', 'server 2'] } : null,
    });
}
draw();
window.gallery = { parts, timeline, view, draw, read, go };
