// The result of a search, while the page shows its path: the verdict, the description of the current
// step, and buttons to step through the counterexample.
//
//   const banner = Banner(element, {catalog, onGoto(n), onPlay, onShown});
//   banner.update({result, view});       // `result` is null where there is nothing to show

import { h, replace } from '../dom.js';
import { duration, t } from '../i18n.js';
import { propertyName } from '../properties.js';
import { why } from '../why.js';
import { methodWords } from './world.js';

export function Banner(element, { catalog, onGoto, onPlay, onShown }) {
  /** The facts on which the buttons depend, as drawn last. */
  let drawn = null;

  function update({ result, view }) {
    element.hidden = !result;
    if (!result) return;
    const { n, path } = view;
    const facts = {
      result,
      atEnd: n === path.length,
      moved: n > 0,
      isStuck: n === result.stuck,
    };
    const line = result.property ? described(result, view) : '';
    const isSame = drawn && Object.keys(facts).every((name) => drawn[name] === facts[name]);
    // If only the words change, the buttons are kept: a key held down must keep its target.
    if (isSame) {
      if (drawn.n !== n && result.property) replace(element.querySelector('.found-line'), line);
      drawn.n = n;
      return;
    }
    drawn = { ...facts, n };
    const held = element.contains(document.activeElement) ? document.activeElement.id : null;
    // One notice is enough: the verdict is part of this one.
    onShown();
    const tone = result.property ? 'bad' : 'good';
    element.className = `found is-${tone}`;
    replace(
      element,
      h('span', { class: `chip is-${tone}` }, t(`explore.verdict-${result.verdict}`)),
      words(result, view, line),
      buttons(facts),
    );
    if (held) (element.querySelector(`#${held}`) ?? element.querySelector('button'))?.focus();
  }

  function words(result, { path, world }, line) {
    const title = result.property ? headline(result) : t('explore.found-state', { n: path.length });
    const isBug = result.property && world.mutant;
    const how =
      result.property &&
      result.method &&
      h(
        'details',
        { class: 'small' },
        h('summary', {}, t('explore.how-found')),
        h('p', {}, methodWords(catalog, result.method, world.mutant)),
      );
    return h(
      'div',
      { class: 'found-words' },
      h('b', {}, title),
      result.property && [' ', h('span', { class: 'found-line' }, line)],
      h(
        'div',
        { class: 'dim small' },
        isBug ? `${t('explore.no-verdict')} ` : '',
        counted(result),
        duration(result.seconds),
      ),
      how,
    );
  }

  function buttons({ result, atEnd, moved, isStuck }) {
    const button = (id, onclick, label, cls = null) =>
      h('button', { type: 'button', id, class: cls, onclick }, label);
    return [
      moved && button('found-start', () => onGoto(0), t('explore.from-start')),
      result.stuck !== null &&
        !isStuck &&
        button('found-stuck', () => onGoto(result.stuck), t('explore.to-stuck')),
      // The position may change while the buttons are kept.
      !atEnd && button('found-next', () => onGoto(drawn.n + 1), `${t('stage.next')} ▶`, 'primary'),
      !atEnd && button('found-play', onPlay, t('explore.play-pause')),
    ];
  }

  return {
    update,
    /** Focuses the button that leads to the next step. */
    focus() {
      element.querySelector('#found-next')?.focus();
    },
  };
}

/** The number of states searched; the steps of a schedule or a simulation are no such number. */
function counted({ method, states }) {
  if (method === 'timed' || method === 'schedule') return '';
  return `${t('explore.states', { n: states })} · `;
}

function headline({ property, method, path, stuck, ticks }) {
  const n = stuck ?? path.length;
  if (method === 'progress') {
    return t(n ? 'explore.found-stuck' : 'explore.found-stuck-at-start', { n });
  }
  if (method === 'timed') {
    return t('explore.found-timed', {
      property: propertyName(property),
      n,
      ticks: ticks?.at(-1) ?? 0,
    });
  }
  const key = method === 'schedule' ? 'explore.found-schedule' : 'explore.found-property';
  return t(key, { property: propertyName(property), n });
}

/** The description of the counterexample at the current step. */
function described({ path, stuck, ticks, why: reason }, { n, timeline }) {
  const tick = ticks && n > 0 ? `${t('explore.at-tick', { n: ticks[n - 1] })} ` : '';
  const cause = () => why(reason, { end: '.', capital: true });
  if (stuck !== null && n >= stuck) {
    const rest = path.length - stuck;
    const ends = rest > 0 ? 'explore.found-is-stuck' : 'explore.found-is-stuck-alone';
    return [t(n > stuck ? 'explore.found-still-stuck' : ends, { n: rest }), ' ', cause()];
  }
  if (n < path.length) return [tick, t('explore.found-walk')];
  if (timeline.at(n).step?.broken?.length) return t('explore.found-end');
  return [tick, cause()];
}
