// The space-time diagram as a drawing for a paper: processes are columns, time goes down, each step
// has a row, messages are arrows from the step that first sends them to every step that receives them.
//
// The drawing uses the timeline and not the diagram on the page, which draws only its visible part. The
// texts are measured, and the picture is wide enough for them: nothing is clipped at an edge.

import { event as tellEvent, family, initial, short } from '../describe.js';
import { propertyName } from '../properties.js';
import { eventName, eventOf, isDown, roleOf, termOf } from '../timeline.js';
import { has, t } from '../i18n.js';

const ROW = 26;
const COLUMN = 150;
const LEFT = 56;
const EDGE = 10;
const TOP = 62;
/** @type {Record<string, string>} */
const INK = { vote: '#8a4b00', append: '#155fa8', client: '#79398f' };
const BAD = '#ab2018';
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";

/**
 * The text of an SVG file: steps `from` + 1 to `to`.
 * @param {Timeline} timeline
 */
export function spacetimeSvg(
  timeline,
  { from = timeline.offset, to = timeline.last, title = '' } = {},
) {
  const names = timeline.names;
  written = [];
  const height = TOP + ROW * (to - from + 1) + 24;
  /** @param {string} name */
  const x = (name) => LEFT + COLUMN * (names.indexOf(name) + 0.5);
  /** @param {number} n */
  const y = (n) => TOP + ROW * (n - from);
  const parts = [];
  for (const name of names) parts.push(...line(timeline, name, from, to, x(name), y));
  const arrows = [];
  const labels = [];
  for (let n = from + 1; n <= to; n += 1) {
    const id = timeline.link(n).now;
    if (id === null) continue;
    const message = timeline.all[id - 1];
    if (!names.includes(message.from)) continue;
    const lost = eventOf(timeline.step(n)).name === 'Drop';
    const ink = lost ? BAD : INK[family(message.message)];
    const start = Math.max(message.sentAt, from);
    const [x1, y1, x2, y2] = [x(message.from), y(start), x(message.to), y(n)];
    const place = lost ? 0.6 : 1;
    const [ex, ey] = [x1 + (x2 - x1) * place, y1 + (y2 - y1) * place];
    arrows.push(
      `<line x1="${x1}" y1="${y1}" x2="${ex}" y2="${ey}" stroke="${ink}" stroke-width="1.3"${lost ? ' stroke-dasharray="4 3"' : ` marker-end="url(#${family(message.message)})"`}/>`,
    );
    if (lost)
      arrows.push(
        `<text x="${ex}" y="${ey + 4}" text-anchor="middle" fill="${BAD}" font-size="13">✕</text>`,
      );
    // The label is placed near the receiver, on the side of the sender.
    const side = x2 > x1 ? -1 : 1;
    labels.push(
      text(x2 + side * 12, y2 - 5 - (y2 - y1 > ROW * 1.5 ? 2 : 0), short(message.message), {
        anchor: side < 0 ? 'end' : 'start',
        fill: ink,
        size: 9.5,
        halo: true,
      }),
    );
  }
  const ticks = [];
  const heading = text(10, 18, title, { size: 11, fill: '#505a5f' });
  for (let n = from + 1; n <= to; n += 1) ticks.push(...tick(timeline, n, x, y));
  const left = Math.floor(Math.min(0, ...written.map((one) => one.from)) - EDGE);
  const width =
    Math.ceil(Math.max(LEFT + COLUMN * names.length, ...written.map((one) => one.to)) + EDGE) -
    left;
  return `<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" viewBox="${left} 0 ${width} ${height}" width="${width}" height="${height}" font-family="${FONT}">
<title>${escape(title)}</title>
<defs>${Object.entries(INK)
    .map(
      ([name, ink]) =>
        `<marker id="${name}" viewBox="0 0 10 10" refX="10" refY="5" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 1 10 5 0 9z" fill="${ink}"/></marker>`,
    )
    .join('')}</defs>
<rect x="${left}" width="${width}" height="${height}" fill="#ffffff"/>
${heading}
${parts.join('\n')}
${arrows.join('\n')}
${ticks.join('\n')}
${labels.join('\n')}
</svg>
`;
}

/**
 * A process: its name, and its lifeline, interrupted while it is down, double while it is leader.
 * @param {Timeline} timeline
 * @param {string} name
 * @param {number} from
 * @param {number} to
 * @param {number} x
 * @param {(step: number) => number} y
 */
function line(timeline, name, from, to, x, y) {
  const found = [
    text(x, 40, initial(name), { anchor: 'middle', size: 14, weight: 700, fill: '#1b2225' }),
  ];
  let since = from;
  /** @param {number} n */
  const kind = (n) => {
    const snapshot = timeline.state(name, n);
    if (isDown(snapshot)) return 'down';
    return roleOf(snapshot) === 'leader' ? 'leader' : 'plain';
  };
  /**
   * @param {number} until
   * @param {string} what
   */
  const close = (until, what) => {
    const [y1, y2] = [y(since), y(until) + (until === to ? ROW / 2 : 0)];
    if (what === 'leader')
      found.push(
        `<line x1="${x}" y1="${y1}" x2="${x}" y2="${y2}" stroke="#1b2225" stroke-width="5"/><line x1="${x}" y1="${y1}" x2="${x}" y2="${y2}" stroke="#ffffff" stroke-width="2"/>`,
      );
    else
      found.push(
        `<line x1="${x}" y1="${y1}" x2="${x}" y2="${y2}" stroke="${what === 'down' ? BAD : '#8b9094'}" stroke-width="1.4"${what === 'down' ? ' stroke-dasharray="2 4"' : ''}/>`,
      );
    since = until;
  };
  let now = kind(from);
  for (let n = from + 1; n <= to; n += 1) {
    const then = kind(n);
    if (then !== now) {
      close(n, now);
      now = then;
    }
  }
  close(to, now);
  return found;
}

/**
 * The event of a step: a dot at its process, its number at the left, words unless it is a delivery.
 * @param {Timeline} timeline
 * @param {number} n
 * @param {(name: string) => number} x
 * @param {(step: number) => number} y
 */
function tick(timeline, n, x, y) {
  const step = timeline.step(n);
  const at = timeline.state(step.process, n);
  const was = timeline.state(step.process, n - 1);
  const event = eventOf(step);
  const [px, py] = [x(step.process), y(n)];
  const violations = step.violations ?? [];
  const found = [
    text(10, py + 3.5, String(n), { size: 9, fill: '#8b9094' }),
    `<circle cx="${px}" cy="${py}" r="3.4" fill="${violations.length ? BAD : '#1b2225'}"><title>${escape(tellEvent(step, was))}</title></circle>`,
  ];
  const words = [];
  const elected =
    roleOf(at) === 'leader' && (roleOf(was) !== 'leader' || termOf(was) !== termOf(at));
  if (elected) words.push(t('export.ev-leads', { term: termOf(at) }));
  else if (event.name !== 'Deliver' && event.name !== 'Drop') words.push(eventWord(step, was));
  if (at?.running && was?.running && at.running.commit_index > was.running.commit_index)
    words.push(t('export.ev-commit', { index: at.running.commit_index }));
  if (words.length)
    found.push(text(px + 9, py + 12, words.join('  '), { size: 9.5, weight: 600, halo: true }));
  if (violations.length)
    found.push(
      text(
        px - 9,
        py + 24,
        `✗ ${violations.map(({ property }) => propertyName(property)).join(', ')}`,
        { anchor: 'end', weight: 700, fill: BAD, halo: true },
      ),
    );
  return found;
}

/**
 * @param {Step} step
 * @param {Snapshot | null} before
 */
const eventWord = (step, before) => {
  const { name, target } = eventOf(step);
  const key = `export.ev-${eventName(step, before)}`;
  return has(key) ? t(key, { to: target && initial(`server ${target}`) }) : name;
};

/**
 * The extent of each text in the current drawing.
 * @type {{from: number, to: number}[]}
 */
let written = [];
/** @type {CanvasRenderingContext2D} */
let ruler;

/**
 * @param {string} words
 * @param {number} size
 * @param {number} weight
 */
function wide(words, size, weight) {
  ruler ??= /** @type {CanvasRenderingContext2D} */ (
    document.createElement('canvas').getContext('2d')
  );
  ruler.font = `${weight} ${size}px ${FONT}`;
  // Room for the wider font of another program.
  return ruler.measureText(words).width * 1.08;
}

/**
 * @param {number} x
 * @param {number} y
 * @param {string} words
 */
function text(
  x,
  y,
  words,
  { anchor = 'start', size = 11, weight = 400, fill = '#1b2225', halo = false } = {},
) {
  const w = wide(words, size, weight);
  const from = x - ({ middle: w / 2, end: w }[anchor] ?? 0);
  written.push({ from, to: from + w });
  const under = halo
    ? ' stroke="#ffffff" stroke-width="3" stroke-linejoin="round" paint-order="stroke"'
    : '';
  return `<text x="${x}" y="${y}" text-anchor="${anchor}" font-size="${size}" font-weight="${weight}" fill="${fill}"${under}>${escape(words)}</text>`;
}

/** @param {unknown} words */
const escape = (words) =>
  String(words)
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/>/g, '&gt;')
    .replace(/"/g, '&quot;');
