// Lines between the servers on the stage: from the leader to each follower with its lag, and links with
// faults, crossed out. They are part of the stage's picture and use its layout: a line passes around
// the servers that are not its ends.

import { keyed, set, svg, text } from '../dom.js';
import { t } from '../i18n.js';
import { connect, settle } from '../stage/layout.js';
import { describeFaults, end } from './events.js';
import { lagOf } from './state.js';

/** @typedef {import('./state.js').State} State */

/** @param {SVGSVGElement} picture */
export function Links(picture) {
  // All lines are below all labels.
  const under = svg('g', { class: 'links' });
  const leads = svg('g', { class: 'leads', 'aria-hidden': 'true' });
  const over = svg('g', { class: 'links' });
  picture.insertBefore(under, picture.querySelector('.nodes'));
  picture.append(leads, over);
  /** @type {State} */
  let state;
  /** @type {StageLayout & Size} */
  let layout;

  function draw() {
    if (!state || !layout) return;
    const { places, boxes, width, height } = layout;
    const nodes = [...places.values()];
    /** @param {End} end */
    const place = (end) => /** @type {Spot} */ (places.get(nameOf(end)));
    /** @type {Map<string, number[]>} */
    const used = new Map();
    const all = lines(state)
      .filter(({ from, to }) => place(from) && place(to))
      .map((line) => ({
        ...line,
        w: 12 + 6.6 * line.words.length,
        prefer: line.prefer,
        curve: connect(place(line.from), place(line.to), {
          bend: line.bend,
          nodes,
          boxes,
          used,
          width,
          height,
        }),
      }));
    settle(all, { nodes, boxes, width, height });
    keyed(
      under,
      all,
      ({ key }) => key,
      () => svg('path', {}),
      (path, line) =>
        set(path, {
          class: `link ${line.cls}`,
          d: line.curve.d,
          'data-from': nameOf(line.from),
          'data-to': nameOf(line.to),
        }),
    );
    keyed(
      leads,
      all.filter(({ lead }) => lead),
      ({ key }) => key,
      () => svg('path', {}),
      (path, { x, y, lead }) =>
        set(path, {
          d: `M${x.toFixed(1)} ${y.toFixed(1)}L${lead.x.toFixed(1)} ${lead.y.toFixed(1)}`,
        }),
    );
    keyed(
      over,
      all,
      ({ key }) => key,
      () =>
        svg(
          'g',
          {},
          svg('title', {}),
          svg('rect', {}),
          svg('text', { 'text-anchor': 'middle', dy: '0.35em' }),
        ),
      (group, line) => {
        const [title, rect, words] = group.children;
        set(group, {
          class: `link ${line.cls}`,
          transform: `translate(${line.x.toFixed(1)} ${line.y.toFixed(1)})`,
        });
        text(title, line.about);
        set(rect, { x: -line.w / 2, y: -10, width: line.w, height: 20, rx: 5 });
        text(words, line.words);
      },
    );
  }

  return {
    /**
     * Draws over the stage in its current layout.
     * @param {StageLayout & Size} next
     */
    over(next) {
      layout = next;
      draw();
    },
    /** @param {State} next */
    update(next) {
      state = next;
      draw();
    },
  };
}

/**
 * The name on the stage of a link's end.
 * @param {End} end
 */
const nameOf = (end) => (end === 'proxy' ? 'proxy 1' : `server ${end}`);

/** @param {State} state */
function lines(state) {
  /** @type {any[]} */
  const all = [];
  const { leader } = state;
  const chaos = state.status?.chaos;
  const cutOff = new Set(chaos?.isolated.map(({ node }) => node) ?? []);
  for (const [id, progress] of Object.entries(leader?.followers ?? {})) {
    const to = Number(id);
    // The links of an isolated server are drawn as cut, without a lag.
    if (cutOff.has(to) || cutOff.has(Number(leader?.id))) continue;
    const silent = progress.silent_ms > 1500;
    all.push({
      key: `f${id}`,
      from: Number(leader?.id),
      to,
      bend: 0,
      prefer: 0.5,
      cls: silent ? 'is-silent' : progress.lag > 0 ? 'is-behind' : 'is-well',
      words: silent
        ? t('live.silent', { n: Math.round(progress.silent_ms / 1000) })
        : t('live.lag', { n: lagOf(progress) }),
      about: t('live.follower-about', {
        id,
        match: progress.match_index,
        next: progress.next_index,
        lag: lagOf(progress),
        flow: t(`live.flow-${progress.flow}`),
      }),
    });
  }
  for (const { from, to, faults } of chaos?.links ?? []) {
    if (from === 'clients' || to === 'clients') continue;
    all.push({
      key: `c${from}-${to}`,
      from,
      to,
      bend: 12,
      prefer: 0.34,
      cls: faults.cut ? 'is-cut' : 'is-faulty',
      words: faults.cut ? '✕' : '≈',
      about: `${end(from)} → ${end(to)}: ${describeFaults(faults)}`,
    });
  }
  const ids = (state.status?.nodes ?? []).map(({ id }) => id);
  for (const id of cutOff) {
    for (const other of [...ids, 'proxy']) {
      if (other === id || (typeof other === 'number' && cutOff.has(other) && other < id)) continue;
      all.push({
        key: `i${id}-${other}`,
        from: id,
        to: other,
        bend: 12,
        prefer: 0.34,
        cls: 'is-cut',
        words: '✕',
        about: t('live.isolated-about', { who: end(id) }),
      });
    }
  }
  return all;
}
