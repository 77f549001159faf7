// The verdicts on the current state: every property, the witnesses on the path, and the budget used.
//
//   const verdicts = Verdicts(host, {onGoto(step), onWitness(name)});
//   verdicts.update({here, catalog, claim: {property, why, key} | null});
//
// `claim` is the violation that the counterexample shows. A property's meaning opens below its name.

import { h, replace } from '../dom.js';
import { t } from '../i18n.js';
import { aboutProperty, propertyName, witness } from '../properties.js';
import { why } from '../why.js';

/**
 * @param {HTMLElement} host
 * @param {{onGoto: (step: number) => void, onWitness: (name: string) => void}} options
 */
export function Verdicts(host, { onGoto, onWitness }) {
  const box = h('div', { class: 'verdicts' });
  host.append(box);
  /** @type {{here: Here, claim: string | undefined} | null} */
  let shown = null;
  return {
    /** @param {{here: Here | null, catalog: Catalog, claim?: {property: string, why: string, key: string} | null}} next */
    update({ here, catalog, claim = null }) {
      if (!here) {
        box.setAttribute('aria-busy', 'true');
        return;
      }
      box.removeAttribute('aria-busy');
      if (here === shown?.here && claim?.key === shown.claim) return;
      const open = new Set(
        [...box.querySelectorAll('.property-list details[open]')].map((one) =>
          one.getAttribute('data-property'),
        ),
      );
      shown = { here, claim: claim?.key };
      const broken = here.properties.filter((property) => !property.holds);
      const about = new Map(
        (catalog?.properties ?? []).map((property) => [property.name, property]),
      );
      const required = here.witnesses.filter((one) => one.required);
      const others = here.witnesses.filter((one) => !one.required && one.reached);
      const liveness =
        claim && (catalog?.liveness ?? []).find(({ name }) => name === claim.property);
      /**
       * @param {string} name
       * @param {Named | undefined} known
       */
      const meaning = (name, known) => {
        const words = known ? aboutProperty(known) : '';
        return words
          ? h(
              'details',
              { 'data-property': name, open: open.has(name) },
              h('summary', {}, propertyName(name)),
              h('p', { class: 'property-about' }, words),
            )
          : propertyName(name);
      };
      replace(
        box,
        h('h3', {}, t('explore.properties')),
        summary(here.properties.length, broken.length, claim, liveness),
        h(
          'ul',
          { class: 'plain property-list' },
          liveness &&
            h(
              'li',
              { class: 'is-broken' },
              h('span', { class: 'property-sign', 'aria-hidden': 'true' }, '✗'),
              h(
                'div',
                {},
                meaning(liveness.name, liveness),
                h('span', { class: 'sr-only' }, ` ${t('explore.broken')}`),
                h('span', { class: 'property-why' }, why(claim.why, { end: '.' })),
              ),
            ),
          [...broken, ...here.properties.filter((property) => property.holds)].map((property) =>
            h(
              'li',
              { class: property.holds ? 'is-holding' : 'is-broken' },
              h(
                'span',
                { class: 'property-sign', 'aria-hidden': 'true' },
                property.holds ? '✓' : '✗',
              ),
              h(
                'div',
                {},
                meaning(property.property, about.get(property.property)),
                h(
                  'span',
                  { class: 'sr-only' },
                  ` ${t(property.holds ? 'explore.holds' : 'explore.broken')}`,
                ),
                property.why &&
                  h(
                    'span',
                    { class: 'property-why' },
                    why(property.why, { end: '.' }),
                    property.step && [
                      ' ',
                      h(
                        'button',
                        {
                          type: 'button',
                          class: 'quiet step-link',
                          onclick: () => onGoto(Number(property.step)),
                        },
                        t('stage.insp-step', { n: property.step }),
                      ),
                    ],
                  ),
              ),
            ),
          ),
        ),
        h('h3', {}, t('explore.budgets')),
        h(
          'div',
          { class: 'budgets' },
          here.budgets.map((one) =>
            h(
              'div',
              { class: 'budget' },
              h('span', {}, t(`explore.bound-${one.name}`)),
              h('meter', {
                min: 0,
                max: Math.max(one.of, 1),
                value: one.used,
                'aria-label': t(`explore.bound-${one.name}`),
              }),
              h('span', { class: 'mono' }, `${one.used}/${one.of}`),
            ),
          ),
        ),
        h('h3', {}, t('explore.witnesses')),
        h(
          'ul',
          { class: 'plain wit-list' },
          [...required, ...others].map((one) =>
            h(
              'li',
              { class: one.reached ? 'is-reached' : '' },
              h('span', { 'aria-hidden': 'true' }, one.reached ? '●' : '○'),
              ' ',
              witness(one.name),
              h(
                'span',
                { class: 'sr-only' },
                ` ${t(one.reached ? 'explore.reached' : 'explore.unreached')}`,
              ),
              !one.reached &&
                h(
                  'button',
                  {
                    type: 'button',
                    class: 'quiet step-link',
                    onclick: () => onWitness(one.name),
                    'aria-label': t('explore.find-witness', { name: witness(one.name) }),
                  },
                  t('explore.go-find'),
                ),
            ),
          ),
        ),
      );
    },
    destroy() {
      box.remove();
    },
  };
}

/**
 * The summary of all properties. Beside a counterexample no green line says that all hold.
 * @param {number} count
 * @param {number} broken
 * @param {{property: string} | null} claim
 * @param {Named | null | undefined} liveness
 */
function summary(count, broken, claim, liveness) {
  if (broken)
    return h('p', { class: 'property-sum is-bad' }, t('explore.properties-broken', { n: broken }));
  if (liveness)
    return h(
      'p',
      { class: 'property-sum is-bad' },
      t('explore.properties-liveness', { property: propertyName(liveness.name), n: count }),
    );
  if (claim)
    return h(
      'p',
      { class: 'property-sum' },
      t('explore.properties-not-yet', { property: propertyName(claim.property) }),
    );
  return h('p', { class: 'property-sum is-good' }, t('explore.properties-hold', { n: count }));
}
