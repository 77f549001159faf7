// The sentences that the checker writes (why a law is broken, how a search ended), in the language of
// the page. They come in English, as they are in traces and on the command line; here is what each of
// them is in Spanish, with `{name}` where a sentence has a number, a name or another sentence.
// `checker/tests/sentences.rs` sees to it that none is missing.
//
//   h('p', {}, why(broken.why))     // the words, marked as English where nobody has translated them
//   translated(broken.why)          // the text, or nothing where nobody has
//
// The first that fits is taken: what is more special stands first.

import { h } from './dom.js';
import { currentLanguage, number } from './i18n.js';
import { lawName, witness } from './story.js';

const SPANISH = [
  // One step, two servers, the history (model).
  ['server {id} went from term {term} and commit index {commit} back to {less} and {fewer}', 'el servidor {id} pasó del mandato {term} y el commit {commit} de vuelta a {less} y {fewer}'],
  ['server {id} changed its log while it led term {term}', 'el servidor {id} cambió su log mientras lideraba el mandato {term}'],
  ['the log of server {id} has an entry of an older term after one of a newer term', 'el log del servidor {id} tiene una entrada de un mandato anterior detrás de una de un mandato posterior'],
  ['the store of server {id} is not what its {n} committed entries make when each command is applied once', 'los datos del servidor {id} no son los que dan sus {n} entradas comprometidas cuando cada orden se aplica una vez'],
  ['a disk that held {before} now holds {after}', 'un disco que guardaba {before} guarda ahora {after}'],
  ['term {term} and a vote for candidate {id}', 'el mandato {term} y un voto por el candidato {id}'],
  ['term {term} and no vote', 'el mandato {term} y ningún voto'],
  ['server {id} sent a vote in term {term} that its disk does not hold', 'el servidor {id} envió un voto en el mandato {term} que su disco no guarda'],
  ['server {id} asked for votes in term {term} before its own was durable', 'el servidor {id} pidió votos en el mandato {term} antes de que el suyo estuviera en disco'],
  ['server {id} acknowledged entry {index}, but its disk holds {n} entries', 'el servidor {id} confirmó la entrada {index}, pero su disco guarda {n} entradas'],
  ['server {id} believes that server {other} holds entries up to {index} durably, and it does not', 'el servidor {id} cree que el servidor {other} guarda en disco las entradas hasta la {index}, y no es así'],
  ['servers {id} and {other} have the same term at index {index} and differ at or before it', 'los servidores {id} y {other} tienen el mismo mandato en el índice {index} y difieren en él o antes'],
  ['write {sequence} of session {session} was acknowledged, but no server had committed it', 'la escritura {sequence} de la sesión {session} se confirmó, pero ningún servidor la había comprometido'],
  ['no order of the operations explains their results: {told}', 'ningún orden de las operaciones explica sus resultados: {told}'],
  ['an operation reported as not done took effect: {told}', 'una operación dada por no hecha tuvo efecto: {told}'],
  ['servers {id} and {other} were both elected in term {term}', 'los servidores {id} y {other} fueron elegidos los dos en el mandato {term}'],
  ['server {id} was elected in term {term} without entry {index}, committed in term {earlier}', 'el servidor {id} fue elegido en el mandato {term} sin la entrada {index}, comprometida en el mandato {earlier}'],
  ['a snapshot ends with entry {index} of term {term}, which was never committed', 'una instantánea acaba en la entrada {index} del mandato {term}, que nunca se comprometió'],
  ['a state after entry {index} is not what the committed entries make when each command is applied once', 'un estado tras la entrada {index} no es el que dan las entradas comprometidas cuando cada orden se aplica una vez'],
  ['a state after entry {index} has lost or changed what it must remember of sessions', 'un estado tras la entrada {index} ha perdido o cambiado lo que debe recordar de las sesiones'],
  ['two servers applied different entries at index {index}: of term {term} and of term {other}', 'dos servidores aplicaron entradas distintas en el índice {index}: del mandato {term} y del mandato {other}'],
  ['entry {index} was committed in term {term}, but server {id} was elected in term {later} without it', 'la entrada {index} se comprometió en el mandato {term}, pero el servidor {id} fue elegido en el mandato {later} sin ella'],
  ['server {id} came back in term {term} with term {held} on its disk', 'el servidor {id} volvió en el mandato {term} con el mandato {held} en su disco'],
  // Operations of clients.
  ['operation {n} ({call}), called after operations {some} and {last} had returned, {end}', 'la operación {n} ({call}), llamada después de que volvieran las operaciones {some} y {last}, {end}'],
  ['operation {n} ({call}), called after operation {one} had returned, {end}', 'la operación {n} ({call}), llamada después de que volviera la operación {one}, {end}'],
  ['operation {n} ({call}) {end}', 'la operación {n} ({call}) {end}'],
  ['has not returned', 'no ha vuelto'],
  ['is done', 'está hecha'],
  ['left {number}', 'dejó {number}'],
  ['found nothing', 'no encontró nada'],
  ['was reported as not done', 'se dio por no hecha'],
  ['found {value}', 'encontró {value}'],
  // What every server checks of itself.
  ['after this step of server {id}: {said}', 'después de este paso del servidor {id}: {said}'],
  ['the term never falls (Figure 2)', 'el mandato nunca baja (figura 2)'],
  ['the commit index never falls (Figure 2)', 'el índice de commit nunca baja (figura 2)'],
  ['only entries in the log are committed', 'solo se comprometen entradas del log'],
  ['exactly the committed entries are applied', 'se aplican exactamente las entradas comprometidas'],
  ['the log lacks only what a snapshot covers, and a snapshot covers only what is applied', 'al log solo le falta lo que cubre una instantánea, y una instantánea solo cubre lo aplicado'],
  ['snapshots never go back', 'las instantáneas nunca retroceden'],
  ['a snapshot ends with an entry of the log', 'una instantánea acaba en una entrada del log'],
  ['only entries in the log are durable', 'solo están en disco entradas del log'],
  ['a committed entry is never removed (Raft §5.4)', 'una entrada comprometida nunca se quita (Raft §5.4)'],
  ['a leader never removes entries of its own log (Leader Append-Only)', 'un líder nunca quita entradas de su propio log (el líder solo añade)'],
  ['writes under way reach no further than the log', 'las escrituras en camino no llegan más allá del log'],
  ['a message is held only behind a write under way', 'un mensaje solo espera detrás de una escritura en camino'],
  ['match_index never falls (Figure 2)', 'match_index nunca baja (figura 2)'],
  ['no more entries are on their way to a follower than its window', 'no hay más entradas en camino a un seguidor que su ventana'],
  ['a leader\'s view of its followers stays within its log', 'lo que un líder cree de sus seguidores no sale de su log'],
  // Traces of nodes.
  ['server {id} was elected in term {term} without all {n} entries committed by term {earlier}', 'el servidor {id} fue elegido en el mandato {term} sin todas las {n} entradas comprometidas hasta el mandato {earlier}'],
  ['server {id} applied another entry at index {index} than was committed there before', 'el servidor {id} aplicó en el índice {index} otra entrada que la comprometida allí antes'],
  ['server {id} committed up to entry {index} in term {term}, but server {other} was elected in term {later} without all of it', 'el servidor {id} comprometió hasta la entrada {index} en el mandato {term}, pero el servidor {other} fue elegido en el mandato {later} sin todo ello'],
  ['server {id} has a snapshot that ends with entry {index} of term {term}, which was not committed', 'el servidor {id} tiene una instantánea que acaba en la entrada {index} del mandato {term}, que no se comprometió'],
  ['the snapshot of server {id} up to entry {index} is not what the committed entries make', 'la instantánea del servidor {id} hasta la entrada {index} no es lo que dan las entradas comprometidas'],
  ['the disk of server {id} went back on its term or its vote', 'el disco del servidor {id} se desdijo de su mandato o de su voto'],
  ['server {id} spoke of a vote in term {term} that its disk does not hold', 'el servidor {id} habló de un voto en el mandato {term} que su disco no guarda'],
  ['server {id} voted for {one} and for {other} in term {term}', 'el servidor {id} votó por {one} y por {other} en el mandato {term}'],
  ['server {id} acknowledged a write at index {index}, where none is committed', 'el servidor {id} confirmó una escritura en el índice {index}, donde no hay ninguna comprometida'],
  ['two logs have an entry of term {term} at index {index} and differ at or before it', 'dos logs tienen una entrada del mandato {term} en el índice {index} y difieren en ella o antes'],
  ['entry {index} is of term {term}, after one of term {other}', 'la entrada {index} es del mandato {term}, detrás de una del mandato {other}'],
  ['the log of server {id} is not what its writes make of it', 'el log del servidor {id} no es el que dan sus escrituras'],
  // Progress and peace.
  ['from a state {n} steps away no entry can be committed any more: none of the {states} states reachable without faults does', 'desde un estado a {n} pasos ya no se puede comprometer ninguna entrada: ninguno de los {states} estados alcanzables sin fallos lo hace'],
  ['no leader in {n} ticks, with nothing in its way', 'ningún líder en {n} pulsos, sin nada que lo impida'],
  ['{said}, and in {n} ticks, each heartbeat taking {beat}, nothing new was committed', '{said}, y en {n} pulsos, a {beat} por latido, no se comprometió nada nuevo'],
  ['{said}, and server {id} leads in term {term} in place of server {other} in term {earlier}', '{said}, y el servidor {id} lidera en el mandato {term} en lugar del servidor {other} en el mandato {earlier}'],
  ['{said}, and server {id} leads no longer', '{said}, y el servidor {id} ya no lidera'],
  ['server {id} hears nobody any more', 'el servidor {id} ya no oye a nadie'],
  ['server {id} is down, server {other} is in a newer term and server {third} has the longer log', 'el servidor {id} está caído, el servidor {other} está en un mandato posterior y el servidor {third} tiene el log más largo'],
  ['server {id} came back', 'el servidor {id} volvió'],
  ['server {id} cannot hear its leader', 'el servidor {id} no puede oír a su líder'],
  // How a search ended.
  ['Exhausted: all {states} states within these bounds were visited, and every law holds in each. Within these bounds it does not reach: {witnesses}.', 'Agotado: se visitaron los {states} estados dentro de estos límites, y en cada uno se cumplen todas las leyes. Dentro de estos límites no se alcanza: {witnesses}.'],
  ['Exhausted: all {states} states within these bounds were visited, and every law holds in each.', 'Agotado: se visitaron los {states} estados dentro de estos límites, y en cada uno se cumplen todas las leyes.'],
  ['Exhausted: all {states} states within these bounds were visited, and {law} holds in each. No other law was judged. Within these bounds it does not reach: {witnesses}.', 'Agotado: se visitaron los {states} estados dentro de estos límites, y en cada uno se cumple «{law}». No se juzgó ninguna otra ley. Dentro de estos límites no se alcanza: {witnesses}.'],
  ['Exhausted: all {states} states within these bounds were visited, and {law} holds in each. No other law was judged.', 'Agotado: se visitaron los {states} estados dentro de estos límites, y en cada uno se cumple «{law}». No se juzgó ninguna otra ley.'],
  ['A bug is planted ({bug}), and this scope does not show it: in all {states} states every law holds. This is no verdict on Raft; pick the scope that the catalogue names for this bug.', 'Hay un error plantado ({bug}), y este ámbito no lo muestra: en los {states} estados se cumplen todas las leyes. Esto no es un veredicto sobre Raft; elige el ámbito que el catálogo nombra para este error.'],
  ['A bug is planted ({bug}), and this scope does not show it: in all {states} states {law} holds, and no other law was judged. This is no verdict on Raft; pick the scope that the catalogue names for this bug.', 'Hay un error plantado ({bug}), y este ámbito no lo muestra: en los {states} estados se cumple «{law}», y no se juzgó ninguna otra ley. Esto no es un veredicto sobre Raft; elige el ámbito que el catálogo nombra para este error.'],
  ['The search says that {law} is broken, but its path is no real run: {error}. This is a fault of the checker.', 'La búsqueda dice que se incumple «{law}», pero su camino no es una ejecución real: {error}. Es un fallo del comprobador.'],
  ['The planted bug ({bug}) is caught: {law} is broken, {n} steps from the start. This is no verdict on Raft.', 'El error plantado ({bug}) ha caído: se incumple «{law}», a {n} pasos del inicio. Esto no es un veredicto sobre Raft.'],
  ['{law} is broken, {n} steps from the start.', 'Se incumple «{law}», a {n} pasos del inicio.'],
  ['It holds here already: {what}.', 'Aquí ya se cumple: {what}.'],
  ['Found one step from here: {what}.', 'Encontrado a un paso de aquí: {what}.'],
  ['Found {n} steps from here, {few} of them decisions, the fewest there are: {what}.', 'Encontrado a {n} pasos de aquí, {few} de ellos decisiones, las menos posibles: {what}.'],
  ['Nowhere: none of the {states} states that can be reached from here shows this: {what}.', 'En ninguna parte: ninguno de los {states} estados alcanzables desde aquí lo muestra: {what}.'],
  ['"{witness}" is witnessed', 'se da «{witness}»'],
  ['Stopped after {states} states: nothing is claimed of the others.', 'Detenido tras {states} estados: de los demás no se afirma nada.'],
  ['Truncated after {states} states, {limit}: the others were not {done}, and no claim is made.', 'Truncado tras {states} estados, {limit}: los demás no se han visto, y no se afirma nada.'],
  ['at its limit of states', 'en su límite de estados'],
  ['at its limit of memory', 'en su límite de memoria'],
  ['as there are more states than it can number', 'por haber más estados de los que puede numerar'],
  ['early', 'antes de tiempo'],
  ['The search failed, and concludes nothing: {error}.', 'La búsqueda falló, y no concluye nada: {error}.'],
  ['The search ended at an assertion, and concludes nothing: {error}.', 'La búsqueda acabó en una aserción, y no concluye nada: {error}.'],
  ['The search could not tell its progress.', 'La búsqueda no pudo contar cómo iba.'],
  // What stands before a sentence, where it is told of a step or of a line.
  ['broken by this step: {said}', 'la rompe este paso: {said}'],
  ['{law} is broken: {said}', 'se incumple «{law}»: {said}'],
];

/** What a name in a sentence stands for, where it is words. */
const WORDS = {
  said: inner, before: inner, after: inner, end: inner, limit: inner, what: inner,
  law: lawName,
  witness,
  states: (digits) => number(Number(digits)),
  told: (list) => list.split('; ').map(inner).join('; '),
  witnesses: (list) => list.split(', ').map(witness).join(', '),
};

const patterns = SPANISH.map(([english, spanish]) => {
  const names = [];
  const escaped = english.replace(/[.*+?^$()|[\]\\]/g, '\\$&').replace(/\{(\w+)\}/g, (_, name) => { names.push(name); return '(.+?)'; });
  return { names, spanish, pattern: new RegExp(`^${escaped}$`, 's') };
});

/** A sentence in Spanish, or nothing. `known`: what of it the page can say better. */
export function spanish(sentence, known = {}) {
  for (const { names, spanish: words, pattern } of patterns) {
    const found = pattern.exec(sentence);
    if (!found) continue;
    const parts = Object.fromEntries(names.map((name, place) => [name, known[name] ?? WORDS[name]?.(found[place + 1]) ?? found[place + 1]]));
    return words.replace(/\{(\w+)\}/g, (_, name) => parts[name]);
  }
  return null;
}

function inner(words) { return spanish(words) ?? words; }

/** A sentence in the language of the page; nothing where there is none. */
export const translated = (sentence, known) => (currentLanguage() === 'es' ? spanish(sentence, known) : sentence);

/** The same as an element, in English where it must be; `end` is put behind it. */
export function why(sentence, { end = '', known = {} } = {}) {
  const words = translated(sentence, known);
  return h('span', { lang: words === null ? 'en' : null }, (words ?? sentence) + end);
}
