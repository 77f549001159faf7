import { diagnosticWords } from '/ui/js/diagnostic.js';
import { loadStrings, setLanguage } from '/ui/js/i18n.js';

/**
 * Runs a test in Spanish.
 * @param {() => void} test
 */
async function inSpanish(test) {
  await setLanguage('es');
  await loadStrings('stage', 'explore', 'diagnostic');
  try {
    test();
  } finally {
    await setLanguage('en');
  }
}

/** @type {PageTests} */
export const tests = {
  async cause_has_a_text_for_its_code(equal) {
    await inSpanish(() => {
      equal(
        diagnosticWords({
          code: 'LeaderLacksEntry',
          server: 2,
          term: 5,
          index: 2,
          committed_in: 4,
        }),
        'el servidor 2 fue elegido en el mandato 5 sin la entrada 2, comprometida en el mandato 4',
      );
      equal(
        diagnosticWords({
          code: 'DurableVoteChanged',
          server: 3,
          before: { current_term: 2, voted_for: 1 },
          after: { current_term: 2, voted_for: null },
        }),
        'el disco del servidor 3 guardaba el mandato 2 y un voto por el candidato 1 y guarda ahora el mandato 2 y ningún voto',
      );
      equal(
        diagnosticWords({ code: 'InvariantViolated', server: 3, invariant: 'TermNeverFalls' }),
        'después de este paso del servidor 3: el mandato nunca baja (figura 2)',
      );
    });
  },
  async operations_of_a_cause_have_their_order(equal) {
    const operations = [
      {
        id: [1, 0],
        call: { Write: { Put: { key: [120], value: [97], condition: { Version: 3 } } } },
        after: [],
        end: { Returned: { Answered: { ConditionFailed: { found: 4 } } } },
      },
      {
        id: [2, 0],
        call: { Write: { Increment: { key: [120], by: 1 } } },
        after: [],
        end: 'Open',
      },
      {
        id: [3, 0],
        call: { Read: { Scan: { prefix: [], after: null, limit: 1, bytes: 99 } } },
        after: [
          [1, 0],
          [2, 0],
        ],
        end: {
          Returned: {
            Found: { Pairs: { pairs: [[[120], { value: [97], version: 4 }]], more: true } },
          },
        },
      },
      {
        id: [4, 0],
        call: { Read: { Get: { key: [121] } } },
        after: [],
        end: { Returned: { Found: { Value: null } } },
      },
    ];
    await inSpanish(() => {
      equal(
        diagnosticWords({ code: 'NotLinearizable', operations }),
        'ningún orden de las operaciones explica sus resultados: la operación 1 (put x=a if version 3) se rechazó: la clave tiene la versión 4; la operación 2 (increment x by 1) no ha vuelto; la operación 3 (scan *, limit 1), llamada después de que volvieran las operaciones 1 y 2, encontró x=a (versión 4), y siguen más claves; la operación 4 (get y) no encontró nada',
      );
    });
  },
  async nested_diagnostic_is_a_part_of_the_sentence(equal) {
    await inSpanish(() => {
      equal(
        diagnosticWords({
          code: 'ImpossibleStep',
          step: 3,
          key: '2d9',
          refusal: { code: 'NoMessage', message: 9 },
        }),
        'el paso 3 (2d9) de este camino es imposible: en este punto no existe el mensaje 9',
      );
      equal(
        diagnosticWords({
          code: 'HoldsHere',
          goal: { code: 'PredicateHolds', predicate: 'leader' },
        }),
        'Aquí ya se cumple: Un servidor es líder.',
      );
      equal(diagnosticWords({ code: 'HoldsHere', goal: { code: 'Unheard' } }), null);
    });
  },
  async number_selects_the_form_of_a_noun(equal) {
    await inSpanish(() => {
      equal(
        [1, 2].map((steps) => diagnosticWords({ code: 'Violated', property: 'Progress', steps })),
        [1, 2].map(
          (n) => `Se incumple «Progreso», a ${n} ${n === 1 ? 'paso' : 'pasos'} del inicio.`,
        ),
      );
    });
  },
  async names_of_bounds_and_processes_are_translated(equal) {
    await inSpanish(() => {
      equal(
        diagnosticWords({ code: 'BoundOutOfRange', bound: 'terms', value: 99, min: 1, max: 8 }),
        'el límite «mandatos» no puede ser 99: da de 1 a 8',
      );
      equal(
        diagnosticWords({
          code: 'WrongReceiver',
          message: 2,
          receiver: 'server 2',
          process: 'client 1',
        }),
        'el mensaje 2 es para el servidor 2, no para el cliente 1',
      );
      equal(
        diagnosticWords({ code: 'UnknownProcess', process: 'router 7' }),
        'el ámbito no tiene router 7',
      );
      equal(diagnosticWords({ code: 'NoProcess', process: 9, processes: 3 })?.includes('9'), true);
    });
  },
  async unknown_code_has_no_text(equal) {
    await inSpanish(() => equal(diagnosticWords({ code: 'Unheard' }), null));
  },
};
