// An SVG of the page as a file of its own: what style sheets and themes say is written into every
// element as plain attributes, light, in colours that any program reads.

const PROPERTIES = [
  'fill', 'fill-opacity', 'stroke', 'stroke-width', 'stroke-dasharray', 'stroke-linecap', 'stroke-linejoin', 'stroke-opacity',
  'opacity', 'font-family', 'font-size', 'font-weight', 'font-style', 'text-anchor', 'text-decoration-line', 'dominant-baseline',
];
/** What a property is when nobody says anything. */
const PLAIN = {
  fill: '#000000', 'fill-opacity': '1', stroke: 'none', 'stroke-width': '1px', 'stroke-dasharray': 'none', 'stroke-linecap': 'butt',
  'stroke-linejoin': 'miter', 'stroke-opacity': '1', opacity: '1', 'font-weight': '400', 'font-style': 'normal', 'text-anchor': 'start',
  'text-decoration-line': 'none', 'dominant-baseline': 'auto',
};
/** What children do not inherit. */
const OWN = new Set(['opacity', 'text-decoration-line', 'dominant-baseline']);
const COLOURS = new Set(['fill', 'stroke']);
const DROPPED = ['class', 'style', 'tabindex', 'role', 'aria-label', 'aria-pressed', 'aria-hidden', 'data-look'];

/** The text of a file that shows what `picture` shows. */
export function standalone(picture, title = '') {
  const box = picture.viewBox.baseVal;
  const [width, height] = [box.width || picture.clientWidth, box.height || picture.clientHeight];
  const copy = picture.cloneNode(true);
  // It has to be somewhere for its styles to be known: at its own place, but light and unseen.
  const shelf = document.createElement('div');
  for (const [name, value] of Object.entries({ 'color-scheme': 'light', position: 'fixed', left: '-99999px', top: '0', width: `${width}px`, height: `${height}px` })) {
    shelf.style.setProperty(name, value);
  }
  shelf.append(copy);
  picture.parentNode.append(shelf);
  try {
    const background = paint(getComputedStyle(shelf).getPropertyValue('--panel'), shelf);
    for (const hidden of copy.querySelectorAll('.sparks')) hidden.remove();
    bake(copy);
    copy.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
    copy.setAttribute('viewBox', `0 0 ${width} ${height}`);
    copy.setAttribute('width', width);
    copy.setAttribute('height', height);
    const page = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
    for (const [name, value] of Object.entries({ x: 0, y: 0, width, height, fill: background })) page.setAttribute(name, value);
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

/** Writes what is computed for an element into it, where it is not what it inherits anyway. */
function bake(picture) {
  // All is read before anything is written: what a class says goes with the class.
  const read = new Map();
  for (const element of [picture, ...picture.querySelectorAll('*')]) read.set(element, computed(element));
  for (const [element, now] of read) {
    if (!now) { element.remove(); continue; }
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

/** What is computed for an element; nothing if it is not shown. */
function computed(element) {
  const style = getComputedStyle(element);
  if (style.display === 'none' || style.visibility === 'hidden') return null;
  const now = {};
  for (const name of PROPERTIES) {
    const value = style.getPropertyValue(name);
    now[name] = COLOURS.has(name) ? colour(value) : value;
  }
  return now;
}

const known = new Map();

/** `#rrggbb` of any colour that the browser knows: few other programs know `oklch`. */
export function colour(value) {
  if (value === 'none' || value.startsWith('url(')) return value;
  if (!known.has(value)) known.set(value, pixel(value));
  return known.get(value);
}

function pixel(value) {
  const canvas = document.createElement('canvas');
  canvas.width = 1;
  canvas.height = 1;
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.fillStyle = value;
  context.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
  if (a === 0) return 'none';
  const hex = (part) => Math.round(part).toString(16).padStart(2, '0');
  return `#${hex(r)}${hex(g)}${hex(b)}`;
}

/** A custom property as the place makes of it. */
function paint(value, place) {
  place.style.setProperty('color', value);
  return colour(getComputedStyle(place).color);
}
