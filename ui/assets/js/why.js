// The checker's sentences (a failed scenario, the result of a search, the reason for a refusal)
// in the language of the page. The checker sends them in English, as in traces and on the command line.
// This table has the Spanish translations, with `{name}` in place of a number, a name or another
// sentence. `checker/tests/sentences.rs` checks that none is missing.
//
//   h('p', {}, why(done.say))     // the text, marked as English if there is no translation
//   translated(done.say)          // the text, or nothing without a translation
//
// The cause of a violation has a code and is translated by it (`cause.js`):
//
//   why(broken.why, { cause: broken.cause })
//
// The first matching pattern is used: more specific patterns come first. `{n paso|pasos}` selects a form
// by the number `n`.

import { causeWords } from './cause.js';
import { h } from './dom.js';
import { currentLanguage, number } from './i18n.js';
import { propertyName, witness } from './properties.js';
import { who as process } from './describe.js';

/** Every sentence in English and in Spanish: one a line, as the test of the translations reads them. */
// prettier-ignore
export const SENTENCES = [
  // Progress, stability and latency.
  ['{said}, it answered the request before, and it took {n} requests to find it again', '{said}, había respondido a la petición anterior, y {n hizo|hicieron} falta {n} {n petición|peticiones} para encontrarlo otra vez'],
  ['whatever is said twice arrives the second time, and in {n} ticks no leader was elected', 'todo mensaje enviado dos veces llega la segunda, y en {n} pulsos no se eligió ningún líder'],
  ['server {id} is {some} entries behind, each message takes up to {ticks} ticks, and {n} ticks went by from the election of server {other} until it committed something with it: more than {most}', 'el servidor {id} va {some} {some entrada|entradas} por detrás, cada mensaje tarda hasta {ticks} pulsos, y desde la elección del servidor {other} hasta que comprometió algo con él pasaron {n} pulsos: más de {most}'],
  ['{said}, and {n} ticks after it was asked for, operation {operation} of the client has no answer', '{said}, y {n} pulsos después de pedirla, la operación {operation} del cliente no tiene respuesta'],
  ['whatever is said twice arrives the second time', 'todo mensaje enviado dos veces llega la segunda'],
  ['all is well', 'todo va bien'],
  ['server {id}, which answered before, is down, and the others are up', 'el servidor {id}, que respondía antes, está caído, y los demás funcionan'],
  ['server {id} leads and all know it', 'el servidor {id} lidera y todos lo saben'],
  ['server {id} hears from the next leader with the next heartbeat, and a client waits for it', 'el servidor {id} conocerá al siguiente líder con el próximo latido, y un cliente lo espera'],
  ['nobody answers, and after {n} ticks the client still waits', 'nadie responde, y tras {n} pulsos el cliente sigue esperando'],
  ['nobody answers, the client has given up, and the proxy still holds {n} request', 'nadie responde, el cliente ha abandonado, y el proxy aún guarda {n} {n petición|peticiones}'],
  ['nobody was elected at first', 'al principio no se eligió a nadie'],
  ['nobody ran without server {id}', 'nadie se presentó sin el servidor {id}'],
  ['this scenario is for three servers', 'este escenario es para tres servidores'],
  ['from the initial state no entry can ever be committed: none of the {states} states reachable without faults does', 'desde el estado inicial nunca se puede comprometer ninguna entrada: ninguno de los {states} estados alcanzables sin fallos lo hace'],
  ['from a state {n} steps away no entry can be committed any more: none of the {states} states reachable without faults does', 'desde un estado a {n} {n paso|pasos} ya no se puede comprometer ninguna entrada: ninguno de los {states} estados alcanzables sin fallos lo hace'],
  ['no leader in {n} ticks, with nothing in its way', 'ningún líder en {n} pulsos, sin nada que lo impida'],
  ['{said}, and in {n} ticks, each heartbeat taking {beat}, nothing new was committed', '{said}, y en {n} pulsos, a {beat} por latido, no se comprometió nada nuevo'],
  ['{said}, and server {id} leads in term {term} in place of server {other} in term {earlier}', '{said}, y el servidor {id} lidera en el mandato {term} en lugar del servidor {other} en el mandato {earlier}'],
  ['{said}, and server {id} leads no longer', '{said}, y el servidor {id} ya no lidera'],
  ['server {id} hears nobody any more', 'el servidor {id} ya no recibe mensajes de nadie'],
  ['server {id} is down, server {other} is in a newer term and server {third} has the longer log', 'el servidor {id} está caído, el servidor {other} está en un mandato posterior y el servidor {third} tiene el log más largo'],
  ['server {id} came back', 'el servidor {id} volvió'],
  ['the disks of the others stall', 'los discos de los demás no terminan ninguna escritura'],
  ['the disks of the servers that follow server {id} work again', 'los discos de los servidores que siguen al servidor {id} vuelven a funcionar'],
  ['server {id} stepped down and asks the servers that follow it for pre-votes, and {n} ticks later it does not lead', 'el servidor {id} dejó de ser líder y pide prevotos a los servidores que lo siguen, y {n} pulsos después no lidera'],
  ['server {id} cannot hear its leader', 'el servidor {id} no recibe los mensajes de su líder'],
  // The result of a search.
  ['Exhausted: all {states} states within these bounds were visited, and every property holds in each. Within these bounds it does not reach: {witnesses}.', 'Agotado: se visitaron los {states} estados dentro de estos límites, y en cada uno se cumplen todas las propiedades. Dentro de estos límites no se alcanza: {witnesses}.'],
  ['Exhausted: all {states} states within these bounds were visited, and every property holds in each.', 'Agotado: se visitaron los {states} estados dentro de estos límites, y en cada uno se cumplen todas las propiedades.'],
  ['A bug is planted ({bug}), and this scope does not show it: in all {states} states every property holds. This is no verdict on Raft; pick the scope that the catalog names for this bug.', 'Hay un error plantado ({bug}), y este ámbito no lo muestra: en los {states} estados se cumplen todas las propiedades. Esto no es un veredicto sobre Raft; elige el ámbito que el catálogo nombra para este error.'],
  ['A bug is planted ({bug}), and this scope does not show it: in all {states} states {property} holds, and no other property was judged. This is no verdict on Raft; pick the scope that the catalog names for this bug.', 'Hay un error plantado ({bug}), y este ámbito no lo muestra: en los {states} estados se cumple «{property}», y no se comprobó ninguna otra propiedad. Esto no es un veredicto sobre Raft; elige el ámbito que el catálogo nombra para este error.'],
  ['The search says that {property} is broken, but its path is no real run: {error}. This is a fault of the checker.', 'La búsqueda dice que se incumple «{property}», pero su camino no es una ejecución real: {error}. Es un fallo del comprobador.'],
  ['The planted bug ({bug}) is caught by the progress check: {n} steps from the start the cluster is stuck. This is no verdict on Raft.', 'La comprobación de progreso detecta el error plantado ({bug}): a {n} {n paso|pasos} del inicio el clúster está atascado. Esto no es un veredicto sobre Raft.'],
  ['The planted bug ({bug}) is caught by a timed simulation: {property} is broken after {n} steps. This is no verdict on Raft.', 'Una simulación con reloj detecta el error plantado ({bug}): se incumple «{property}» tras {n} {n paso|pasos}. Esto no es un veredicto sobre Raft.'],
  ['The planted bug ({bug}) is caught by a recorded schedule of {n} steps, which breaks {property}. This is no verdict on Raft.', 'Un guion grabado de {n} {n paso|pasos} detecta el error plantado ({bug}): incumple «{property}». Esto no es un veredicto sobre Raft.'],
  ['The planted bug ({bug}) is caught: {property} is broken, {n} steps from the start. This is no verdict on Raft.', 'Error plantado detectado ({bug}): se incumple «{property}», a {n} {n paso|pasos} del inicio. Esto no es un veredicto sobre Raft.'],
  ['{property} is broken, {n} steps from the start.', 'Se incumple «{property}», a {n} {n paso|pasos} del inicio.'],
  ['It holds here already: {what}.', 'Aquí ya se cumple: {what}.'],
  ['Found one step from here: {what}.', 'Encontrado a un paso de aquí: {what}.'],
  ['Found {n} steps from here, {few} of them decisions, the fewest there are: {what}.', 'Encontrado a {n} {n paso|pasos} de aquí, {few} de ellos decisiones, las menos posibles: {what}.'],
  ['Nowhere: none of the {states} states that can be reached from here shows this: {what}.', 'En ninguna parte: ninguno de los {states} estados alcanzables desde aquí lo muestra: {what}.'],
  ['"{witness}" is witnessed', 'se da «{witness}»'],
  ['Stopped after {states} states: nothing is claimed of the others.', 'Detenido tras {states} {states estado|estados}: de los demás no se afirma nada.'],
  ['Truncated after {states} states, {limit}: the others were not {done}, and no claim is made.', 'Truncado tras {states} {states estado|estados}, {limit}: los demás no se han visto, y no se afirma nada.'],
  ['at its limit of states', 'en su límite de estados'],
  ['at its limit of memory', 'en su límite de memoria'],
  ['as there are more states than it can number', 'por haber más estados de los que puede numerar'],
  ['as a reduction assumes what this protocol does not do', 'porque una reducción supone algo que este protocolo no cumple'],
  ['early', 'antes de tiempo'],
  ['The search failed, and concludes nothing: {error}.', 'La búsqueda falló, y no concluye nada: {error}.'],
  ['The search ended at an assertion, and concludes nothing: {error}.', 'La búsqueda acabó en una aserción, y no concluye nada: {error}.'],
  ['The search could not tell its progress.', 'La búsqueda no pudo informar de su progreso.'],
  // The refusals of the explorer, and their reasons.
  ['step {n} ({key}) of this path cannot be taken: {said}', 'el paso {n} ({key}) de este camino no se puede dar: {said}'],
  ['step {n} of the path: {said}', 'paso {n} del camino: {said}'],
  ['{key} is no step: write a key such as 1e or 2d3', '{key} no es un paso: escribe una clave como 1e o 2d3'],
  ['the path has {n} steps: give at most {most}', 'el camino tiene {n} {n paso|pasos}: da como mucho {most}'],
  ['there is no process {n}: this world has {most}', 'no hay un proceso {n}: este mundo tiene {most}'],
  ['there is no message {n} by then', 'entonces aún no existe el mensaje {n}'],
  ['there is no such event', 'no existe tal evento'],
  ['the message was never sent', 'el mensaje nunca se envió'],
  ['message {n} is for {who}, not for {whom}', 'el mensaje {n} es para el {who}, no para el {whom}'],
  ['message {n} cannot be taken in this way: a client\'s request to a proxy says which server is asked (4d1-2), nothing else does', 'el mensaje {n} no se puede recibir así: la petición de un cliente a un proxy dice a qué servidor se pregunta (4d1-2), y nada más lo dice'],
  ['it was dropped in step {n} already', 'ya se descartó en el paso {n}'],
  ['it was dropped in step {n}: it can arrive once it is sent again', 'se descartó en el paso {n}: podrá llegar cuando se reenvíe'],
  ['nobody waits for it', 'nadie lo espera'],
  ['{who} is in no state for this', 'el {who} no está en situación de hacerlo'],
  ['{who} is down', 'el {who} no está en marcha'],
  ['no term after {term} may be entered in this scope', 'en este ámbito no se puede entrar en un mandato posterior al {term}'],
  ['this scope has no {budget}', 'este ámbito no tiene {budget}'],
  ['it takes more {budget} than the {most} of this scope', 'harían falta más {budget} que las {most} de este ámbito'],
  ['it is not within the bounds of this scope', 'no cabe en los límites de este ámbito'],
  ['there is no scope {name}: /api/catalog lists them', 'no hay ningún ámbito {name}: están en /api/catalog'],
  ['there is no bound {name}: /api/catalog lists them', 'no hay ningún límite {name}: están en /api/catalog'],
  ['{bound} {value} is out of range: give {least} to {most}', 'el límite «{bound}» no puede ser {value}: da de {least} a {most}'],
  ['there is no bug {name} to plant: /api/catalog lists them', 'no hay ningún error {name} que plantar: están en /api/catalog'],
  ['there is no predicate {name}: /api/catalog lists them', 'no hay ningún predicado {name}: están en /api/catalog'],
  ['there is no witness {name}: /api/walk lists them', 'no hay ningún testigo {name}: están en /api/walk'],
  ['there is no property {name}: /api/catalog lists them', 'no hay ninguna propiedad {name}: están en /api/catalog'],
  ['a job that finds needs a predicate: /api/catalog lists them', 'una búsqueda necesita un predicado: están en /api/catalog'],
  ['this job needs the name of a witness, as /api/walk lists them', 'esta búsqueda necesita el nombre de un testigo, de los que da /api/walk'],
  ['{n} searches are running: stop one, or wait until one ends', 'ya hay {n} búsquedas en marcha: detén una, o espera a que acabe alguna'],
  ['there is no job {name}: it ended long ago, or the server was started anew', 'no hay ninguna búsqueda {name}: acabó hace tiempo, o el servidor se arrancó de nuevo'],
  ['cannot start a thread: {why}', 'no se puede crear un hilo: {why}'],
  ['the walk cannot take a step of it: {said}', 'el recorrido no puede dar uno de sus pasos: {said}'],
  ['the walk cannot go there: {said}', 'el recorrido no puede ir allí: {said}'],
  ['the walk along it does not end with this property broken', 'el recorrido por él no acaba incumpliendo esta propiedad'],
  ['the walk there ends elsewhere', 'el recorrido hasta allí acaba en otra parte'],
  ['what was found has no real run', 'lo encontrado no tiene una ejecución real'],
  ['the request must have one Host header that names this server', 'la petición debe llevar una sola cabecera Host que nombre a este servidor'],
  ['this server is called by a name that is not allowed: call it localhost, by its IP address, or by a name given with --http-allow-host', 'a este servidor se le llama por un nombre que no está permitido: llámalo localhost, por su dirección IP o por un nombre dado con --http-allow-host'],
  ['requests made by pages of other sites are refused', 'se rechazan las peticiones de páginas de otros sitios'],
  ['the request is too large: send less at once', 'la petición es demasiado grande: envía menos de una vez'],
  ['the request did not arrive in time: send it again', 'la petición no llegó a tiempo: envíala otra vez'],
  ['the request did not arrive whole: send it again', 'la petición no llegó entera: envíala otra vez'],
  ['all connections are busy: try again in a moment', 'todas las conexiones están ocupadas: inténtalo de nuevo en un momento'],
  ['other traces are being opened: try again in a moment', 'se están abriendo otras trazas: inténtalo de nuevo en un momento'],
  ['too many event streams are open: close another page first', 'hay demasiados flujos de eventos abiertos: cierra antes otra página'],
  ['the request cannot be read: {why}', 'la petición no se puede leer: {why}'],
  ['the server is stopping', 'el servidor se está deteniendo'],
  ['the core stopped at an assertion of its own: {said}', 'el núcleo se detuvo en una aserción suya: {said}'],
  ['no reason given', 'no se da ninguna razón'],
  ['there is nothing here: the page is at /, the API is in docs/explore.md', 'aquí no hay nada: la página está en /, la API en docs/explore.md'],
  ['this resource does not take that method: see the header Allow', 'este recurso no admite ese método: mira la cabecera Allow'],
  ['no traces were given: `raft-checker replay --serve FILE...` serves some, and this page opens others', 'no se dio ninguna traza: `raft-checker replay --serve FILE...` sirve trazas, y esta página abre otras'],
  ['a trace ends with the first property that breaks, and step {n} breaks {property}: go back to step {again} and export from there', 'una traza acaba con la primera propiedad que se incumple, y el paso {n} incumple «{property}»: vuelve al paso {again} y exporta desde ahí'],
  ['a walk with clients and a proxy cannot be a golden script: scripts have servers alone. Export it as a trace', 'un recorrido con clientes y un proxy no puede ser un guion: los guiones solo tienen servidores. Expórtalo como traza'],
  ['a walk with a planted bug cannot be a golden script: scripts run the core as it is. Export it as a trace', 'un recorrido con un error plantado no puede ser un guion: los guiones ejecutan el núcleo tal como es. Expórtalo como traza'],
  ['a walk with PreVote or CheckQuorum cannot be a golden script: scripts run without them. Export it as a trace', 'un recorrido con PreVote o CheckQuorum no puede ser un guion: los guiones se ejecutan sin ellos. Expórtalo como traza'],
  ['step {n} of the walk: {said}', 'paso {n} del recorrido: {said}'],
  ['the election at the start of this scope cannot be told by a script', 'un guion no puede expresar la elección con la que empieza este ámbito'],
  ['taken apart it leads elsewhere: this walk cannot be told by a script', 'paso a paso lleva a otra parte: un guion no puede expresar este recorrido'],
  ['scripts have servers alone', 'los guiones solo tienen servidores'],
  ['it is down', 'no está en marcha'],
  ['scripts do not know this: {what}. Export the walk as a trace', 'los guiones no conocen esto: {what}. Exporta el recorrido como traza'],
  ['it cannot happen when it is taken apart', 'no puede ocurrir dado paso a paso'],
  ['the core sends something else than the model says', 'el núcleo envía otra cosa que lo que dice el modelo'],
  ['the message is not in flight when it is taken apart', 'el mensaje no está en camino dado paso a paso'],
  ['nobody has this address', 'nadie tiene esta dirección'],
  // Traces that are unreadable, or not real runs.
  ['there is no file: give a trace of a scope, or those of all nodes', 'no hay ningún archivo: da la traza de un ámbito, o las de todos los nodos'],
  ['these files do not go together: give one trace of a scope, or the traces of all nodes of one cluster', 'estos archivos no van juntos: da una traza de un ámbito, o las trazas de todos los nodos de un clúster'],
  ['{name} is no trace: it begins neither as {schema} (docs/trace.md) nor as the trace of a node (docs/replay.md)', '{name} no es una traza: no empieza ni como {schema} (docs/trace.md) ni como la traza de un nodo (docs/replay.md)'],
  ['{name} cannot be read: {why}', '{name} no se puede leer: {why}'],
  ['a step comes before any header: the beginning of the trace is missing', 'hay un paso antes de ninguna cabecera: falta el comienzo de la traza'],
  ['there is no trace in this file', 'en este archivo no hay ninguna traza'],
  ['the only line of this file is cut short, so there is no trace in it', 'la única línea de este archivo está cortada, así que no contiene ninguna traza'],
  ['this is no trace: it does not end in a digest', 'esto no es una traza: no acaba en un resumen criptográfico'],
  ['this is a trace of server {id}, and so is {other}: put the runs of a server into one file, in their order', 'esta es una traza del servidor {id}, y también lo es {other}: pon las ejecuciones de un servidor en un archivo, en su orden'],
  ['this run is of server {id}, the trace is of server {other}', 'esta ejecución es del servidor {id}, y la traza es del servidor {other}'],
  ['server {id} is not among the voters of its settings', 'el servidor {id} no está entre los votantes de su configuración'],
  ['the settings are not those of {other}: they are the same on all servers', 'la configuración no es la de {other}: es la misma en todos los servidores'],
  ['server {id} starts from a disk that was in use: what it recorded before is missing (--used-disks does without)', 'el servidor {id} parte de un disco ya usado: falta lo que registró antes (con --used-disks no hace falta)'],
  ['server {id} receives a message from server {other}, whose trace is not here: give the traces of all servers', 'el servidor {id} recibe un mensaje del servidor {other}, cuya traza no está aquí: da las trazas de todos los servidores'],
  ['server {id} receives a message from server {other} that no step of its trace sends', 'el servidor {id} recibe un mensaje del servidor {other} que ningún paso de su traza envía'],
  ['what is received here was sent only after it was received: each of {all} waits for another', 'lo que aquí se recibe se envió solo después de recibirse: cada una de {all} espera a otra'],
  ['this is no JSON: {why}', 'esto no es JSON: {why}'],
  ['the line is too long for any trace', 'la línea es demasiado larga para cualquier traza'],
  ['this is a trace of {name} version {found}; only {known} version {version} is known', 'esta es una traza de {name} versión {found}; solo se conoce {known} versión {version}'],
  ['boot {name} is not 16 hexadecimal digits', 'el arranque {name} no son 16 cifras hexadecimales'],
  ['boot {name} is the name of an earlier run already: is a part of this trace here twice?', 'el arranque {name} ya es el nombre de una ejecución anterior: ¿está dos veces una parte de esta traza?'],
  ['this disk begins with a snapshot, and what it covers was recorded nowhere: the trace must begin with the first run of the server', 'este disco empieza con una instantánea, y lo que cubre no se registró en ninguna parte: la traza debe empezar con la primera ejecución del servidor'],
  ['server {id} does not start from what its run before left: what was declared durable there, and maybe some of the writes after that, in their order', 'el servidor {id} no parte de lo que dejó su ejecución anterior: lo que allí se declaró en disco, y quizá algunas de las escrituras siguientes, en su orden'],
  ['this is step {n}, not {other}', 'este es el paso {n}, no el {other}'],
  ['write {n} is reported durable, but no such write is on its way', 'se dice que la escritura {n} está en disco, pero no hay tal escritura en camino'],
  ['server {id} takes this step otherwise: "{part}" is {is}, recorded is {recorded}', 'el servidor {id} da este paso de otro modo: "{part}" es {is}, y lo registrado es {recorded}'],
  ['the file is empty', 'el archivo está vacío'],
  ['there are more steps than the header says', 'hay más pasos de los que dice la cabecera'],
  ['the trace ends here, but its header says {n} steps', 'la traza acaba aquí, pero su cabecera dice {n} {n paso|pasos}'],
  ['the steps break {property}: {said}', 'los pasos incumplen «{property}»: {said}'],
  ['the steps break no property', 'los pasos no incumplen ninguna propiedad'],
  ['the schema is {found}, and only {known} is known', 'el esquema es {found}, y solo se conoce {known}'],
  ['no mutant is called {name}', 'ningún error plantado se llama {name}'],
  ['the scope has no {name}', 'el ámbito no tiene {name}'],
  ['"sent" is not what the model sends in this step', '"sent" no es lo que el modelo envía en este paso'],
  ['"witnesses" are not those of this step', '"witnesses" no son los testigos de este paso'],
  ['"{part}" is not what the model reaches', '"{part}" no es a lo que llega el modelo'],
  ['nothing happens after a property is broken, and {property} is', 'tras incumplirse una propiedad no ocurre nada más, y «{property}» se incumple'],
  ['this cannot happen, or not within the bounds of the scope', 'esto no puede ocurrir, o no dentro de los límites del ámbito'],
  ['it does not end in a digest', 'no acaba en un resumen criptográfico'],
  ['its digest is wrong: this line was changed, or one before it was removed', 'su resumen criptográfico no es correcto: se cambió esta línea, o se quitó una anterior'],
  ['interrupted: nothing was concluded', 'interrumpido: no se concluyó nada'],
  ['{said} (column {n})', '{said} (columna {n})'],
  ['{part}: it says more than this build of the checker knows, or says it in another way', '{part}: dice más de lo que conoce esta versión del comprobador, o lo dice de otra manera'],
  // The prefixes of a sentence about a step or a line.
  ['{property} is broken: {said}', 'se incumple «{property}»: {said}'],
];

/**
 * The bounds of a scope.
 * @type {Record<string, string>}
 */
const BOUNDS = {
  servers: 'servidores',
  terms: 'mandatos',
  entries: 'entradas',
  reads: 'lecturas',
  crashes: 'caídas',
  snapshots: 'instantáneas',
  batch: 'entradas por mensaje',
  attempts: 'intentos por cliente',
};

/**
 * The translations of the names in a sentence that stand for words.
 * @type {Record<string, (words: string) => string>}
 */
const WORDS = {
  said: inner,
  before: inner,
  after: inner,
  end: inner,
  limit: inner,
  what: inner,
  property: propertyName,
  who: process,
  whom: process,
  budget: bound,
  bound,
  witness,
  states: (digits) => number(Number(digits)),
  told: (list) => list.split('; ').map(inner).join('; '),
  witnesses: (list) => list.split(', ').map(witness).join(', '),
};

const patterns = SENTENCES.map(([english, spanish]) => {
  /** @type {string[]} */
  const names = [];
  const escaped = english.replace(/[.*+?^$()|[\]\\]/g, '\\$&').replace(/\{(\w+)\}/g, (_, name) => {
    names.push(name);
    return '(.+?)';
  });
  return { names, spanish, pattern: new RegExp(`^${escaped}$`, 's') };
});

/**
 * A sentence in Spanish, or nothing. `known`: values that the page translates better.
 * @param {string} sentence
 * @param {Record<string, any>} [known]
 * @returns {string | null}
 */
export function spanish(sentence, known = {}) {
  for (const { names, spanish: words, pattern } of patterns) {
    const found = pattern.exec(sentence);
    if (!found) continue;
    const parts = Object.fromEntries(
      names.map((name, place) => [
        name,
        known[name] ?? WORDS[name]?.(found[place + 1]) ?? found[place + 1],
      ]),
    );
    return words
      .replace(/\{(\w+) ([^|}]+)\|([^}]+)\}/g, (_, name, one, other) =>
        parts[name] === '1' ? one : other,
      )
      .replace(/\{(\w+)\}/g, (_, name) => parts[name]);
  }
  return null;
}

/** @param {string} name */
function bound(name) {
  return BOUNDS[name] ?? name;
}

/**
 * @param {string} words
 * @returns {string}
 */
function inner(words) {
  return spanish(words) ?? words;
}

/**
 * The checker writes '1 entries': the singular of a counted noun.
 * @param {string} sentence
 */
const singular = (sentence) =>
  sentence.replace(
    /(?<![\w.,])(?<!(?:server|client|proxy|candidate|entry|step|term|index) )1 (entrie|step|tick|request|read|state)s\b/g,
    (_, noun) => `1 ${noun === 'entrie' ? 'entry' : noun}`,
  );

/**
 * A sentence in the language of the page; nothing without a translation.
 * @param {any} sentence
 * @param {Record<string, any>} [known]
 * @returns {any}
 */
export const translated = (sentence, known) =>
  currentLanguage() === 'es' ? spanish(sentence, known) : singular(sentence);

/**
 * The same as an element, marked as English without a translation; `end` is appended.
 * @param {any} sentence
 * @param {{end?: string, known?: Record<string, any>, capital?: boolean, cause?: Cause | null}} [options]
 */
export function why(sentence, { end = '', known = {}, capital = false, cause = null } = {}) {
  let words = causeWords(cause) ?? translated(sentence, known);
  if (capital) {
    sentence = sentence.charAt(0).toUpperCase() + sentence.slice(1);
    words = words && words.charAt(0).toUpperCase() + words.slice(1);
  }
  return h('span', { lang: words === null ? 'en' : null }, (words ?? sentence) + end);
}
