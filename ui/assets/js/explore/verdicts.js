// The verdicts on the current state: every property, the witnesses on the path, and the budget used.
//
//   const verdicts = Verdicts(host, {onGoto(step), onWitness(name)});
//   verdicts.update({here, catalogue, claim: {law, why, key} | null});
//
// `claim` is the violation that the counterexample shows. A property's meaning opens below its name.

import { h, replace } from '../dom.js';
import { t } from '../i18n.js';
import { aboutLaw, lawName, witness } from '../laws.js';
import { why } from '../why.js';

export function Verdicts(host, { onGoto, onWitness }) {
  const box = h('div', { class: 'verdicts' });
  host.append(box);
  let shown = null;
  return {
    update({ here, catalogue, claim = null }) {
      if (!here) { box.setAttribute('aria-busy', 'true'); return; }
      box.removeAttribute('aria-busy');
      if (here === shown?.here && claim?.key === shown.claim) return;
      const open = new Set([...box.querySelectorAll('.law-list details[open]')].map((one) => one.dataset.law));
      shown = { here, claim: claim?.key };
      const broken = here.laws.filter((law) => !law.holds);
      const about = new Map((catalogue?.laws ?? []).map((law) => [law.name, law]));
      const required = here.witnesses.filter((one) => one.required);
      const others = here.witnesses.filter((one) => !one.required && one.reached);
      const property = claim && (catalogue?.properties ?? []).find(({ name }) => name === claim.law);
      const meaning = (name, known) => {
        const words = known ? aboutLaw(known) : '';
        return words ? h('details', { 'data-law': name, open: open.has(name) }, h('summary', {}, lawName(name)), h('p', { class: 'law-about' }, words)) : lawName(name);
      };
      replace(box,
        h('h3', {}, t('explore.laws')), summary(here.laws.length, broken.length, claim, property),
        h('ul', { class: 'plain law-list' },
          property && h('li', { class: 'is-broken' }, h('span', { class: 'law-sign', 'aria-hidden': 'true' }, '✗'),
            h('div', {}, meaning(property.name, property), h('span', { class: 'sr-only' }, ` ${t('explore.broken')}`), h('span', { class: 'law-why' }, why(claim.why, { end: '.' })))),
          [...broken, ...here.laws.filter((law) => law.holds)].map((law) => h('li', { class: law.holds ? 'is-holding' : 'is-broken' },
            h('span', { class: 'law-sign', 'aria-hidden': 'true' }, law.holds ? '✓' : '✗'),
            h('div', {}, meaning(law.law, about.get(law.law)), h('span', { class: 'sr-only' }, ` ${t(law.holds ? 'explore.holds' : 'explore.broken')}`),
              law.why && h('span', { class: 'law-why' }, why(law.why, { end: '.' }), law.step && [' ', h('button', { type: 'button', class: 'quiet step-link', onclick: () => onGoto(law.step) }, t('stage.insp-step', { n: law.step }))]))))),
        h('h3', {}, t('explore.budgets')),
        h('div', { class: 'budgets' }, here.budgets.map((one) => h('div', { class: 'budget' },
          h('span', {}, t(`explore.bound-${one.name}`)), h('meter', { min: 0, max: Math.max(one.of, 1), value: one.used, 'aria-label': t(`explore.bound-${one.name}`) }),
          h('span', { class: 'mono' }, `${one.used}/${one.of}`)))),
        h('h3', {}, t('explore.witnesses')),
        h('ul', { class: 'plain wit-list' }, [...required, ...others].map((one) => h('li', { class: one.reached ? 'is-reached' : '' },
          h('span', { 'aria-hidden': 'true' }, one.reached ? '●' : '○'), ' ', witness(one.name), h('span', { class: 'sr-only' }, ` ${t(one.reached ? 'explore.reached' : 'explore.unreached')}`),
          !one.reached && h('button', { type: 'button', class: 'quiet step-link', onclick: () => onWitness(one.name), 'aria-label': t('explore.find-witness', { name: witness(one.name) }) }, t('explore.go-find')))),
        ));
    },
    destroy() { box.remove(); },
  };
}

/** The summary of all properties. Beside a counterexample no green line says that all hold. */
function summary(count, broken, claim, property) {
  if (broken) return h('p', { class: 'law-sum is-bad' }, t('explore.laws-broken', { n: broken }));
  if (property) return h('p', { class: 'law-sum is-bad' }, t('explore.laws-property', { property: lawName(property.name), n: count }));
  if (claim) return h('p', { class: 'law-sum' }, t('explore.laws-not-yet', { law: lawName(claim.law) }));
  return h('p', { class: 'law-sum is-good' }, t('explore.laws-hold', { n: count }));
}
