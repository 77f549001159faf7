// A run as a log for ShiViz, whose format is plain text. The first line of
// the file is the regular expression that reads the rest, the second, empty, would part several
// executions. Then two lines for each step: what happened, and where with its vector clock.
//
// The clock is the causality of messages and of nothing else: a step comes after the one before it on
// its process, and after the step that first sent what it receives.

import { event as tellEvent } from '../describe.js';

/** Reads the file: the event, its place in the run, the process, the clock. */
export const PATTERN = String.raw`(?<event>.*)\n(?<host>\S*) (?<clock>{.*})`;

export function shiviz(timeline) {
  const clocks = new Map();
  /** Of every step: the clock after it. */
  const after = new Map();
  const lines = [PATTERN, ''];
  timeline.steps.forEach((step, place) => {
    const n = timeline.offset + place + 1;
    const host = step.process.replace(/\s+/g, '-');
    const clock = { ...clocks.get(host) };
    const message = timeline.links[place].now;
    const cause = message === null || isDrop(step) ? 0 : timeline.all[message - 1].sentAt;
    for (const [name, count] of Object.entries(after.get(cause) ?? {})) clock[name] = Math.max(clock[name] ?? 0, count);
    clock[host] = (clocks.get(host)?.[host] ?? 0) + 1;
    clocks.set(host, clock);
    after.set(n, clock);
    lines.push(`${n}. ${tellEvent(step, timeline.state(step.process, n - 1)).replace(/\s+/g, ' ')}`, `${host} ${JSON.stringify(clock)}`);
  });
  return `${lines.join('\n')}\n`;
}

const isDrop = (step) => typeof step.event === 'object' && 'Drop' in step.event;
