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

/** @typedef {import('./state.js').View} View */

/**
 * @param {HTMLElement} element
 * @param {{catalog: Catalog, onGoto: (n: number) => void, onPlay: () => void, onShown: () => void}} options
 */
export function Banner(element, { catalog, onGoto, onPlay, onShown }) {
  /**
   * The facts on which the buttons depend, as drawn last.
   * @type {Record<string, any> | null}
   */
  let drawn = null;

  /** @param {{result: Result | null, view: View}} next */
  function update({ result, view }) {
    element.hidden = !result;
    if (!result) return;
    const { n, path } = view;
    /** @type {Record<string, any>} */
    const facts = {
      result,
      atEnd: n === path.length,
      moved: n > 0,
      isStuck: n === result.stuck,
    };
    const line = result.property ? described(result, view) : '';
    const old = drawn;
    const isSame = old && Object.keys(facts).every((name) => old[name] === facts[name]);
    // If only the words change, the buttons are kept: a key held down must keep its target.
    if (isSame) {
      const words = element.querySelector('.found-line');
      if (old.n !== n && words) replace(words, line);
      old.n = n;
      return;
    }
    drawn = { ...facts, n };
    const focused = document.activeElement;
    const held = focused && element.contains(focused) ? focused.id : null;
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
    /** @type {HTMLElement | null} */
    const same = held ? element.querySelector(`#${held}`) : null;
    if (held) (same ?? element.querySelector('button'))?.focus();
  }

  /**
   * @param {Result} result
   * @param {View} view
   * @param {Content} line
   */
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

  /** @param {any} facts */
  function buttons({ result, atEnd, moved, isStuck }) {
    /** @param {string} id @param {() => void} onclick @param {string} label @param {string} [cls] */
    const button = (id, onclick, label, cls) =>
      h('button', { type: 'button', id, class: cls, onclick }, label);
    return [
      moved && button('found-start', () => onGoto(0), t('explore.from-start')),
      result.stuck !== null &&
        !isStuck &&
        button('found-stuck', () => onGoto(result.stuck), t('explore.to-stuck')),
      // The position may change while the buttons are kept.
      !atEnd && button('found-next', () => onGoto(drawn?.n + 1), `${t('stage.next')} ▶`, 'primary'),
      !atEnd && button('found-play', onPlay, t('explore.play-pause')),
    ];
  }

  return {
    update,
    /** Focuses the button that leads to the next step. */
    focus() {
      /** @type {HTMLElement | null} */
      const next = element.querySelector('#found-next');
      next?.focus();
    },
  };
}

/**
 * The number of states searched; the steps of a schedule or a simulation are no such number.
 * @param {Result} result
 */
function counted({ method, states }) {
  if (method === 'timed' || method === 'schedule') return '';
  return `${t('explore.states', { n: states })} · `;
}

/** @param {Result} result */
function headline({ property, method, path, stuck, ticks }) {
  const n = stuck ?? path.length;
  if (method === 'progress') {
    return t(n ? 'explore.found-stuck' : 'explore.found-stuck-at-start', { n });
  }
  if (method === 'timed') {
    return t('explore.found-timed', {
      property: propertyName(property ?? ''),
      n,
      ticks: ticks?.at(-1) ?? 0,
    });
  }
  const key = method === 'schedule' ? 'explore.found-schedule' : 'explore.found-property';
  return t(key, { property: propertyName(property ?? ''), n });
}

/**
 * The description of the counterexample at the current step.
 * @param {Result} result
 * @param {View} view
 */
function described({ path, stuck, ticks, why: reason, cause: data }, { n, timeline }) {
  const tick = ticks && n > 0 ? `${t('explore.at-tick', { n: ticks[n - 1] })} ` : '';
  const cause = () => why(reason, { cause: data, end: '.', capital: true });
  if (stuck !== null && n >= stuck) {
    const rest = path.length - stuck;
    const ends = rest > 0 ? 'explore.found-is-stuck' : 'explore.found-is-stuck-alone';
    return [t(n > stuck ? 'explore.found-still-stuck' : ends, { n: rest }), ' ', cause()];
  }
  if (n < path.length) return [tick, t('explore.found-walk')];
  if (timeline.at(n).step?.violations?.length) return t('explore.found-end');
  return [tick, cause()];
}
