// All components on one trace, for looking at them and for measuring:
// gallery.html?trace=FILE&at=12&theme=dark&lang=es. The trace lies where this file is served.

import { loadStrings } from '/ui/js/i18n.js';
import { h } from '/ui/js/dom.js';
import { readJsonl } from '/ui/js/timeline.js';
import { Stage } from '/ui/js/stage.js';
import { LogGrid } from '/ui/js/log-grid.js';

const asked = new URLSearchParams(location.search);
if (asked.get('theme')) document.documentElement.dataset.theme = asked.get('theme');
await loadStrings('shell', 'stage');
const host = document.getElementById('gallery');
const began = performance.now();
const timeline = readJsonl(await (await fetch(asked.get('trace'))).text());
const read = performance.now() - began;

const view = { n: Number(asked.get('at') ?? 0), selected: null };
const stageHost = h('div', { style: { height: `${asked.get('height') ?? 460}px` } });
const logHost = h('div', { style: { padding: '8px' } });
host.append(stageHost, logHost);
const parts = [
  Stage(stageHost, {
    onPickMessage: (id) => pick({ message: id }),
    onPickProcess: (name) => pick({ process: name }),
  }),
  LogGrid(logHost, {}),
];
for (const [name, place] of [
  ['spacetime', 'SpaceTime'],
  ['inspector', 'Inspector'],
  ['scrubber', 'Scrubber'],
  ['story', 'Story'],
]) {
  const module = await import(`/ui/js/${name}.js`);

  const there = h('div', { style: { padding: '8px' } });
  host.append(there);
  parts.push(
    module[place](there, {
      onGoto: (n) => {
        view.n = n;
        draw();
      },
      onPickMessage: (id) => pick({ message: id }),
      onPickProcess: (name) => pick({ process: name }),
    }),
  );
}

function pick(what) {
  view.selected = what;
  draw();
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
window.gallery = {
  parts,
  timeline,
  view,
  draw,
  read,
  go(n) {
    view.n = n;
    draw();
  },
};
