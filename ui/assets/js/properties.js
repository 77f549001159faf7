// The names and definitions of properties, and the names of witnesses, in the language of the page.

import { has, t } from './i18n.js';

/**
 * The name of a witness in the language of the page.
 * @param {string} name
 */
export function witness(name) {
  const key = `stage.witness-${name.replaceAll(' ', '-')}`;
  return has(key) ? t(key) : name;
}

/**
 * The name of a property: `LeaderCompleteness` and `Leader Completeness` are the same.
 * @param {string} name
 */
export function propertyName(name) {
  const key = `stage.property-${String(name)
    .replace(/[^A-Za-z]/g, '')
    .toLowerCase()}`;
  return has(key) ? t(key) : String(name).replace(/([a-z])([A-Z])/g, '$1 $2');
}

/**
 * The definition of a property, in the language of the page: `{name, about}` of the catalog.
 * @param {Named} property
 */
export function aboutProperty({ name, about }) {
  const key = `explore.about-property-${String(name)
    .replace(/[^A-Za-z]/g, '')
    .toLowerCase()}`;
  return has(key) ? t(key) : about;
}
