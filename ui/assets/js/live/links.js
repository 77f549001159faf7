// Lines between the servers on the stage: from the leader to each follower with its lag, and whatever
// is broken on purpose, crossed out. Drawn under the stage's own picture, where the stage has put the
// servers.

import { eachFrame, keyed, set, svg, text } from '../dom.js';
import { t } from '../i18n.js';
import { end, harm } from './happened.js';

export function Links(stage) {
  const layer = svg('g', { class: 'links' });
  const { picture } = stage;
  picture.insertBefore(layer, picture.querySelector('.nodes'));
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
    keyed(layer, lines(view.state).filter(({ from, to }) => places.has(from) && places.has(to)), ({ key }) => key,
      () => svg('g', {}, svg('title', {}), svg('path', {}), svg('g', { class: 'link-label' }, svg('rect', {}), svg('text', { 'text-anchor': 'middle', dy: '0.35em' }))),
      (group, line) => {
        const [a, b] = [places.get(line.from), places.get(line.to)];
        const [title, path, label] = group.children;
        const far = Math.hypot(b.x - a.x, b.y - a.y) || 1;
        const [nx, ny] = [(b.y - a.y) / far, -(b.x - a.x) / far];
        const off = line.side * 9;
        const d = `M${(a.x + nx * off).toFixed(1)} ${(a.y + ny * off).toFixed(1)}L${(b.x + nx * off).toFixed(1)} ${(b.y + ny * off).toFixed(1)}`;
        set(group, { class: `link ${line.cls}` });
        text(title, line.about);
        set(path, { d });
        const along = line.place;
        const [x, y] = [a.x + (b.x - a.x) * along + nx * off, a.y + (b.y - a.y) * along + ny * off];
        const w = 12 + 6.4 * line.words.length;
        set(label, { transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` });
        set(label.firstChild, { x: -w / 2, y: -10, width: w, height: 20, rx: 5 });
        text(label.lastChild, line.words);
      });
  }

  return {
    update(state, at) { view = { state, at }; draw(); },
    destroy() { watch.disconnect(); later.stop(); },
  };
}

function lines(state) {
  const all = [];
  const { leader } = state;
  const chaos = state.status?.chaos;
  const cutOff = new Set(chaos?.isolated.map(({ node }) => node) ?? []);
  for (const [id, progress] of Object.entries(leader?.followers ?? {})) {
    const to = Number(id);
    const silent = progress.silent_ms > 1500;
    all.push({
      key: `f${id}`, from: leader.id, to, side: 0, place: 0.46, cls: silent ? 'is-silent' : progress.lag > 0 ? 'is-behind' : 'is-well',
      words: silent ? t('live.silent', { n: Math.round(progress.silent_ms / 1000) }) : t('live.lag', { n: progress.lag }),
      about: t('live.follower-about', { id, match: progress.match_index, next: progress.next_index, lag: progress.lag, flow: t(`live.flow-${progress.flow}`) }),
    });
  }
  for (const { from, to, harm: what } of chaos?.links ?? []) {
    if (from === 'clients' || to === 'clients') continue;
    all.push({
      key: `c${from}-${to}`, from, to, side: 1, place: 0.3, cls: what.cut ? 'is-cut' : 'is-harmed', words: what.cut ? '✕' : '≈',
      about: `${end(from)} → ${end(to)}: ${harm(what)}`,
    });
  }
  const ids = (state.status?.nodes ?? []).map(({ id }) => id);
  for (const id of cutOff) {
    for (const other of [...ids, 'proxy']) {
      if (other === id || (cutOff.has(other) && other < id)) continue;
      all.push({ key: `i${id}-${other}`, from: id, to: other, side: 1, place: 0.24, cls: 'is-cut', words: '✕', about: t('live.isolated-about', { who: end(id) }) });
    }
  }
  return all;
}
