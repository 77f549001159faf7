// A run as a log for ShiViz, which reads plain text. The first line of the file is the regular
// expression that parses the rest. The second line is empty; it would separate several executions.
// Then follow two lines for each step: the event, and the process with its vector clock.
//
// The clock records the causality of messages only: a step follows the previous step of its process,
// and the step that first sent the message that it receives.

import { event as tellEvent } from '../describe.js';

/** Parses the file: the event, its position in the run, the process, the clock. */
export const PATTERN = String.raw`(?<event>.*)\n(?<host>\S*) (?<clock>{.*})`;

/** @param {Timeline} timeline */
export function shiviz(timeline) {
  const clocks = new Map();
  /** The clock after each step. */
  const after = new Map();
  const lines = [PATTERN, ''];
  timeline.steps.forEach((step, place) => {
    const n = timeline.offset + place + 1;
    const host = step.process.replace(/\s+/g, '-');
    const clock = { ...clocks.get(host) };
    const message = timeline.links[place].now;
    const cause = message === null || isDrop(step) ? 0 : timeline.all[message - 1].sentAt;
    for (const [name, count] of Object.entries(after.get(cause) ?? {}))
      clock[name] = Math.max(clock[name] ?? 0, count);
    clock[host] = (clocks.get(host)?.[host] ?? 0) + 1;
    clocks.set(host, clock);
    after.set(n, clock);
    lines.push(
      `${n}. ${tellEvent(step, timeline.state(step.process, n - 1)).replace(/\s+/g, ' ')}`,
      `${host} ${JSON.stringify(clock)}`,
    );
  });
  return `${lines.join('\n')}\n`;
}

/** @param {Step} step */
const isDrop = (step) => typeof step.event === 'object' && 'Drop' in step.event;
