import { spanish, translated, why } from '/ui/js/why.js';

export const tests = {
  sentence_of_a_broken_property_is_told_in_spanish(equal) {
    equal(
      spanish('server 2 was elected in term 5 without entry 2, committed in term 4'),
      'el servidor 2 fue elegido en el mandato 5 sin la entrada 2, comprometida en el mandato 4',
    );
    equal(
      spanish('a disk that held term 2 and a vote for candidate 1 now holds term 2 and no vote'),
      'un disco que guardaba el mandato 2 y un voto por el candidato 1 guarda ahora el mandato 2 y ningún voto',
    );
    equal(
      spanish('broken by this step: after this step of server 3: the term never falls (Figure 2)'),
      'la rompe este paso: después de este paso del servidor 3: el mandato nunca baja (figura 2)',
    );
  },
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
  operations_within_a_sentence_are_told_too(equal) {
    equal(
      spanish(
        'no order of the operations explains their results: operation 1 (put a) is done; operation 3 (get), called after operations 1 and 2 had returned, found nothing',
      ),
      'ningún orden de las operaciones explica sus resultados: la operación 1 (put a) está hecha; la operación 3 (get), llamada después de que volvieran las operaciones 1 y 2, no encontró nada',
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
      spanish('server 2 acknowledged entry 2, but its disk holds 1 entries'),
      'el servidor 2 confirmó la entrada 2, pero su disco guarda 1 entrada',
    );
    equal(
      spanish('server 2 acknowledged entry 3, but its disk holds 2 entries'),
      'el servidor 2 confirmó la entrada 3, pero su disco guarda 2 entradas',
    );
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
