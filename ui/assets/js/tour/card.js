// The text of a tour's card: its words, its sources, its events, and the table of contents.
//
//   const card = Card(tour, {onStep(n)});
//   card.draw(placed, number);           // another card
//   card.mark(placed, n);                // another event of the card

import { event as tellEvent } from '../describe.js';
import { h, replace, set, text } from '../dom.js';
import { currentLanguage, t } from '../i18n.js';
import { propertyName } from '../properties.js';
import { format } from '../router.js';
import { why } from '../why.js';

/** The number of events that are listed without a click. */
const FEW = 6;

/**
 * The address of a card.
 * @param {Tour} tour
 * @param {number} number
 */
export const addressOf = (tour, number) =>
  format({ page: 'tour', rest: [tour.name], params: { step: number || null } });

/**
 * `more` has the elements below the events.
 * @param {Tour} tour
 * @param {{onStep: (n: number) => void, more: Content}} options
 */
export function Card(tour, { onStep, more }) {
  const language = currentLanguage();
  const partName = h('p', { class: 'tour-part small' });
  const heading = h('h2', { class: 'tour-head', tabindex: '-1' });
  const words = h('p', { class: 'tour-text' });
  const property = h('div', { class: 'tour-property', role: 'status', hidden: true });
  const cites = h('div', { class: 'tour-cites' });
  const summary = h('summary', {});
  const events = h('ol', { class: 'tour-events' });
  const happens = h('details', { class: 'tour-happens' }, summary, events);
  const contents = h('ol', { class: 'plain tour-contents' }, tour.cards.map(entry));
  const element = h(
    'section',
    { class: 'tour-tell', 'aria-label': tour.title[language] },
    h(
      'div',
      { class: 'tour-top' },
      h('a', { class: 'small', href: '#/tour' }, '← ', t('tour.all')),
      h('h1', {}, tour.title[language]),
    ),
    h('div', { class: 'tour-words', 'aria-live': 'polite' }, partName, heading, words, property),
    cites,
    happens,
    h('div', { class: 'tour-more row' }, more),
    h('details', { class: 'tour-toc' }, h('summary', {}, t('tour.contents')), contents),
  );

  /** @param {PlacedCard} card @param {number} number */
  function entry({ part, place, head }, number) {
    const isFirst = tour.parts.length > 1 && place === 0;
    const href = addressOf(tour, number);
    return [
      isFirst && h('li', { class: 'tour-toc-part small dim' }, part.title[language]),
      h('li', {}, h('a', { href }, `${number + 1}. ${head[language]}`)),
    ];
  }

  /** @param {PlacedCard} card */
  function drawPart({ part, number }) {
    const of = tour.parts.length;
    partName.hidden = of < 2;
    if (of < 2) return;
    const chip = part.mutant && [' ', h('span', { class: 'chip is-warn' }, t('tour.mutant'))];
    replace(partName, t('tour.part', { n: number + 1, of, title: part.title[language] }), chip);
  }

  /** @param {PlacedCard} card */
  function drawEvents({ part: { timeline }, from, to }) {
    const count = to - from;
    text(summary, t('tour.happens-n', { n: count }));
    happens.hidden = count === 0;
    happens.open = count > 0 && count <= FEW;
    const steps = timeline.steps.slice(from, to).map((step, place) => {
      const n = from + place + 1;
      const told = capital(tellEvent(step, timeline.state(step.process, n - 1)));
      return h('li', {}, h('button', { type: 'button', onclick: () => onStep(n) }, told));
    });
    replace(events, steps);
    const violation = timeline.steps[to - 1]?.violations?.[0];
    property.hidden = !violation;
    if (!violation) return;
    const title = t('tour.violated', { property: propertyName(violation.property) });
    const cause = h('p', {}, why(violation.why, { cause: violation.cause, end: '.' }));
    replace(property, h('strong', {}, title), cause);
  }

  return {
    element,
    /**
     * Shows a card.
     * @param {PlacedCard} card
     * @param {number} number
     */
    draw(card, number) {
      text(heading, card.head[language]);
      text(words, card.text[language]);
      drawPart(card);
      cites.hidden = !card.cites?.length;
      replace(cites, sourcesOf(card.cites ?? []));
      drawEvents(card);
      for (const [place, link] of [...contents.querySelectorAll('a')].entries()) {
        set(link, { 'aria-current': place === number ? 'step' : null });
      }
      element.scrollTop = 0;
    },
    /**
     * Marks the event that is step `n` of the run.
     * @param {PlacedCard} card
     * @param {number} n
     */
    mark({ from }, n) {
      for (const [place, line] of [...events.children].entries()) {
        const isNow = from + place + 1 === n;
        line.firstElementChild?.setAttribute('aria-current', isNow ? 'step' : 'false');
      }
    },
  };
}

/**
 * @param {string[]} places
 * @returns {Content}
 */
function sourcesOf(places) {
  const about = places.map((place) =>
    place.startsWith('thesis') ? 'tour.cites-about-thesis' : 'tour.cites-about',
  );
  const words = [...new Set(about)].map((key) => h('p', {}, t(key)));
  const title = h('summary', {}, t('tour.sources'));
  return [places.map(cite), h('details', { class: 'small dim' }, title, words)];
}

/** @param {string} place */
function cite(place) {
  const [source, first, second] = place.split(' ');
  const words =
    first === 'Figure'
      ? t('tour.cites-figure', { place: t('tour.figure', { n: second }) })
      : t(`tour.cites-${source}`, { place: first });
  return [h('span', { class: 'chip' }, words), ' '];
}

/** @param {string} words */
const capital = (words) => words.charAt(0).toUpperCase() + words.slice(1);
