// Exports a run, or a picture of it. The page creates all exports itself, from any timeline; only
// traces and scripts of a walk come from the server, which has to execute the walk.
//
//   host.append(exportMenu(timeline, {
//     name: 'older-term',            // what files are called
//     at: () => n,                   // the step shown
//     stageElement: () => stage.picture,
//     walk: () => ({scope, mutant, steps, path}),   // where the server can make a trace or a script of it
//     jsonl: {url} or {text},        // where the trace is at hand
//   }));
//
// `timeline` and each of these may be a value or a function that returns it. Deliberate omission: PNG,
// because any browser converts an SVG.

import { getJson, messageOf, postText } from './api.js';
import { h, replace, style } from './dom.js';
import { shiviz } from './export/shiviz.js';
import { spacetimeSvg } from './export/spacetime.js';
import { standalone } from './export/svg.js';
import { loadStrings, t } from './i18n.js';
import { toast } from './toast.js';

/**
 * @typedef {{
 *   name?: string | (() => string),
 *   at?: number | (() => number),
 *   stageElement?: SVGSVGElement | (() => SVGSVGElement),
 *   walk?: WalkPath | null | (() => WalkPath),
 *   jsonl?: {url?: string, text?: string} | null,
 * }} ExportOptions
 */

/** Of a run longer than this, only the part around the current step is drawn. */
const DRAWN = 400;

/**
 * @template T
 * @param {T | (() => T)} held
 * @returns {T}
 */
const value = (held) => (typeof held === 'function' ? /** @type {() => any} */ (held)() : held);

/**
 * The button that opens the menu.
 * @param {Timeline | (() => Timeline)} timeline
 * @param {ExportOptions} [options]
 */
export function exportMenu(timeline, options = {}) {
  const list = h('div', { class: 'export-list', role: 'menu', hidden: true, onkeydown: keys });
  const button = h('button', {
    type: 'button',
    class: 'menu',
    'aria-haspopup': 'menu',
    'aria-expanded': 'false',
    onclick: () => toggle(),
  });
  const box = h(
    'span',
    {
      class: 'export-menu',
      onfocusout: (/** @type {FocusEvent} */ event) => {
        if (!box.contains(/** @type {Node | null} */ (event.relatedTarget))) toggle(false);
      },
    },
    button,
    list,
  );
  style('export');
  // Without its texts the menu is useless; a walk can still be shared by its address.
  loadStrings('export').then(
    () => {
      button.append(t('export.menu'), ' ▾');
    },
    () => {
      box.hidden = true;
    },
  );

  function toggle(open = list.hidden) {
    if (open) replace(list, items());
    list.hidden = !open;
    button.setAttribute('aria-expanded', String(open));
    // The menu is placed at its button: when the button moves, the menu closes.
    for (const what of ['scroll', 'resize'])
      window[open ? 'addEventListener' : 'removeEventListener'](what, away, { capture: true });
    if (!open) return;
    place();
    list.querySelector('button')?.focus({ preventScroll: true });
  }

  /** @param {Event} event */
  function away(event) {
    if (!list.contains(event.target instanceof Node ? event.target : null)) toggle(false);
  }

  /** Below the button, or above it where there is more room; never outside the window. */
  function place() {
    const at = button.getBoundingClientRect();
    const { width, height } = list.getBoundingClientRect();
    const below = innerHeight - at.bottom;
    const top = below >= height + 8 || below >= at.top ? at.bottom + 4 : at.top - height - 4;
    list.style.left = `${Math.max(8, Math.min(at.left, innerWidth - width - 8))}px`;
    list.style.top = `${Math.max(8, top)}px`;
    list.style.maxHeight = `${innerHeight - 16}px`;
  }

  function items() {
    const held = value(timeline);
    const walk = value(options.walk);
    /**
     * @param {string} name
     * @param {() => string | Promise<string>} run
     */
    const item = (name, run, about = t(`export.${name}-about`)) =>
      h(
        'button',
        {
          type: 'button',
          role: 'menuitem',
          tabindex: '-1',
          onclick: () => {
            button.focus();
            toggle(false);
            take(run);
          },
        },
        h('strong', {}, t(`export.${name}`)),
        h('span', { class: 'dim small' }, about),
      );
    if (!held) return [h('p', { class: 'dim' }, t('export.nothing'))];
    const [from, to] = drawn(held);
    const whole = from === held.offset && to === held.last;
    return [
      value(options.stageElement) && item('stage', () => saveStage(held)),
      item(
        'spacetime',
        () => saveSpacetime(held),
        whole ? undefined : t('export.spacetime-part', { from, to, of: held.last }),
      ),
      item('shiviz', () => save('shiviz.log', shiviz(held), 'text/plain')),
      (walk || options.jsonl) && item('jsonl', () => saveJsonl(walk)),
      walk &&
        !walk.mutant &&
        item('script', async () =>
          save(
            'script',
            await postText('/api/export', { ...walk, format: 'script' }),
            'text/plain',
          ),
        ),
    ];
  }

  /** @param {Timeline} held */
  function drawn(held) {
    if (held.length <= DRAWN) return [held.offset, held.last];
    const shown = value(options.at) ?? held.last;
    const from = Math.max(held.offset, Math.min(held.last - DRAWN, shown - DRAWN / 2));
    return [from, from + DRAWN];
  }

  /** @param {() => string | Promise<string>} run */
  async function take(run) {
    try {
      const name = await run();
      if (name) toast(t('export.done', { name }), 'good');
    } catch (error) {
      toast(t('export.failed', { why: messageOf(error) }), 'bad');
    }
  }

  /** @param {Timeline} held */
  const title = (held) => {
    const { scope, mutant } = held.header;
    if (!scope?.name) return value(options.name) ?? '';
    return t(mutant ? 'export.caption-mutant' : 'export.caption', {
      scope: scope.name,
      mutant,
      n: held.length,
    });
  };

  /**
   * @param {string} ending
   * @param {string} body
   * @param {string} type
   */
  function save(ending, body, type) {
    const name =
      `${value(options.name) ?? value(timeline).header?.scope?.name ?? 'stateraft'}-${ending}`
        .replace(/[^\w.-]+/g, '-')
        .replace(/-(jsonl|svg)$/, '.$1');
    download(name, body, type);
    return name;
  }

  /** @param {Timeline} held */
  function saveStage(held) {
    const picture = value(options.stageElement);
    if (!picture) return '';
    const shown = value(options.at);
    return save(
      shown === undefined ? 'stage.svg' : `step-${shown}.svg`,
      standalone(picture, title(held)),
      'image/svg+xml',
    );
  }

  /** @param {Timeline} held */
  function saveSpacetime(held) {
    const [from, to] = drawn(held);
    return save(
      'space-time.svg',
      spacetimeSvg(held, { from, to, title: title(held) }),
      'image/svg+xml',
    );
  }

  /** @param {WalkPath | null | undefined} walk */
  async function saveJsonl(walk) {
    const held = options.jsonl && value(options.jsonl);
    const body =
      held?.text ??
      (held?.url
        ? await getJson(held.url, { raw: true })
        : await postText('/api/export', { ...walk, format: 'jsonl' }));
    return save('jsonl', body, 'application/jsonl');
  }

  /** @param {KeyboardEvent} event */
  function keys(event) {
    const all = [...list.querySelectorAll('button')];
    const here = all.findIndex((one) => one === document.activeElement);
    const to = {
      ArrowDown: (here + 1) % all.length,
      ArrowUp: (here + all.length - 1) % all.length,
      Home: 0,
      End: all.length - 1,
    }[event.key];
    if (event.key === 'Escape') {
      toggle(false);
      button.focus();
    } else if (to !== undefined) all[to]?.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  return box;
}

/**
 * Offers a file to the reader as a download.
 * @param {string} name
 * @param {string} body
 * @param {string} type
 */
export function download(name, body, type) {
  const url = URL.createObjectURL(new Blob([body], { type: `${type};charset=utf-8` }));
  const link = h('a', { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
