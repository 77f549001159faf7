// Lines between the servers on the stage: from the leader to each follower with its lag, and whatever
// is broken on purpose, crossed out. Drawn under the stage's own picture, where the stage has put the
// servers.

import { eachFrame, keyed, set, svg, text } from '../dom.js';
import { t } from '../i18n.js';
import { end, harm } from './happened.js';
import { lagOf } from './state.js';

export function Links(stage) {
  // All lines lie below all labels.
  const under = svg('g', { class: 'links' });
  const over = svg('g', { class: 'links' });
  const { picture } = stage;
  picture.insertBefore(under, picture.querySelector('.nodes'));
  picture.insertBefore(over, picture.querySelector('.nodes'));
  let view = null;
  const later = eachFrame(draw);
  const watch = new ResizeObserver(later);
  watch.observe(picture.parentElement);

  function draw() {
    if (!view) return;
    const places = new Map();
    const groups = picture.querySelectorAll('.nodes > .process');
    view.at.names.forEach((name, place) => {
      const found = /translate\((\S+) (\S+)\)/.exec(groups[place]?.getAttribute('transform') ?? '');
      if (found) places.set(name === 'proxy 1' ? 'proxy' : Number(name.split(' ')[1]), { x: Number(found[1]), y: Number(found[2]) });
    });
    const all = lines(view.state).filter(({ from, to }) => places.has(from) && places.has(to)).map((line) => ({ ...line, ...along(line, places) }));
    keyed(under, all, ({ key }) => key, () => svg('path', {}), (path, line) => set(path, { class: `link ${line.cls}`, d: line.d }));
    keyed(over, all, ({ key }) => key,
      () => svg('g', {}, svg('title', {}), svg('rect', {}), svg('text', { 'text-anchor': 'middle', dy: '0.35em' })),
      (group, line) => {
        const [title, rect, words] = group.children;
        const w = 12 + 6.6 * line.words.length;
        set(group, { class: `link ${line.cls}`, transform: `translate(${line.x.toFixed(1)} ${line.y.toFixed(1)})` });
        text(title, line.about);
        set(rect, { x: -w / 2, y: -10, width: w, height: 20, rx: 5 });
        text(words, line.words);
      });
  }

  return {
    update(state, at) { view = { state, at }; draw(); },
    destroy() { watch.disconnect(); later.stop(); },
  };
}

/** Where a line runs, and where its label stands. */
function along({ from, to, side, place }, places) {
  const [a, b] = [places.get(from), places.get(to)];
  const far = Math.hypot(b.x - a.x, b.y - a.y) || 1;
  const off = side * 9;
  const [dx, dy] = [((b.y - a.y) / far) * off, -((b.x - a.x) / far) * off];
  const f = (number) => number.toFixed(1);
  // In the middle, or just outside of whom it comes from.
  const part = place ?? Math.min(0.5, 62 / far);
  return {
    d: `M${f(a.x + dx)} ${f(a.y + dy)}L${f(b.x + dx)} ${f(b.y + dy)}`,
    x: a.x + (b.x - a.x) * part + dx, y: a.y + (b.y - a.y) * part + dy,
  };
}

function lines(state) {
  const all = [];
  const { leader } = state;
  const chaos = state.status?.chaos;
  const cutOff = new Set(chaos?.isolated.map(({ node }) => node) ?? []);
  for (const [id, progress] of Object.entries(leader?.followers ?? {})) {
    const to = Number(id);
    // A link that is cut is drawn as that.
    if (cutOff.has(to) || cutOff.has(leader.id)) continue;
    const silent = progress.silent_ms > 1500;
    all.push({
      key: `f${id}`, from: leader.id, to, side: 0, place: 0.5, cls: silent ? 'is-silent' : progress.lag > 0 ? 'is-behind' : 'is-well',
      words: silent ? t('live.silent', { n: Math.round(progress.silent_ms / 1000) }) : t('live.lag', { n: lagOf(progress) }),
      about: t('live.follower-about', { id, match: progress.match_index, next: progress.next_index, lag: lagOf(progress), flow: t(`live.flow-${progress.flow}`) }),
    });
  }
  for (const { from, to, harm: what } of chaos?.links ?? []) {
    if (from === 'clients' || to === 'clients') continue;
    all.push({
      key: `c${from}-${to}`, from, to, side: 1, place: null, cls: what.cut ? 'is-cut' : 'is-harmed', words: what.cut ? '✕' : '≈',
      about: `${end(from)} → ${end(to)}: ${harm(what)}`,
    });
  }
  const ids = (state.status?.nodes ?? []).map(({ id }) => id);
  for (const id of cutOff) {
    for (const other of [...ids, 'proxy']) {
      if (other === id || (cutOff.has(other) && other < id)) continue;
      all.push({ key: `i${id}-${other}`, from: id, to: other, side: 1, place: null, cls: 'is-cut', words: '✕', about: t('live.isolated-about', { who: end(id) }) });
    }
  }
  return all;
}
