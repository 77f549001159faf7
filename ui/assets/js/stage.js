// The stage: every process, and the messages in flight between them, at one step of a timeline.
//
//   const stage = Stage(host, {onPickMessage(id), onPickProcess(name)});
//   stage.update({at: timeline.at(n), selected: {message: 3} | {process: 'server 2'} | null,
//                 accused: {servers: ['server 1'], index: 2} | null, animate: true,
//                 actions: [{words, run, disabled, why, cls}]});   // offered beside a picked message
//
// Servers are on a ring, clients and proxies below it. The shape and the word of a server show its role,
// its color shows its term, always with the number. A message is an arrow with a label. Up to three
// messages between the same two processes fan out; a count that opens a list stands for the rest. The
// messages of the current step are marked: new, delivered, dropped. Each selectable item is a button
// for the keyboard.
//
// The drawing uses pixels of the host, so that text has the same size at every width.
// `stage/layout.js` computes all positions, `stage/messages.js`, `stage/processes.js` and
// `stage/list.js` draw.
// `onDrawn(layout)` is called after each drawing, for code that adds to the picture.

import { drawing, h, set, svg } from './dom.js';
import { t } from './i18n.js';
import { arrange } from './stage/layout.js';
import { StageList } from './stage/list.js';
import { Messages, arrowHeads, routesOf } from './stage/messages.js';
import { Processes, itemsOf } from './stage/processes.js';

/**
 * @param {HTMLElement} host
 * @param {{
 *   onPickMessage?: (id: number) => void,
 *   onPickProcess?: (name: string) => void,
 *   onDrawn?: (layout: StageLayout & Size) => void,
 * }} [options]
 */
export function Stage(
  host,
  { onPickMessage = () => {}, onPickProcess = () => {}, onDrawn = () => {} } = {},
) {
  const processes = Processes({ onPick: onPickProcess });
  const messages = Messages({ onPick: onPickMessage, onOpen: open });
  const picture = svg(
    'svg',
    { class: 'stage-picture', role: 'group', 'aria-label': t('stage.title') },
    arrowHeads(),
    messages.arrows,
    processes.group,
    messages.leads,
    messages.labels,
    messages.sparks,
  );
  const list = StageList({ onPickMessage, onClose: close });
  const box = h('div', { class: 'stage' }, picture, list.element);
  host.append(box);

  /** @type {Omit<RunView, 'timeline'>} */
  let view;
  /** @type {ReturnType<typeof routesOf>} */
  let routes;
  /**
   * The pair of processes whose list is open.
   * @type {string | null}
   */
  let opened = null;
  /** @type {number | null} */
  let lastStep = null;
  const sheet = drawing(box, () => {
    if (view) draw(false);
  });

  /** @param {boolean} isMoved */
  function draw(isMoved) {
    const width = Math.max(280, sheet.size.width);
    const height = Math.max(240, sheet.size.height);
    const { at, selected = null } = view;
    set(picture, { width, height, viewBox: `0 0 ${width} ${height}` });
    const names = at.names.filter((name) => at.processes[name]);
    const layout = arrange(itemsOf(names, at, width), { width, height });
    routes = routesOf(at.inFlight, layout, { width, height }, selected);
    messages.draw(routes, selected);
    const accused = view.accused?.servers ?? [];
    processes.draw({ names, at, selected, accused, places: layout.places, width });
    onDrawn({ ...layout, width, height });
    if (opened) showStack();
    else showActions({ width, height });
    if (isMoved) messages.animate(routes);
  }

  /** @param {Size} size */
  function showActions(size) {
    const id = view.selected?.message;
    const picked = routes.drawn.find(({ message }) => message.id === id);
    list.showActions(view.actions ?? [], picked, size);
  }

  /** @param {string} pair */
  function open(pair) {
    opened = opened === pair ? null : pair;
    if (opened) showStack();
    else list.hide();
  }

  function close() {
    opened = null;
    list.hide();
  }

  function showStack() {
    const stack = routes.stacks.find(({ pair }) => pair === opened);
    if (stack) list.showStack(stack);
    else close();
  }

  return {
    /** The SVG element, for exports. */
    picture,
    /** @param {Omit<RunView, 'timeline'>} next */
    update(next) {
      const isMoved = next.at.n !== lastStep && next.animate !== false;
      if (next.at.n !== lastStep) close();
      lastStep = next.at.n;
      view = next;
      draw(isMoved);
    },
    destroy() {
      sheet.stop();
      box.remove();
    },
  };
}
