import { h, keyed } from '/ui/js/dom.js';

/** @type {PageTests} */
export const tests = {
  element_has_attributes_listeners_and_children(equal) {
    let clicks = 0;
    const button = h(
      'button',
      {
        class: 'x',
        hidden: true,
        title: null,
        onclick: () => {
          clicks += 1;
        },
      },
      'a',
      [1, null, h('b', {}, 'c')],
    );
    button.click();
    equal(
      [
        button.className,
        button.hasAttribute('hidden'),
        button.hasAttribute('title'),
        button.textContent,
        clicks,
      ],
      ['x', true, false, 'a1c', 1],
    );
  },
  list_keeps_the_elements_of_what_stays(equal) {
    const list = h('ul', {});
    const show = (/** @type {string[]} */ items) =>
      keyed(
        list,
        items,
        (item) => item,
        (item) => h('li', {}, item),
      );
    show(['a', 'b', 'c']);
    const b = list.children[1];
    show(['c', 'b', 'd']);
    equal(
      [[...list.children].map((one) => one.textContent), list.children[1] === b],
      [['c', 'b', 'd'], true],
    );
  },
};
