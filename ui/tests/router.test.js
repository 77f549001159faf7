import { format, parse } from '/ui/js/router.js';

/** @type {PageTests} */
export const tests = {
  address_is_taken_apart(equal) {
    equal(parse('#/tour/figure-8?step=3'), {
      page: 'tour',
      rest: ['figure-8'],
      params: { step: '3' },
    });
    equal(parse(''), { page: null, rest: [], params: {} });
    equal(parse('#/explore?path=1e.2d1&at=2'), {
      page: 'explore',
      rest: [],
      params: { path: '1e.2d1', at: '2' },
    });
  },
  address_put_together_is_readable_and_comes_back(equal) {
    const here = {
      page: 'explore',
      rest: [],
      params: { scope: 'older-term', path: '1e.2d1.4d7-2.x5' },
    };
    equal(format(here), '#/explore?scope=older-term&path=1e.2d1.4d7-2.x5');
    equal(parse(format(here)), here);
    const odd = { page: 'replay', rest: ['a b/c'], params: { q: 'x&y=ñ #?' } };
    equal(parse(format(odd)), odd);
  },
  what_is_empty_is_left_out(equal) {
    equal(format({ page: 'explore', params: { mutant: null, path: '', at: 0 } }), '#/explore?at=0');
  },
  bad_escape_is_taken_as_written(equal) {
    equal(parse('#/tour/%zz').rest, ['%zz']);
  },
};
