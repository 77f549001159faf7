// Exports an SVG of the page as a self-contained file: the values of style sheets and themes become
// plain attributes of every element, in light colors that any program reads.

const PROPERTIES = [
  'fill',
  'fill-opacity',
  'stroke',
  'stroke-width',
  'stroke-dasharray',
  'stroke-linecap',
  'stroke-linejoin',
  'stroke-opacity',
  'opacity',
  'font-family',
  'font-size',
  'font-weight',
  'font-style',
  'text-anchor',
  'text-decoration-line',
  'dominant-baseline',
];
/**
 * The initial values of the properties.
 * @type {Record<string, string>}
 */
const PLAIN = {
  fill: '#000000',
  'fill-opacity': '1',
  stroke: 'none',
  'stroke-width': '1px',
  'stroke-dasharray': 'none',
  'stroke-linecap': 'butt',
  'stroke-linejoin': 'miter',
  'stroke-opacity': '1',
  opacity: '1',
  'font-weight': '400',
  'font-style': 'normal',
  'text-anchor': 'start',
  'text-decoration-line': 'none',
  'dominant-baseline': 'auto',
};
/** The properties that children do not inherit. */
const OWN = new Set(['opacity', 'text-decoration-line', 'dominant-baseline']);
const COLORS = new Set(['fill', 'stroke']);
const DROPPED = [
  'class',
  'style',
  'tabindex',
  'role',
  'aria-label',
  'aria-pressed',
  'aria-hidden',
  'data-look',
];

/**
 * The text of a file that shows the drawing `picture`.
 * @param {SVGSVGElement} picture
 */
export function standalone(picture, title = '') {
  const box = picture.viewBox.baseVal;
  const [width, height] = [box.width || picture.clientWidth, box.height || picture.clientHeight];
  const copy = /** @type {SVGSVGElement} */ (picture.cloneNode(true));
  // The copy must be in the document for its styles to be computed: in place, light and invisible.
  const shelf = document.createElement('div');
  for (const [name, value] of Object.entries({
    'color-scheme': 'light',
    position: 'fixed',
    left: '-99999px',
    top: '0',
    width: `${width}px`,
    height: `${height}px`,
  })) {
    shelf.style.setProperty(name, value);
  }
  shelf.append(copy);
  picture.parentElement?.append(shelf);
  try {
    const background = paint(getComputedStyle(shelf).getPropertyValue('--panel'), shelf);
    for (const hidden of copy.querySelectorAll('.sparks')) hidden.remove();
    bake(copy);
    copy.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
    copy.setAttribute('viewBox', `0 0 ${width} ${height}`);
    copy.setAttribute('width', String(width));
    copy.setAttribute('height', String(height));
    const page = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
    for (const [name, value] of Object.entries({ x: 0, y: 0, width, height, fill: background }))
      page.setAttribute(name, String(value));
    copy.prepend(page);
    if (title) {
      const words = document.createElementNS('http://www.w3.org/2000/svg', 'title');
      words.textContent = title;
      copy.prepend(words);
    }
    return `<?xml version="1.0" encoding="UTF-8"?>\n${new XMLSerializer().serializeToString(copy)}\n`;
  } finally {
    shelf.remove();
  }
}

/**
 * Writes the computed styles of an element into it, except inherited values.
 * @param {Element} picture
 */
function bake(picture) {
  // All styles are read before any is written: removing the class changes the computed values.
  const read = new Map();
  for (const element of [picture, ...picture.querySelectorAll('*')])
    read.set(element, computed(element));
  for (const [element, now] of read) {
    if (!now) {
      element.remove();
      continue;
    }
    const inherited = read.get(element.parentNode) ?? PLAIN;
    for (const name of DROPPED) element.removeAttribute(name);
    for (const name of PROPERTIES) {
      const held = OWN.has(name) ? PLAIN[name] : inherited[name];
      const written = name === 'text-decoration-line' ? 'text-decoration' : name;
      if (now[name] === held) element.removeAttribute(written);
      else element.setAttribute(written, now[name].replace(/"/g, "'"));
    }
  }
}

/**
 * The computed styles of an element; nothing if it is not displayed.
 * @param {Element} element
 */
function computed(element) {
  const style = getComputedStyle(element);
  if (style.display === 'none' || style.visibility === 'hidden') return null;
  /** @type {Record<string, string>} */
  const now = {};
  for (const name of PROPERTIES) {
    const value = style.getPropertyValue(name);
    now[name] = COLORS.has(name) ? color(value) : value;
  }
  return now;
}

/** @type {Map<string, string>} */
const known = new Map();

/**
 * `#rrggbb` of any color that the browser knows: few other programs know `oklch`.
 * @param {string} value
 * @returns {string}
 */
export function color(value) {
  if (value === 'none' || value.startsWith('url(')) return value;
  const found = known.get(value) ?? pixel(value);
  known.set(value, found);
  return found;
}

/** @param {string} value */
function pixel(value) {
  const canvas = document.createElement('canvas');
  canvas.width = 1;
  canvas.height = 1;
  const context = /** @type {CanvasRenderingContext2D} */ (
    canvas.getContext('2d', { willReadFrequently: true })
  );
  context.fillStyle = value;
  context.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
  if (a === 0) return 'none';
  /** @param {number} part */
  const hex = (part) => Math.round(part).toString(16).padStart(2, '0');
  return `#${hex(r)}${hex(g)}${hex(b)}`;
}

/**
 * The computed value of a custom property at this element.
 * @param {string} value
 * @param {HTMLElement} place
 */
function paint(value, place) {
  place.style.setProperty('color', value);
  return color(getComputedStyle(place).color);
}
