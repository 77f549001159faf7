// The fragment of the address, read and written: `#/tour/figure-8?step=3` is
// `{page: 'tour', rest: ['figure-8'], params: {step: '3'}}`.

export function parse(hash) {
  const whole = hash.replace(/^#\/?/, '');
  const question = whole.indexOf('?');
  const path = question < 0 ? whole : whole.slice(0, question);
  const [page, ...rest] = path.split('/').filter(Boolean).map(decode);
  const params = question < 0 ? {} : Object.fromEntries(new URLSearchParams(whole.slice(question + 1)));
  return { page: page ?? null, rest, params };
}

export function format({ page, rest = [], params = {} }) {
  const query = Object.entries(params)
    .filter(([, value]) => value !== null && value !== undefined && value !== '')
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .join('&');
  return `#/${[page, ...rest].map(encodeURIComponent).join('/')}${query ? `?${query}` : ''}`;
}

/** What a fragment may hold as it is stays readable: `1e.2d1`, `a=1,b=2`. */
function encode(value) {
  return encodeURIComponent(value).replace(/%(2C|3A|40|2F|24)/g, (whole) => decodeURIComponent(whole));
}

/** A bad escape is taken as written: an address may be typed by hand. */
function decode(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

// The address of where one is comes once one stays there: to write it for every step that one passes
// takes time, and browsers refuse to after some hundreds.

const due = { hash: null, over: null, timer: 0 };

/** Writes this fragment soon, in place of the one there is; nobody is told. */
export function addressLater(hash) {
  clearTimeout(due.timer);
  Object.assign(due, { hash, over: location.hash, timer: setTimeout(addressNow, 100) });
}

/** Writes what is still to be written. */
export function addressNow() {
  clearTimeout(due.timer);
  const { hash, over } = due;
  due.hash = null;
  // Who went elsewhere meanwhile stays there.
  if (hash !== null && over === location.hash && hash !== over) history.replaceState(null, '', hash);
}
