import { eventParser } from '/ui/js/api.js';

/**
 * The events of a stream that arrives in pieces.
 * @param {string[]} pieces
 */
function read(...pieces) {
  /** @type {unknown[]} */
  const found = [];
  const parse = eventParser((event) => found.push(event));
  for (const piece of pieces) parse(piece);
  return found;
}

/** @type {PageTests} */
export const tests = {
  events_come_whole_however_they_are_cut(equal) {
    const text =
      'id: 7\nevent: progress\ndata: {"states":\ndata: 12}\n\n: a comment\n\nid: 8\nevent: done\ndata: plain words\n\n';
    const expected = [
      { id: '7', event: 'progress', data: { states: 12 }, retry: null },
      { id: '8', event: 'done', data: 'plain words', retry: null },
    ];
    equal(read(text), expected);
    equal(read(...text), expected);
    equal(read(text.replaceAll('\n', '\r\n')), expected);
  },
  pause_before_trying_again_is_heard(equal) {
    equal(read('retry: 250\n\n'), [{ id: null, event: 'message', data: null, retry: 250 }]);
  },
};
