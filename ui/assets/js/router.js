// Reads and writes the fragment of the address: `#/tour/figure-8?step=3` is
// `{page: 'tour', rest: ['figure-8'], params: {step: '3'}}`.

/**
 * The page is `null` for an empty fragment.
 * @param {string} hash
 */
export function parse(hash) {
  const whole = hash.replace(/^#\/?/, '');
  const question = whole.indexOf('?');
  const path = question < 0 ? whole : whole.slice(0, question);
  const [page, ...rest] = path.split('/').filter(Boolean).map(decode);
  const params =
    question < 0 ? {} : Object.fromEntries(new URLSearchParams(whole.slice(question + 1)));
  return { page: page ?? null, rest, params };
}

/** @param {Place} place */
export function format({ page, rest = [], params = {} }) {
  const query = Object.entries(params)
    .filter(([, value]) => value !== null && value !== undefined && value !== '')
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .join('&');
  return `#/${[page, ...rest].map(encodeURIComponent).join('/')}${query ? `?${query}` : ''}`;
}

/**
 * Characters that a fragment permits stay readable: `1e.2d1`, `a=1,b=2`.
 * @param {any} value
 */
function encode(value) {
  return encodeURIComponent(value).replace(/%(2C|3A|40|2F|24)/g, (whole) =>
    decodeURIComponent(whole),
  );
}

/**
 * An invalid escape is taken literally: the reader may type an address by hand.
 * @param {string} text
 */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

// The address is written once the reader stays at a step: writing it for every step takes time, and
// browsers refuse after some hundred writes.

/** @type {{hash: string | null, over: string | null, timer: ReturnType<typeof setTimeout> | undefined}} */
const due = { hash: null, over: null, timer: undefined };

/**
 * Replaces the current fragment after a short delay, without an event.
 * @param {string} hash
 */
export function addressLater(hash) {
  clearTimeout(due.timer);
  Object.assign(due, { hash, over: location.hash, timer: setTimeout(addressNow, 100) });
}

/** Writes a pending fragment now. */
export function addressNow() {
  clearTimeout(due.timer);
  const { hash, over } = due;
  due.hash = null;
  // If the reader has gone elsewhere since, the address stays.
  if (hash !== null && over === location.hash && hash !== over)
    history.replaceState(null, '', hash);
}
