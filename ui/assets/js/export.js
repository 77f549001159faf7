// Exports a run, or a picture of it. The page creates all exports itself, from any timeline; only
// traces and scripts of a walk come from the server, which has to execute the walk.
//
//   host.append(exportMenu(timeline, {
//     name: 'older-term',            // the name of the files, without their ending
//     at: () => n,                   // the step shown
//     stageElement: () => stage.picture,
//     walk: () => ({scope, mutant, steps, path}),   // if the server can make a trace or a script of it
//     jsonl: {url} or {text},        // if the trace exists
//   }));
//
// `timeline` and each of these except `jsonl` may be a value or a function that returns it. Deliberate omission: PNG,
// because any browser converts an SVG.
//
// The parts: `export/menu.js` (the button and its menu), `export/files.js` (the files), and one module for
// each format.

import { messageOf } from './api.js';
import { style } from './dom.js';
import { ExportFiles } from './export/files.js';
import { Menu } from './export/menu.js';
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
  // The values may change between the opening of the menu and the selection of an item.
  const files = () => {
    const { name, at, stageElement, walk, jsonl } = options;
    return new ExportFiles(value(timeline), {
      name: value(name),
      at: value(at),
      stageElement: value(stageElement),
      walk: value(walk),
      jsonl,
    });
  };
  const menu = Menu({
    items: () => (value(timeline) ? itemsOf(files) : []),
    whenEmpty: () => t('export.nothing'),
  });
  style('export');
  // Without its texts the menu is useless; a walk can still be shared by its address.
  loadStrings('export').then(
    () => {
      menu.button.append(t('export.menu'), ' ▾');
    },
    () => {
      menu.element.hidden = true;
    },
  );
  return menu.element;
}

/**
 * The items of the menu: the formats that this run has.
 * @param {() => ExportFiles} files
 */
function itemsOf(files) {
  const { data, timeline, drawn, isWhole } = files();
  const { stageElement, walk, jsonl } = data;
  /**
   * @param {string} name
   * @param {(files: ExportFiles) => string | Promise<string>} save
   */
  const item = (name, save, about = t(`export.${name}-about`)) => ({
    name: t(`export.${name}`),
    about,
    run: () => report(() => save(files())),
  });
  const [from, to] = drawn;
  const part = isWhole ? undefined : t('export.spacetime-part', { from, to, of: timeline.last });
  const items = [
    item('spacetime', (all) => all.spacetime(), part),
    item('shiviz', (all) => all.shiviz()),
  ];
  if (stageElement) items.unshift(item('stage', (all) => all.stage()));
  if (walk || jsonl) items.push(item('jsonl', (all) => all.jsonl()));
  if (walk && !walk.mutant) items.push(item('script', (all) => all.script()));
  return items;
}

/**
 * Saves a file, and shows its name or the reason why that failed.
 * @param {() => string | Promise<string>} save
 */
async function report(save) {
  try {
    toast(t('export.done', { name: await save() }), 'good');
  } catch (error) {
    toast(t('export.failed', { why: messageOf(error) }), 'bad');
  }
}
