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
// `stage/layout.js` computes all positions, `stage/messages.js` and `stage/processes.js` draw.
// `onDrawn(layout)` is called after each drawing, for code that adds to the picture.

import { family, initial, label, sentence } from './describe.js';
import { drawing, h, replace, set, svg } from './dom.js';
import { t } from './i18n.js';
import { arrange } from './stage/layout.js';
import { Messages, arrowHeads, routesOf } from './stage/messages.js';
import { Processes, itemsOf } from './stage/processes.js';

/** The number of messages in the list of a count. */
const LISTED = 60;

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
  const list = h('div', { class: 'stage-list', hidden: true, role: 'dialog' });
  const box = h('div', { class: 'stage' }, picture, list);
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
    else offer(width, height);
    if (isMoved) messages.animate(routes);
  }

  /* The list beside the picture: the messages of a count, or the actions for the selected message. */

  /** @param {string} pair */
  function open(pair) {
    opened = opened === pair ? null : pair;
    if (opened) showStack();
    else list.hidden = true;
  }

  function close() {
    opened = null;
    list.hidden = true;
  }

  function showStack() {
    const stack = routes.stacks.find(({ pair }) => pair === opened);
    list.hidden = !stack;
    list.classList.remove('is-offer');
    set(list, { style: { left: '', top: '' } });
    if (!stack) {
      opened = null;
      return;
    }
    const title = h('strong', {}, `${initial(stack.from)} → ${initial(stack.to)}`);
    const end = { type: 'button', class: 'quiet', 'aria-label': t('shell.close'), onclick: close };
    /** @param {SentAt} sent */
    const row = ({ id, message }) =>
      h(
        'button',
        {
          type: 'button',
          class: `is-${family(message)}`,
          title: sentence(message),
          onclick: () => onPickMessage(id),
        },
        label(message),
      );
    replace(
      list,
      h('div', { class: 'row' }, title, h('span', { class: 'spacer' }), h('button', end, '×')),
      stack.messages.slice(-LISTED).map(row),
    );
  }

  /**
   * The actions for the selected message, beside it.
   * @param {number} width
   * @param {number} height
   */
  function offer(width, height) {
    const id = view.selected?.message;
    const picked = routes.drawn.find(({ message }) => message.id === id);
    const actions = view.actions ?? [];
    list.hidden = !picked || actions.length === 0;
    list.classList.toggle('is-offer', !list.hidden);
    if (!picked || list.hidden) return;
    /** @param {Offer} offer */
    const button = ({ cls = '', disabled, why = null, run, words }) =>
      h('button', { type: 'button', class: cls, disabled, title: why, onclick: run }, words);
    replace(list, actions.map(button));
    const { offsetWidth, offsetHeight } = list;
    const x = Math.max(4, Math.min(width - offsetWidth - 4, picked.x - offsetWidth / 2));
    const fitsBelow = picked.y + 14 + offsetHeight < height;
    const top = fitsBelow ? picked.y + 14 : picked.y - 14 - offsetHeight;
    set(list, { style: { left: `${x}px`, top: `${top}px` } });
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
