// The files of an export: each function offers one as a download, and returns its name.
//
//   const files = new ExportFiles(timeline, options);      // `options` as in export.js, without functions
//   files.spacetime(); await files.jsonl();

import { getJson, postText } from '../api.js';
import { h } from '../dom.js';
import { t } from '../i18n.js';
import { shiviz } from './shiviz.js';
import { spacetimeSvg } from './spacetime.js';
import { standalone } from './svg.js';

/**
 * @typedef {{
 *   name?: string, at?: number, stageElement?: SVGSVGElement, walk?: WalkPath | null,
 *   jsonl?: {url?: string, text?: string} | null,
 * }} ExportData
 */

/** Of a run longer than this, only the part around the current step is drawn. */
const DRAWN = 400;

export class ExportFiles {
  /**
   * @param {Timeline} timeline
   * @param {ExportData} data
   */
  constructor(timeline, data) {
    this.timeline = timeline;
    this.data = data;
  }

  /** The first and the last step of the space-time diagram. */
  get drawn() {
    const { offset, last, length } = this.timeline;
    if (length <= DRAWN) return [offset, last];
    const shown = this.data.at ?? last;
    const from = Math.max(offset, Math.min(last - DRAWN, shown - DRAWN / 2));
    return [from, from + DRAWN];
  }

  /** Whether the space-time diagram has all steps. */
  get isWhole() {
    const [from, to] = this.drawn;
    return from === this.timeline.offset && to === this.timeline.last;
  }

  /** The title of a picture. */
  get #title() {
    const { header, length } = this.timeline;
    const { scope, mutant } = header;
    if (!scope?.name) return this.data.name ?? '';
    const key = mutant ? 'export.caption-mutant' : 'export.caption';
    return t(key, { scope: scope.name, mutant, n: length });
  }

  /** The picture of the current step; there must be one. */
  stage() {
    const { at, stageElement } = this.data;
    const picture = standalone(/** @type {SVGSVGElement} */ (stageElement), this.#title);
    return this.#save(at === undefined ? 'stage.svg' : `step-${at}.svg`, picture, 'image/svg+xml');
  }

  spacetime() {
    const [from, to] = this.drawn;
    const picture = spacetimeSvg(this.timeline, { from, to, title: this.#title });
    return this.#save('space-time.svg', picture, 'image/svg+xml');
  }

  shiviz() {
    return this.#save('shiviz.log', shiviz(this.timeline), 'text/plain');
  }

  async jsonl() {
    const { jsonl, walk } = this.data;
    const body =
      jsonl?.text ??
      (jsonl?.url
        ? await getJson(jsonl.url, { raw: true })
        : await postText('/api/export', { ...walk, format: 'jsonl' }));
    return this.#save('jsonl', body, 'application/jsonl');
  }

  async script() {
    const body = await postText('/api/export', { ...this.data.walk, format: 'script' });
    return this.#save('script', body, 'text/plain');
  }

  /**
   * @param {string} ending
   * @param {string} body
   * @param {string} type
   */
  #save(ending, body, type) {
    const run = this.data.name ?? this.timeline.header?.scope?.name ?? 'stateraft';
    const name = `${run}-${ending}`.replace(/[^\w.-]+/g, '-').replace(/-(jsonl|svg)$/, '.$1');
    download(name, body, type);
    return name;
  }
}

/**
 * Offers a file to the reader as a download.
 * @param {string} name
 * @param {string} body
 * @param {string} type
 */
function download(name, body, type) {
  const url = URL.createObjectURL(new Blob([body], { type: `${type};charset=utf-8` }));
  const link = h('a', { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
