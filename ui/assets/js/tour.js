// The tour page: a list of the guided tours, or one tour.
//
// `#/tour` is the list, `#/tour/figure-8?step=3` the fourth card of a tour. The page needs only static
// files from the server, so that it is the same in the checker and in the proxy.

import { messageOf } from './api.js';
import { h, replace, style } from './dom.js';
import { currentLanguage, loadStrings, t } from './i18n.js';
import { format } from './router.js';
import { Player } from './tour/player.js';
import { loadTour, tours } from './tour/walk.js';

/**
 * @param {HTMLElement} host
 * @param {PageContext} context
 */
export default function page(host, { params, rest, navigate, app, shortcuts }) {
  const box = h('div', { class: 'tours' });
  host.append(box);
  /** @type {ReturnType<typeof Player> | null} */
  let player = null;
  /**
   * The name of the tour shown; `null` for the list, nothing after a failure.
   * @type {string | null | undefined}
   */
  let shown = null;
  let gone = false;

  show({ params, rest });

  /** @param {{rest: string[], params: Params}} where */
  async function show(where) {
    const [name = null] = where.rest ?? [];
    if (player && shown === name) {
      player.go(Number(where.params.step ?? 0));
      return;
    }
    player?.destroy();
    player = null;
    shown = name;
    try {
      await Promise.all([style('tour'), loadStrings('filter')]);
      const all = await tours();
      if (gone || shown !== name) return;
      if (name === null) {
        list(all);
        return;
      }
      const place = all.findIndex((tour) => tour.name === name);
      if (place < 0) {
        failed(t('tour.none', { name }));
        return;
      }
      const tour = await loadTour(name);
      if (gone || shown !== name) return;
      box.replaceChildren();
      document.title = `${tour.title[currentLanguage()]} · Stateraft`;
      shortcuts([
        { keys: '→ ←', what: t('tour.key-next') },
        { keys: t('stage.keys-ends'), what: t('tour.key-ends') },
        { keys: 'Esc', what: t('tour.key-all') },
      ]);
      player = Player(box, { tour, next: all[place + 1] ?? null, app, navigate });
      player.go(Number(where.params.step ?? 0));
    } catch (error) {
      if (!gone && shown === name) failed(t('tour.failed', { why: messageOf(error) }));
    }
  }

  /** @param {string} words */
  function failed(words) {
    shown = undefined;
    replace(
      box,
      h(
        'div',
        { class: 'notice is-bad', role: 'alert' },
        h('p', {}, words),
        h('a', { href: '#/tour' }, t('tour.all')),
      ),
    );
  }

  /** @param {Tour[]} all */
  function list(all) {
    const language = currentLanguage();
    document.title = `${t('tour.title')} · Stateraft`;
    replace(
      box,
      h(
        'div',
        { class: 'tour-list' },
        h('h1', {}, t('tour.title')),
        h('p', { class: 'tour-lead' }, t('tour.lead')),
        h(
          'ol',
          { class: 'plain tour-cards' },
          all.map((tour, place) =>
            h(
              'li',
              {},
              h(
                'a',
                { class: 'tour-card', href: format({ page: 'tour', rest: [tour.name] }) },
                h('span', { class: 'tour-number', 'aria-hidden': 'true' }, String(place + 1)),
                h('h2', {}, tour.title[language]),
                h('p', {}, tour.summary[language]),
                h('span', { class: 'dim small' }, counts(tour)),
              ),
            ),
          ),
        ),
      ),
    );
  }

  return {
    go: show,
    destroy() {
      gone = true;
      player?.destroy();
      box.remove();
    },
  };
}

/** @param {Tour} tour */
function counts(tour) {
  const cards = tour.parts.reduce((sum, part) => sum + part.cards.length, 0);
  const steps = t('tour.count', { n: cards });
  return tour.parts.length > 1 ? `${t('tour.parts', { n: tour.parts.length })} · ${steps}` : steps;
}
