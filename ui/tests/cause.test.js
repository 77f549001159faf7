import { causeWords } from '/ui/js/cause.js';
import { loadStrings, setLanguage } from '/ui/js/i18n.js';
import { why } from '/ui/js/why.js';

/** Runs a test in Spanish. */
async function inSpanish(test) {
  await setLanguage('es');
  await loadStrings('stage');
  try {
    test();
  } finally {
    await setLanguage('en');
  }
}

export const tests = {
  async cause_has_a_text_for_its_code(equal) {
    await inSpanish(() => {
      equal(
        causeWords({ code: 'LeaderLacksEntry', server: 2, term: 5, index: 2, committed_in: 4 }),
        'el servidor 2 fue elegido en el mandato 5 sin la entrada 2, comprometida en el mandato 4',
      );
      equal(
        causeWords({
          code: 'DurableVoteChanged',
          server: 3,
          before: { current_term: 2, voted_for: 1 },
          after: { current_term: 2, voted_for: null },
        }),
        'el disco del servidor 3 guardaba el mandato 2 y un voto por el candidato 1 y guarda ahora el mandato 2 y ningún voto',
      );
      equal(
        causeWords({ code: 'InvariantViolated', server: 3, invariant: 'TermNeverFalls' }),
        'después de este paso del servidor 3: el mandato nunca baja (figura 2)',
      );
    });
  },
  async operations_of_a_cause_have_their_order(equal) {
    const operations = [
      { id: [1, 0], call: { Put: [97] }, after: [], end: { Returned: 'Done' } },
      { id: [2, 0], call: { Increment: 1 }, after: [], end: 'Open' },
      {
        id: [3, 0],
        call: 'Get',
        after: [
          [1, 0],
          [2, 0],
        ],
        end: { Returned: { Found: null } },
      },
    ];
    await inSpanish(() => {
      equal(
        causeWords({ code: 'NotLinearizable', operations }),
        'ningún orden de las operaciones explica sus resultados: la operación 1 (put a) está hecha; la operación 2 (increment by 1) no ha vuelto; la operación 3 (get), llamada después de que volvieran las operaciones 1 y 2, no encontró nada',
      );
    });
  },
  async unknown_code_shows_the_english_sentence(equal) {
    await inSpanish(() => {
      equal(causeWords({ code: 'Unheard' }), null);
      equal(
        why('a new sentence', { cause: { code: 'Unheard' } }).outerHTML,
        '<span lang="en">a new sentence</span>',
      );
    });
  },
};
