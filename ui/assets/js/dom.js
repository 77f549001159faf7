// Creates elements. `h('button', {class: 'x', onclick: go, 'aria-label': '..'}, 'text', child)`, and
// `svg` for SVG elements. A property that is a function is a listener; `null`, `undefined` and
// `false` omit the attribute; `style` is an object of CSS properties (the page's policy forbids
// style attributes). Children may be nodes, texts, numbers, arrays, or empty.
//
// `keyed` synchronizes a list of elements with a list of items. Elements that stay are moved and
// not created again, so that focus, scrolling and transitions survive an update.

const SVG = 'http://www.w3.org/2000/svg';

/**
 * Creates an HTML element.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Props} props
 * @param {Content[]} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

/**
 * Creates an SVG element.
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {Props} props
 * @param {Content[]} children
 * @returns {SVGElementTagNameMap[K]}
 */
export function svg(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

/**
 * A group of SVG elements that acts as a button, for the pointer and for the keyboard: it calls its
 * function `pick`.
 * @param {Content[]} children
 * @returns {SVGGElement & {pick: () => void}}
 */
export function svgButton(...children) {
  const group = Object.assign(svg('g', { role: 'button', tabindex: 0 }, children), { pick() {} });
  group.addEventListener('click', () => group.pick());
  group.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' && event.key !== ' ') return;
    event.preventDefault();
    event.stopPropagation();
    group.pick();
  });
  return group;
}

/**
 * @template {Element} E
 * @param {E} element
 * @param {Props} props
 * @param {Content[]} children
 */
function fill(element, props, children) {
  set(element, props);
  append(element, children);
  return element;
}

/**
 * Sets the attributes, listeners and style of an existing element.
 * @template {Element} E
 * @param {E} element
 * @param {Props} props
 */
export function set(element, props) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (name === 'style') {
      for (const [property, what] of Object.entries(value))
        /** @type {PageElement} */ (element).style.setProperty(property, what);
    } else if (typeof value === 'function') {
      element.addEventListener(name.replace(/^on/, ''), value);
    } else if (
      name === 'value' ||
      name === 'checked' ||
      name === 'disabled' ||
      name === 'indeterminate'
    ) {
      // In form elements the property has the current value, not the attribute.
      if (name in element) /** @type {PageElement} */ (element)[name] = value ?? '';
      else if (value) element.setAttribute(name, '');
    } else if (value === null || value === undefined || value === false) {
      element.removeAttribute(name);
    } else {
      const text = value === true ? '' : String(value);
      if (element.getAttribute(name) !== text) element.setAttribute(name, text);
    }
  }
  return element;
}

/** @param {Element} element @param {Content[]} children */
function append(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(element, child);
    else element.append(child instanceof Node ? child : String(child));
  }
}

/**
 * Replaces all children.
 * @template {Element} E
 * @param {E} element
 * @param {Content[]} children
 */
export function replace(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

/**
 * Sets a text if it differs.
 * @param {Element} element
 * @param {string} words
 */
export function text(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

/**
 * Synchronizes the children of `parent` with `items`: `make(item)` returns an element, `update(element,
 * item)` updates it, `key(item)` identifies it. Returns the elements by key.
 * @template T
 * @param {PageElement} parent
 * @param {T[]} items
 * @param {(item: T) => unknown} key
 * @param {(item: T) => Element} make
 * @param {(element: PageElement, item: T) => unknown} [update]
 * @returns {Map<unknown, Element>}
 */
export function keyed(parent, items, key, make, update) {
  /** @type {Map<unknown, Element>} */
  const old = parent.keyedChildren ?? new Map();
  /** @type {Map<unknown, Element>} */
  const now = new Map();
  let place = parent.firstChild;
  for (const item of items) {
    const name = key(item);
    if (now.has(name)) continue;
    let element = old.get(name);
    if (!element) element = make(item);
    now.set(name, element);
    update?.(element, item);
    if (element === place) place = place.nextSibling;
    else parent.insertBefore(element, place);
  }
  for (const [name, element] of old) if (!now.has(name)) element.remove();
  parent.keyedChildren = now;
  return now;
}

/**
 * Loads the style sheet `css/NAME.css` once. Resolves when it is loaded.
 * @param {string} name
 * @returns {Promise<void>}
 */
export function style(name) {
  const href = `/ui/css/${name}.css`;
  const there = document.querySelector(`link[href="${href}"]`);
  if (there) return Promise.resolve();
  return new Promise((done) => {
    const link = h('link', {
      rel: 'stylesheet',
      href,
      onload: () => done(),
      onerror: () => done(),
    });
    document.head.append(link);
  });
}

/**
 * Returns a function that schedules `run` for the next frame; repeated calls run it once.
 * @param {() => void} run
 */
export function eachFrame(run) {
  let asked = 0;
  const later = () => {
    if (!asked)
      asked = requestAnimationFrame(() => {
        asked = 0;
        run();
      });
  };
  later.stop = () => {
    cancelAnimationFrame(asked);
    asked = 0;
  };
  return later;
}

/**
 * Redraws `element` when its data changes: `draw()` runs in the next frame after each `later()`. If the
 * element is out of view at that time, `draw()` runs once it comes into view. `size` is the size from
 * the last layout: reading it from the element would force a new layout.
 * @param {Element} element
 * @param {() => void} draw
 */
export function drawing(element, draw) {
  let isSeen = true;
  let isDue = false;
  const size = { width: element.clientWidth, height: element.clientHeight };
  const frame = eachFrame(() => {
    isDue = false;
    draw();
  });
  const later = () => {
    if (isSeen) frame();
    else isDue = true;
  };
  const sizes = new ResizeObserver(() => {
    const [width, height] = [element.clientWidth, element.clientHeight];
    if (width === size.width && height === size.height) return;
    Object.assign(size, { width, height });
    later();
  });
  sizes.observe(element);
  // The margin lets an element be drawn shortly before it scrolls into view.
  const sight = new IntersectionObserver(
    (found) => {
      isSeen = found[found.length - 1].isIntersecting;
      if (isSeen && isDue) frame();
    },
    { rootMargin: '200px' },
  );
  sight.observe(element);
  return {
    later,
    size,
    stop() {
      sizes.disconnect();
      sight.disconnect();
      frame.stop();
    },
  };
}

/** Whether the reader prefers reduced motion. */
export const still = () => matchMedia('(prefers-reduced-motion: reduce)').matches;

/**
 * The element at or above the target of an event that matches a selector.
 * @param {Event} event
 * @param {string} selector
 * @returns {HTMLElement | SVGElement | null}
 */
export const closest = ({ target }, selector) =>
  target instanceof Element ? target.closest(selector) : null;
