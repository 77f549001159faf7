// The checker's diagnostics (`docs/explore.md`): causes of violations, rejected traces and requests, and
// results of searches. The key is the code, and the values are the parameters of the diagnostic.
// `{n|paso|pasos}` selects a form by the number `n`. `checker/src/explore.rs` finds missing texts.

export default {
  // Violations (model/src/system/properties/cause.rs).
  'diagnostic.TermOrCommitFell':
    'el servidor {server} pasó del mandato {term} y el commit {commit_index} de vuelta a {new_term} y {new_commit_index}',
  'diagnostic.RestartedBehindDisk':
    'el servidor {server} se reinició en el mandato {term}, pero su disco tiene el mandato {durable_term}',
  'diagnostic.LeaderChangedLog':
    'el servidor {server} cambió su log mientras lideraba el mandato {term}',
  'diagnostic.TermsOutOfOrder':
    'el log del servidor {server} tiene una entrada de un mandato anterior detrás de una de un mandato posterior',
  'diagnostic.StoreDiffers':
    'los datos del servidor {server} no son el resultado de aplicar una vez cada orden comprometida hasta la entrada {index}',
  'diagnostic.DurableVoteChanged':
    'el disco del servidor {server} guardaba {before} y guarda ahora {after}',
  'diagnostic.VoteNotDurable':
    'el servidor {server} envió un voto en el mandato {term} que su disco no guarda',
  'diagnostic.CandidacyNotDurable':
    'el servidor {server} pidió votos en el mandato {term} antes de que el suyo estuviera en disco',
  'diagnostic.VotedTwice':
    'el servidor {server} votó por el servidor {candidate} y por el servidor {other_candidate} en el mandato {term}',
  'diagnostic.AcknowledgedTermNotDurable':
    'el servidor {server} confirmó entradas en el mandato {term}, pero su disco guarda el mandato {durable_term}',
  'diagnostic.AcknowledgedEntryNotDurable':
    'el servidor {server} confirmó la entrada {index}, pero su disco acaba en la entrada {last_index}',
  'diagnostic.MatchIndexNotDurable':
    'el servidor {server} tiene match_index {index} para el servidor {other}, cuyo disco no tiene todas las entradas hasta la {index}',
  'diagnostic.TransferTargetIncomplete':
    'el servidor {server} pidió al servidor {other} que iniciara una elección, pero el disco del servidor {other} no tiene todas las entradas hasta la {index}',
  'diagnostic.SentTermNotDurable':
    'el servidor {server} envió un mensaje del mandato {term}, pero su disco guarda el mandato {durable_term}',
  'diagnostic.CommittedWithoutMajority':
    'el servidor {server} comprometió la entrada {index}, pero las copias en disco que conocía eran {copies} de {voters}',
  'diagnostic.CommittedOtherTerm':
    'el servidor {server} lideraba el mandato {term} y movió su índice de commit a la entrada {index} del mandato {entry_term}',
  'diagnostic.LogsDiffer':
    'los servidores {server} y {other} tienen el mismo mandato en el índice {index} y difieren en él o antes',
  'diagnostic.TwoLeaders':
    'los servidores {server} y {other} fueron elegidos los dos en el mandato {term}',
  'diagnostic.LeaderLacksEntry':
    'el servidor {server} fue elegido en el mandato {term} sin la entrada {index}, comprometida en el mandato {committed_in}',
  'diagnostic.LeaderLacksEntries':
    'el servidor {server} fue elegido en el mandato {term} sin al menos una de las entradas hasta la {index}, comprometidas hasta el mandato {committed_in}',
  'diagnostic.LaterLeaderLacksEntry':
    'la entrada {index} se comprometió en el mandato {term}, pero el servidor {server} fue elegido en el mandato {elected_in} sin ella',
  'diagnostic.LaterLeaderLacksEntries':
    'el servidor {server} comprometió las entradas hasta la {index} en el mandato {term}, pero el servidor {other} fue elegido en el mandato {elected_in} sin al menos una de ellas',
  'diagnostic.AppliedEntriesDiffer':
    'dos servidores aplicaron entradas distintas en el índice {index}: del mandato {term} y del mandato {other_term}',
  'diagnostic.AppliedEntryDiffers':
    'el servidor {server} aplicó en el índice {index} una entrada distinta de la comprometida allí',
  'diagnostic.SnapshotNotCommitted':
    'una instantánea acaba en la entrada {index} del mandato {term}, que nunca se comprometió',
  'diagnostic.ServerSnapshotNotCommitted':
    'el servidor {server} tiene una instantánea que acaba en la entrada {index} del mandato {term}, que no se comprometió',
  'diagnostic.AppliedStateDiffers':
    'un estado tras la entrada {index} no es el resultado de aplicar una vez cada orden comprometida',
  'diagnostic.SessionsDiffer':
    'un estado tras la entrada {index} ha perdido o cambiado datos de sesiones que debe conservar',
  'diagnostic.SnapshotDiffers':
    'la instantánea del servidor {server} hasta la entrada {index} no es el resultado de las entradas comprometidas',
  'diagnostic.AcknowledgedNotCommitted':
    'la escritura {sequence} de la sesión {session} se confirmó, pero ningún servidor la había comprometido',
  'diagnostic.AnsweredNotCommitted':
    'el cliente de la entrada {index} recibió una respuesta, pero ningún servidor había comprometido la entrada',
  'diagnostic.AnsweredWithoutRequest':
    'el servidor {server} respondió a un cliente que no esperaba ninguna entrada con esa petición',
  'diagnostic.AcknowledgedWithoutMajority':
    'el servidor {server} respondió al cliente de la entrada {index}, pero las copias en disco que conocía eran {copies} de {voters}',
  'diagnostic.AnswerDiffers':
    'la respuesta al cliente de la entrada {index} no es la que da aplicar una vez cada orden comprometida',
  'diagnostic.AnswerForgotten':
    'la escritura {sequence} de la sesión {session} se rechazó como confirmada mientras su cliente esperaba todavía la respuesta',
  'diagnostic.NotLinearizable':
    'ningún orden de las operaciones explica sus resultados: {operations}',
  'diagnostic.RefusedTookEffect': 'una operación dada por no hecha tuvo efecto: {operations}',
  'diagnostic.RecordedLogsDiffer':
    'dos logs tienen una entrada del mandato {term} en el índice {index} y difieren en ella o antes',
  'diagnostic.RecordedTermsOutOfOrder':
    'la entrada {index} es del mandato {term}, detrás de una del mandato {earlier_term}',
  'diagnostic.LogDiffersFromWrites':
    'el log del servidor {server} no es el resultado de sus escrituras',
  'diagnostic.StepPanicked': 'el paso de {process} terminó con un error del programa: {message}',
  'diagnostic.VotedWithoutRequest':
    'el servidor {server} votó en el mandato {term} por el servidor {candidate}, que no pidió ese voto',
  'diagnostic.VotedForOutdatedLog':
    'el servidor {server} votó en el mandato {term} por el servidor {candidate}, pero el log del candidato está menos actualizado que el del votante, cuya última entrada es la {index} del mandato {entry_term}',
  'diagnostic.BecameCandidateTwice':
    'el servidor {server} se presentó otra vez como candidato en el mandato {term}, o cambió su log siendo candidato',
  'diagnostic.CountedMissingVote':
    'el servidor {server} contó un voto del servidor {other} en el mandato {term} que no recibió',
  'diagnostic.LedWithoutCandidacy':
    'el servidor {server} pasó a ser líder del mandato {term}, pero no era candidato de ese mandato con su propio voto en disco',
  'diagnostic.ElectedWithoutMajority':
    'el servidor {server} pasó a ser líder del mandato {term} con {votes} de {voters} votos',
  'diagnostic.AppendedOtherTerm':
    'el servidor {server} era líder del mandato {term} y añadió la entrada {index} del mandato {entry_term}',
  'diagnostic.MatchedWithoutAcknowledgement':
    'el servidor {server} tiene match_index {index} para el servidor {other}, que no confirmó esa entrada en el mandato {term}',
  'diagnostic.LogNotFromLeader':
    'el servidor {server} cambió su log, y ningún mensaje muestra que el líder del mandato {term} tenga ese log hasta la entrada {index}',
  'diagnostic.DiskDiffersFromMemory':
    'las escrituras pendientes del servidor {server} no producen su log en memoria, que acaba con la entrada {index}',
  'diagnostic.DurableIndexAhead':
    'el servidor {server} da por guardado su log hasta la entrada {index}, pero su disco y sus escrituras pendientes no lo tienen',
  'diagnostic.DurableEntriesLost':
    'el disco del servidor {server} perdió la entrada {index} sin un conflicto con el log de un líder',
  'diagnostic.AcknowledgedOtherLog':
    'el servidor {server} confirmó la entrada {index} en el mandato {term}, pero no consta que su disco, en ese mandato, tenga el log del líder hasta ella',
  'diagnostic.LearnedNotCommitted':
    'el servidor {server} movió su índice de commit a la entrada {index}, y ningún mensaje muestra que su log esté comprometido hasta ahí',
  'diagnostic.SentOtherLog':
    'el servidor {server} envió un log hasta la entrada {index} que no es su log como líder del mandato {term}',
  'diagnostic.SentCommitIndexAhead':
    'el servidor {server} envió el índice de commit {index}, pero el suyo es {commit_index}',
  'diagnostic.TermNotWritten':
    'el servidor {server} está en el mandato {term}, pero ni su disco ni sus escrituras pendientes tienen ese mandato y su voto',
  'diagnostic.SentForAnother':
    'el servidor {server} envió un mensaje con la dirección de otro proceso como remitente',
  'diagnostic.RestartDiffersFromDisk':
    'el servidor {server} arrancó con un estado que no coincide con el de su disco',
  'diagnostic.InvariantViolated': 'después de este paso del servidor {server}: {invariant}',

  // Bounds and worlds.
  'diagnostic.BoundNeedsNumber':
    'el límite «{bound}» no puede ser any: da un número de {min} a {max}',
  'diagnostic.BoundOutOfRange': 'el límite «{bound}» no puede ser {value}: da de {min} a {max}',
  'diagnostic.MixedSettingsWithOperations':
    'no se pueden registrar operaciones donde los servidores tienen ajustes distintos: se juzgan con una sola cuota del estado',
  'diagnostic.MixedSettingsWithCrashes':
    'los servidores con ajustes distintos no pueden caerse en un ámbito: da --crashes 0',
  'diagnostic.BoundNeedsClients':
    'el límite «{bound}» no tiene efecto sin procesos cliente: elige un ámbito que los contenga, como restarts',
  'diagnostic.SyncsNotMergeable':
    'no se pueden unir las escrituras en disco con instantáneas, con lecturas junto a una ventana o a varias peticiones a la vez, ni con caídas junto a clientes, una ventana o PreVote: un servidor podría entonces revelar una escritura antes de que esté en disco',
  'diagnostic.UnknownScope': 'no hay ningún ámbito «{name}»: están en /api/catalog',
  'diagnostic.UnknownBound': 'no hay ningún límite «{name}»: están en /api/catalog',
  'diagnostic.MutantNotFound': 'no hay ningún error «{name}» que plantar: están en /api/catalog',

  // Impossible steps of a walk.
  'diagnostic.NoKey': '«{key}» no es un paso: escribe una clave como 1e o 2d3',
  'diagnostic.NoProcess': 'no hay un proceso {process}: este mundo tiene {processes}',
  'diagnostic.NoMessage': 'en este punto no existe el mensaje {message}',
  'diagnostic.WrongReceiver': 'el mensaje {message} es para {receiver}, no para {process}',
  'diagnostic.WrongDelivery':
    'el mensaje {message} no se puede entregar con esta clave: solo la clave de la petición de un cliente a un proxy nombra un servidor (4d1-2)',
  'diagnostic.NoEvent': 'no existe tal evento',
  'diagnostic.NotSent': 'el mensaje nunca se envió',
  'diagnostic.DroppedAlready': 'ya se descartó en el paso {step}',
  'diagnostic.Dropped': 'descartado en el paso {step}: puede llegar si se reenvía',
  'diagnostic.NoReceiver': 'ningún proceso tiene esta dirección',
  'diagnostic.NotEnabled': 'el estado de {process} no lo permite',
  'diagnostic.Down': '{process} está caído',
  'diagnostic.LastTerm': 'este ámbito no tiene ningún mandato tras el {term}',
  'diagnostic.NoBudget': 'este ámbito no tiene {budget}',
  'diagnostic.BudgetSpent': 'el presupuesto de {budget} de este ámbito ({limit}) está gastado',
  'diagnostic.OutOfBounds': 'no cabe en los límites de este ámbito',

  // Requests to the explorer.
  'diagnostic.HostHeader':
    'la petición debe llevar una sola cabecera Host que nombre a este servidor',
  'diagnostic.ForeignHost':
    'el nombre de este servidor en la petición no está permitido: usa localhost, su dirección IP o un nombre dado con --http-allow-host',
  'diagnostic.ForeignOrigin': 'se rechazan las peticiones de páginas de otros sitios',
  'diagnostic.Unauthorized': 'la petición necesita un token',
  'diagnostic.BodyTooLarge': 'la petición es demasiado grande: envía menos bytes por petición',
  'diagnostic.BodyTimeout': 'la petición no llegó a tiempo: envíala otra vez',
  'diagnostic.BodyIncomplete': 'la petición no llegó entera: envíala otra vez',
  'diagnostic.ConnectionsBusy':
    'todas las conexiones están ocupadas: inténtalo de nuevo en un momento',
  'diagnostic.UploadsBusy': 'se están abriendo otras trazas: inténtalo de nuevo en un momento',
  'diagnostic.StreamsBusy': 'hay demasiados flujos de eventos abiertos: cierra antes otra página',
  'diagnostic.RequestMalformed': 'la petición no tiene la forma esperada: {error}',
  'diagnostic.Stopping': 'el servidor se está deteniendo',
  'diagnostic.CoreAssertion': 'el núcleo se detuvo en una aserción suya: {assertion}',
  'diagnostic.NoResource': 'aquí no hay nada: la página está en /, la API en docs/explore.md',
  'diagnostic.WrongMethod': 'este recurso no admite ese método: mira la cabecera Allow',
  'diagnostic.NoTraces':
    'no se dio ninguna traza: `raft-checker replay --serve FILE...` sirve trazas, y esta página abre otras',
  'diagnostic.PathTooLong': 'el camino tiene {steps} {steps|paso|pasos}: da como mucho {limit}',
  'diagnostic.MalformedStep': 'paso {step} del camino: {error}',
  'diagnostic.ImpossibleStep': 'el paso {step} ({key}) de este camino es imposible: {refusal}',
  'diagnostic.AfterViolation':
    'una traza acaba con el primer incumplimiento, y el paso {step} incumple «{property}»: vuelve al paso {step} y exporta desde ahí',
  'diagnostic.NotWritten': 'el recorrido no se puede escribir: {error}',
  'diagnostic.NoPredicateGiven': 'esta búsqueda necesita un predicado: están en /api/catalog',
  'diagnostic.NoPredicate': 'no hay ningún predicado «{name}»: están en /api/catalog',
  'diagnostic.NoWitnessGiven': 'esta búsqueda necesita el nombre de un testigo: están en /api/walk',
  'diagnostic.NoWitness': 'no hay ningún testigo «{name}»: están en /api/walk',
  'diagnostic.NoProperty': 'no hay ninguna propiedad «{name}»: están en /api/catalog',
  'diagnostic.TooManySearches':
    'ya hay {searches} búsquedas en marcha: detén una, o espera a que acabe alguna',
  'diagnostic.NoThread': 'no se puede crear un hilo: {error}',
  'diagnostic.NoJob':
    'no hay ninguna búsqueda {name}: acabó hace tiempo, o el servidor se reinició',

  // Golden scripts.
  'diagnostic.WithClients':
    'un recorrido con clientes y un proxy no puede ser un guion: los guiones solo tienen servidores. Expórtalo como traza',
  'diagnostic.WithMutant':
    'un recorrido con un error plantado no puede ser un guion: los guiones ejecutan el núcleo tal como es. Expórtalo como traza',
  'diagnostic.WithQuorumChecks':
    'un recorrido con PreVote o CheckQuorum no puede ser un guion: los guiones se ejecutan sin ellos. Expórtalo como traza',
  'diagnostic.WithOtherRequests':
    'un recorrido por un ámbito con peticiones que llegan a la vez, o con servidores de ajustes distintos, no puede ser un guion. Expórtalo como traza',
  'diagnostic.AtStep': 'paso {step} del recorrido: {reason}',
  'diagnostic.StartDiffers':
    'un guion no puede expresar la elección con la que empieza este ámbito',
  'diagnostic.SplitDiffers':
    'dividido en pasos separados, este paso tiene otro resultado: un guion no puede expresar este recorrido',
  'diagnostic.NotServer': 'los guiones solo tienen servidores',
  'diagnostic.ServerDown': 'el servidor está caído',
  'diagnostic.NoCommand':
    'los guiones no tienen un comando para esto: {action}. Exporta el recorrido como traza',
  'diagnostic.SplitImpossible': 'dividido en pasos separados, no puede ocurrir',
  'diagnostic.SendsDiffer': 'el núcleo no envía los mensajes del modelo',
  'diagnostic.NotInFlight': 'dividido en pasos separados, el mensaje no está en camino',
  'diagnostic.NoAddress': 'ningún proceso tiene esta dirección',

  // Results of searches.
  'diagnostic.Exhausted':
    'Agotado: se visitaron los {states} estados dentro de estos límites, y en cada uno se cumplen todas las propiedades.',
  'diagnostic.ExhaustedWithoutWitnesses':
    'Agotado: se visitaron los {states} estados dentro de estos límites, y en cada uno se cumplen todas las propiedades. Testigos no alcanzados dentro de estos límites: {witnesses}.',
  'diagnostic.BugNotShown':
    'Hay un error plantado ({mutant}), y este ámbito no lo muestra: en los {states} estados se cumplen todas las propiedades. Esto no es un veredicto sobre Raft; elige el ámbito que el catálogo nombra para este error.',
  'diagnostic.BugNotShownByProperty':
    'Hay un error plantado ({mutant}), y este ámbito no lo muestra: en los {states} estados se cumple «{property}», y no se comprobó ninguna otra propiedad. Esto no es un veredicto sobre Raft; elige el ámbito que el catálogo nombra para este error.',
  'diagnostic.Violated': 'Se incumple «{property}», a {steps} {steps|paso|pasos} del inicio.',
  'diagnostic.BugFound':
    'Error plantado detectado ({mutant}): se incumple «{property}», a {steps} {steps|paso|pasos} del inicio. Esto no es un veredicto sobre Raft.',
  'diagnostic.BugStuck':
    'La comprobación de progreso detecta el error plantado ({mutant}): a {steps} {steps|paso|pasos} del inicio el clúster está atascado. Esto no es un veredicto sobre Raft.',
  'diagnostic.BugInSimulation':
    'Una simulación con reloj detecta el error plantado ({mutant}): se incumple «{property}» tras {steps} {steps|paso|pasos}. Esto no es un veredicto sobre Raft.',
  'diagnostic.BugInSchedule':
    'Una secuencia grabada de {steps} {steps|paso|pasos} detecta el error plantado ({mutant}): incumple «{property}». Esto no es un veredicto sobre Raft.',
  'diagnostic.HoldsHere': 'Aquí ya se cumple: {goal}.',
  'diagnostic.FoundNext': 'Encontrado a un paso de aquí: {goal}.',
  'diagnostic.Found':
    'Encontrado a {steps} {steps|paso|pasos} de aquí, {decisions} de ellos decisiones, el mínimo: {goal}.',
  'diagnostic.NotFound':
    'No encontrado: no se cumple en ninguno de los {states} estados alcanzables desde aquí: {goal}.',
  'diagnostic.Stopped':
    'Detenido tras {states} {states|estado|estados}: de los demás no se afirma nada.',
  'diagnostic.Truncated':
    'Truncado tras {states} {states|estado|estados}, {limit}: de los demás no se afirma nada.',
  'diagnostic.NotReal':
    'La búsqueda informa de que se incumple «{property}», pero su camino no es una ejecución real: {reason}. Es un fallo del comprobador.',
  'diagnostic.Failed': 'La búsqueda falló sin conclusión: {reason}.',
  'diagnostic.Panicked': 'La búsqueda acabó en una aserción, sin conclusión: {assertion}.',
  'diagnostic.ProgressLost': 'La búsqueda no pudo informar de su progreso.',
  'diagnostic.PredicateHolds': '{predicate}',
  'diagnostic.WitnessReached': 'se alcanza el testigo «{witness}»',
  'diagnostic.MaxStates': 'en su límite de estados',
  'diagnostic.MaxMemory': 'en su límite de memoria',
  'diagnostic.OutOfIds': 'por haber más estados de los que puede numerar',
  'diagnostic.Interrupted': 'antes de tiempo',
  'diagnostic.ObligationViolated': 'porque el protocolo no cumple la suposición de una reducción',
  'diagnostic.UnexpectedCounts':
    'porque el número de estados y de pasos no es el que debe tener este ámbito',
  'diagnostic.NoRun': '{error}',
  'diagnostic.WalkRefused': 'el recorrido no puede dar uno de sus pasos: {refusal}',
  'diagnostic.NotViolated': 'el recorrido por él no acaba incumpliendo esta propiedad',
  'diagnostic.NoRealRun': 'el camino encontrado no es una ejecución real: {error}',
  'diagnostic.StepRefused': 'el recorrido no puede seguir el camino encontrado: {refusal}',
  'diagnostic.GoalMissed': 'el recorrido por el camino encontrado acaba en otro estado',

  // Progress, stability and latency.
  'diagnostic.StuckAtStart':
    'desde el estado inicial nunca se puede comprometer ninguna entrada: no se compromete en ninguno de los {states} estados alcanzables sin fallos',
  'diagnostic.Stuck':
    'desde un estado a {steps} {steps|paso|pasos} del inicio no se puede comprometer ninguna entrada: no se compromete en ninguno de los {states} estados alcanzables desde él sin fallos',
  'diagnostic.NotSettled':
    'en {ticks} pulsos no se eligió un líder que comprometiera una entrada, aunque no hay ningún fallo',
  'diagnostic.NoFirstLeader': 'al principio no se eligió ningún líder',
  'diagnostic.NoCandidate': 'ningún servidor fue candidato sin el servidor {server}',
  'diagnostic.NotThreeServers': 'este escenario necesita tres servidores',
  'diagnostic.NoLeader': '{situation}, y en {ticks} pulsos no se eligió ningún líder',
  'diagnostic.NoCommit':
    '{situation}, y en {ticks} pulsos no se comprometió ninguna entrada nueva, con un latido cada {heartbeat} pulsos',
  'diagnostic.LeaderReplaced':
    '{situation}, y el servidor {server} lidera en el mandato {term} en lugar del servidor {other} en el mandato {other_term}',
  'diagnostic.LeaderSteppedDown': '{situation}, y el servidor {server} ya no lidera',
  'diagnostic.NotReelected':
    'el servidor {server} dejó de ser líder, envió peticiones de prevoto a sus seguidores, y no volvió a liderar en {ticks} pulsos',
  'diagnostic.SlowCatchUp':
    'al servidor {server} le faltan {entries} {entries|entrada|entradas}, cada mensaje tarda hasta {delay} pulsos, y el servidor {other} comprometió una entrada con él {ticks} pulsos después de su elección: más de {limit}',
  'diagnostic.NoResponse':
    '{situation}, y tras {ticks} pulsos la operación {operation} del cliente no tiene respuesta',
  'diagnostic.LeaderForgotten':
    'todos los servidores siguen al servidor {server}, que respondió a la petición anterior, y el proxy necesitó {requests} {requests|petición|peticiones} para volver a encontrarlo',
  'diagnostic.ClientWaits':
    'no funciona ningún servidor, y tras {ticks} pulsos el cliente sigue esperando',
  'diagnostic.ProxyKeepsRequests':
    'no funciona ningún servidor y el cliente agotó su plazo, y el proxy aún tiene {requests} {requests|petición|peticiones} en curso',
  'diagnostic.NoFault': 'no hay ningún fallo',
  'diagnostic.FirstCopiesLost': 'la red solo pierde la primera copia de cada mensaje',
  'diagnostic.LeaderUnreachable': 'el servidor {server} ya no recibe mensajes',
  'diagnostic.LongerLogInOlderTerm':
    'el servidor {server} está caído, el servidor {other} está en un mandato posterior y el servidor {third} tiene el log más largo',
  'diagnostic.Reconnected': 'el servidor {server} volvió a conectarse',
  'diagnostic.FollowerUnreachable': 'el servidor {server} no recibe los mensajes de su líder',
  'diagnostic.DisksStalled': 'los discos de los seguidores no terminan ninguna escritura',
  'diagnostic.DisksRecovered':
    'los discos de los seguidores del servidor {server} vuelven a terminar escrituras',
  'diagnostic.ResponderDown':
    'el servidor {server}, que respondía antes, está caído, y los demás servidores funcionan',
  'diagnostic.LeaderFollowed': 'todos los servidores siguen al servidor {server}',
  'diagnostic.DeposedReachable':
    'el servidor {server} conocerá al siguiente líder con el próximo latido, y un cliente lo espera',

  // Files, and traces of scopes.
  'diagnostic.NoFile': 'no hay ningún archivo: da la traza de un ámbito, o las de todos los nodos',
  'diagnostic.FileUnreadable': '{file} no se puede leer: {error}',
  'diagnostic.NotTrace':
    '{file} no es una traza: no empieza ni como la traza de un ámbito (docs/trace.md) ni como la traza de un nodo (docs/replay.md)',
  'diagnostic.MixedFiles':
    'estos archivos no van juntos: da una traza de un ámbito, o las trazas de todos los nodos de un clúster',
  'diagnostic.EmptyFile': 'el archivo está vacío',
  'diagnostic.LineUnreadable': '{error}',
  'diagnostic.LineMalformed': '{error}',
  'diagnostic.LineDigest': '{error}',
  'diagnostic.OtherSchema': 'el esquema es {schema}, y solo se admite {known}',
  'diagnostic.BadScopeName': '{error}',
  'diagnostic.UnknownMutant': 'ningún error plantado se llama {name}',
  'diagnostic.BadScope': '{error}',
  'diagnostic.TooManySteps': 'hay más pasos de los que anuncia la cabecera',
  'diagnostic.TooFewSteps':
    'la traza acaba aquí, pero su cabecera anuncia {steps} {steps|paso|pasos}',
  'diagnostic.OtherViolation': 'los pasos incumplen «{property}»: {cause}',
  'diagnostic.NoViolation': 'los pasos no incumplen ninguna propiedad',
  'diagnostic.StepOutOfOrder': 'este es el paso {step}, no el {recorded}',
  'diagnostic.UnknownProcess': 'el ámbito no tiene {process}',
  'diagnostic.StepImpossible': '{reason}',
  'diagnostic.SentDiffers': '"sent" no tiene los mensajes que el modelo envía en este paso',
  'diagnostic.WitnessesDiffer': '"witnesses" no tiene los testigos de este paso',
  'diagnostic.StateDiffers': '"{part}" no es el estado al que llega el modelo',
  'diagnostic.StepAfterViolation':
    'ningún paso sigue a un incumplimiento, y «{property}» se incumple',
  'diagnostic.StepOutOfBounds': 'esto no puede ocurrir, o no dentro de los límites del ámbito',
  'diagnostic.NoProcessAt': 'no hay ningún proceso con el índice {index}',
  'diagnostic.DeliveredElsewhere': 'un mensaje para {process} se entrega a {receiver}',
  'diagnostic.DeliveredUnsent': 'el mensaje entregado a {receiver} nunca se envió',
  'diagnostic.NoSuchDelivery': 'el mensaje no se puede entregar así a {receiver}',
  'diagnostic.StepNotEnabled': 'el estado de {process} no lo permite',
  'diagnostic.DigestMissing': 'no acaba en un resumen criptográfico',
  'diagnostic.DigestWrong':
    'su resumen criptográfico no es correcto: se cambió esta línea, o se quitó una anterior',

  // Traces of nodes.
  'diagnostic.NoTraceInFile': 'en este archivo no hay ninguna traza',
  'diagnostic.OnlyLineTruncated':
    'la única línea de este archivo está cortada, así que no contiene ninguna traza',
  'diagnostic.InputUnreadable': '{error}',
  'diagnostic.OtherFormat':
    'esta es una traza de {name} versión {version}; solo se admite {known} versión {known_version}',
  'diagnostic.NoDigest': 'esto no es una traza: no acaba en un resumen criptográfico',
  'diagnostic.NotJson': 'esto no es JSON: {error}',
  'diagnostic.NotTraceLine': '{error}',
  'diagnostic.BadBoot': 'el arranque «{boot}» no son 16 cifras hexadecimales',
  'diagnostic.BadPart': '{part}: {error}',
  'diagnostic.UnknownContents':
    '{part}: tiene campos que esta versión del comprobador no conoce, u otra forma del mismo valor',
  'diagnostic.WrongDigest': '{error}',
  'diagnostic.HeaderMissing':
    'hay un paso antes de ninguna cabecera: falta el comienzo de la traza',
  'diagnostic.SameServer':
    'esta es una traza del servidor {server}, y también lo es {other}: pon las ejecuciones de un servidor en un archivo, en su orden',
  'diagnostic.OtherServer':
    'esta ejecución es del servidor {server}, y la traza es del servidor {other}',
  'diagnostic.NotVoter': 'el servidor {server} no está entre los votantes de su configuración',
  'diagnostic.OtherConfiguration':
    'la configuración no es la de {other}: es la misma en todos los servidores',
  'diagnostic.UsedDisk':
    'el servidor {server} parte de un disco ya usado: faltan los registros anteriores (--used-disks lo acepta)',
  'diagnostic.StartsFromSnapshot':
    'este disco empieza con una instantánea, y las entradas que cubre no están en ninguna traza: la traza debe empezar con la primera ejecución del servidor',
  'diagnostic.BootReused':
    'el arranque {boot} ya es el nombre de una ejecución anterior: ¿contiene el archivo dos veces una parte de esta traza?',
  'diagnostic.OtherDisk':
    'el servidor {server} no parte del disco de su ejecución anterior: todas las escrituras que constan en disco, y quizá algunas de las siguientes, en su orden',
  'diagnostic.WrongStepNumber': 'este es el paso {step}, no el {recorded}',
  'diagnostic.NoPendingWrite':
    'la escritura {write} consta en disco, pero no hay tal escritura pendiente',
  'diagnostic.OtherEffects':
    'el servidor {server} tiene otro resultado en este paso: "{part}" es {result}, y lo registrado es {recorded}',
  'diagnostic.SenderMissing':
    'el servidor {server} recibe un mensaje del servidor {other}, cuya traza no está aquí: da las trazas de todos los servidores',
  'diagnostic.MessageNotSent':
    'el servidor {server} recibe un mensaje del servidor {other} que ningún paso de su traza envía',
  'diagnostic.ReceivedBeforeSent':
    'el mensaje que aquí se recibe se envió después de recibirse: cada una de {lines} espera a otra',
  'diagnostic.PropertyViolated': 'se incumple «{property}»: {cause}',
  'diagnostic.ReplayInterrupted': 'interrumpido: no se concluyó nada',
};
