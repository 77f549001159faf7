import { loadStrings, setLanguage } from '/ui/js/i18n.js';
import { sentence, why } from '/ui/js/why.js';

/** @type {PageTests} */
export const tests = {
  async sentence_is_in_the_language_of_the_page(equal) {
    const [english, cause] = ['server 1 is down', { code: 'Down', process: 'server 1' }];
    equal(sentence(english, cause), english);
    equal(why(english, { cause, end: '.' }).outerHTML, '<span>server 1 is down.</span>');
    await setLanguage('es');
    await loadStrings('stage', 'diagnostic');
    try {
      equal(sentence(english, cause), 'el servidor 1 está caído');
      equal(
        why(english, { cause, end: '.', capital: true }).outerHTML,
        '<span>El servidor 1 está caído.</span>',
      );
    } finally {
      await setLanguage('en');
    }
  },
  async sentence_without_a_text_stays_and_is_marked_as_english(equal) {
    const cause = { code: 'NoSuchCode' };
    equal(why('a new sentence', { cause }).outerHTML, '<span>a new sentence</span>');
    await setLanguage('es');
    try {
      equal(sentence('a new sentence', cause), 'a new sentence');
      equal(why('a new sentence', { cause }).outerHTML, '<span lang="en">a new sentence</span>');
      equal(why('A sentence alone').outerHTML, '<span lang="en">A sentence alone</span>');
    } finally {
      await setLanguage('en');
    }
  },
};
