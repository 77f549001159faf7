import { spanish, translated, why } from '/ui/js/why.js';

export const tests = {
  what_is_refused_is_told_in_spanish(equal) {
    equal(
      spanish('step 3 (2d9) of this path cannot be taken: there is no message 9 by then'),
      'el paso 3 (2d9) de este camino no se puede dar: entonces aún no existe el mensaje 9',
    );
    equal(
      spanish('there is no scope "nowhere": /api/catalog lists them'),
      'no hay ningún ámbito "nowhere": están en /api/catalog',
    );
    equal(
      spanish('it takes more reads than the 2 of this scope'),
      'harían falta más lecturas que las 2 de este ámbito',
    );
    equal(
      spanish(
        'all is well, and 40 ticks after it was asked for, operation 3 of the client has no answer',
      ),
      'todo va bien, y 40 pulsos después de pedirla, la operación 3 del cliente no tiene respuesta',
    );
  },
  what_the_page_knows_better_stands_in_a_sentence(equal) {
    equal(
      spanish('It holds here already: A server leads.', { what: 'Un servidor lidera' }),
      'Aquí ya se cumple: Un servidor lidera.',
    );
  },
  noun_beside_a_one_is_singular(equal) {
    equal(
      spanish('StateMachineSafety is broken, 1 steps from the start.'),
      'Se incumple «State Machine Safety», a 1 paso del inicio.',
    );
  },
  bound_that_is_out_of_range_is_named_in_spanish(equal) {
    equal(
      spanish('terms 99 is out of range: give 1 to 8'),
      'el límite «mandatos» no puede ser 99: da de 1 a 8',
    );
  },
  sentence_that_nobody_translated_stays_and_is_marked_as_english(equal) {
    equal(spanish('a property of its own kind is broken'), null);
    equal(translated('server 1 came back'), 'server 1 came back');
    equal(why('server 1 came back', { end: '.' }).outerHTML, '<span>server 1 came back.</span>');
  },
};
