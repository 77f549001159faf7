import { loadStrings, setLanguage } from '/ui/js/i18n.js';
import { PATTERN, shiviz } from '/ui/js/export/shiviz.js';
import { spacetimeSvg } from '/ui/js/export/spacetime.js';
import { parse } from '/ui/js/router.js';
import { filterMessages } from '/ui/js/replay/filter.js';
import { Timeline } from '/ui/js/timeline.js';
import { exploreHash, loadTour, lookedAt, pathOf, tours, walkOf } from '/ui/js/tour/walk.js';
import { run } from './samples.js';

/** @type {PageTests} */
export const tests = {
  path_has_a_key_for_each_step(equal) {
    equal(pathOf(new Timeline(run())), ['1e', '2d1', '1d2', 'x3', '1h', '2c']);
    equal(pathOf(new Timeline(run()), 2), ['1e', '2d1']);
    const data = run();
    data.steps[1] = { ...data.steps[1], process: 'server 1', event: { TransferLeadership: 2 } };
    equal(pathOf(new Timeline(data), 2), ['1e', '1l2']);
  },
  path_ends_before_what_has_no_key(equal) {
    const data = run();
    data.steps[1] = { ...data.steps[1], event: { Requests: [] } };
    equal(pathOf(new Timeline(data)), ['1e']);
  },
  address_of_a_walk_names_scope_bounds_bug_and_path(equal) {
    const walk = {
      scope: { name: 'crashes', bounds: { terms: 4 } },
      mutant: 'm',
      steps: 'merged',
      path: ['1e', '5d4-2'],
    };
    equal(parse(exploreHash(walk)), {
      page: 'explore',
      rest: [],
      params: { scope: 'crashes', terms: '4', mutant: 'm', path: '1e.5d4-2', at: '2' },
    });
  },
  message_that_is_never_delivered_is_left_out_once_it_is_old(equal) {
    const data = run();
    const timeline = new Timeline({
      ...data,
      steps: data.steps.slice(0, 1).concat(data.steps.slice(4)),
    });
    equal(filterMessages(timeline, timeline.at(1)).some.length, 1);
    equal(filterMessages(timeline, timeline.at(3)), { some: [], left: 2 });
    equal(filterMessages(timeline, timeline.at(3), { since: 1 }).left, 1);
    equal(filterMessages(timeline, timeline.at(3), { look: new Set([1]) }).left, 1);
  },
  async shiviz_log_has_a_clock_that_counts_what_was_known(equal) {
    await setLanguage('en');
    await loadStrings('shell', 'stage', 'export');
    const [pattern, between, ...lines] = shiviz(new Timeline(run())).split('\n');
    equal([pattern, between], [PATTERN, '']);
    const read = [...lines.join('\n').matchAll(new RegExp(pattern, 'g'))].map(({ groups }) => [
      groups?.host,
      JSON.parse(groups?.clock ?? ''),
    ]);
    equal(read, [
      ['server-1', { 'server-1': 1 }],
      ['server-2', { 'server-1': 1, 'server-2': 1 }],
      ['server-1', { 'server-1': 2, 'server-2': 1 }],
      ['server-2', { 'server-1': 1, 'server-2': 2 }],
      ['server-1', { 'server-1': 3, 'server-2': 1 }],
      ['server-2', { 'server-1': 1, 'server-2': 3 }],
    ]);
  },
  space_time_drawing_is_a_file_of_its_own(equal) {
    const text = spacetimeSvg(new Timeline(run()), { title: 'a < b & "c"' });
    const drawn = new DOMParser().parseFromString(text, 'image/svg+xml');
    equal(drawn.querySelector('parsererror'), null);
    equal(drawn.querySelector('title')?.textContent, 'a < b & "c"');
    equal(
      [
        drawn.querySelectorAll('circle').length,
        drawn.querySelectorAll('[class], style, [href]').length,
      ],
      [6, 0],
    );
  },
  async tours_have_a_step_for_each_event_and_point_at_what_is_there(equal) {
    for (const { name } of await tours()) {
      const tour = await loadTour(name);
      for (const part of tour.parts) {
        const events = part.cards.reduce((sum, card) => sum + (card.do?.length ?? 0), 0);
        equal(
          [name, events, walkOf(part, events).path.length],
          [name, part.timeline.length, part.timeline.length],
        );
      }
      for (const card of tour.cards) {
        const { processes, messages } = lookedAt(card.part.timeline, card, card.to);
        equal(
          [name, card.head.en, processes.size + messages.size],
          [name, card.head.en, card.look?.length ?? 0],
        );
      }
    }
  },
  async space_time_drawing_is_as_wide_as_its_words(equal) {
    await loadStrings('stage', 'export');
    const data = run();
    // A property that is violated on the first process, and a title wider than the columns.
    const steps = data.steps.map((step, place) =>
      place === 2
        ? {
            ...step,
            violations: [
              { property: 'TermsAndCommitIndexesNeverFall', why: 'x' },
              { property: 'AcknowledgedWritesAreKept', why: 'y' },
            ],
          }
        : step,
    );
    const text = spacetimeSvg(new Timeline({ ...data, steps }), {
      title:
        'A title that is much wider than the two columns of the picture, and goes on for a while longer than that',
    });
    const host = document.createElement('div');
    host.innerHTML = text.slice(text.indexOf('<svg'));
    document.body.append(host);
    const picture = /** @type {SVGSVGElement} */ (host.firstElementChild);
    const { x, y, width, height } = picture.viewBox.baseVal;
    const cut = [...picture.querySelectorAll('text')]
      .map((one) => ({ words: one.textContent, box: one.getBBox() }))
      .filter(
        ({ box }) =>
          box.x < x ||
          box.y < y ||
          box.x + box.width > x + width ||
          box.y + box.height > y + height,
      )
      .map(({ words }) => words);
    host.remove();
    equal(cut, []);
  },
};
