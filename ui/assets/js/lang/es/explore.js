export default {
  'explore.hero': 'Raft, paso a paso',
  'explore.lead':
    'Cada botón es un paso del mismo código que corre en los servidores. Da los pasos tú, o planta un error clásico y deja que el comprobador encuentre un incumplimiento.',
  'explore.card-plant': 'Planta un error y mira cómo falla Raft',
  'explore.card-plant-about':
    'Elige un error clásico. El comprobador encuentra un contraejemplo y lo muestra paso a paso. Cada error indica con qué método se encuentra.',
  'explore.card-walk': 'Da los pasos tú',
  'explore.card-walk-about':
    'Decide a qué servidor se le agota el tiempo, cuál se cae y cuándo llega cada mensaje.',
  'explore.card-walk-go': 'Empezar',
  'explore.card-tour': 'Haz un recorrido guiado',
  'explore.card-tour-about': 'Elecciones, replicación, caídas y la figura 8, en recorridos breves.',
  'explore.card-tour-go': 'Ver los recorridos',
  'explore.search': 'Buscar acciones ( / )',
  'explore.search-short': 'Buscar ( / )',
  'explore.kind': 'Tipo de acción',
  'explore.kind-all': 'todo',
  'explore.kind-messages': 'mensajes',
  'explore.kind-timers': 'temporizadores',
  'explore.kind-faults': 'fallos',
  'explore.kind-clients': 'clientes',
  'explore.show-forbidden': 'mostrar acciones no permitidas aquí',
  'explore.act-deliver': 'Entregar',
  'explore.act-again': 'Entregar otra vez',
  'explore.act-drop': 'Descartar el mensaje',
  'explore.act-timeout': 'Agotar el tiempo',
  'explore.act-heartbeat': 'Reenviar',
  'explore.act-quorum': 'Comprobar quórum',
  'explore.act-sync': 'Sincronizar el disco',
  'explore.act-crash': 'Caída',
  'explore.act-restart': 'Arrancar',
  'explore.act-client': 'Escritura de cliente',
  'explore.act-read': 'Lectura de cliente',
  'explore.act-invoke': 'Siguiente operación',
  'explore.act-client-timeout': 'Agotar el intento',
  'explore.act-proxy-timeout': 'Probar otro servidor',
  'explore.about-hint': 'Aquí aparece la descripción de cada acción.',
  'explore.about-timeout': 'a {who} se le agota el tiempo y empieza una elección',
  'explore.about-read': 'un cliente envía una lectura a {who}',
  'explore.about-sync': 'la escritura sin sincronizar más antigua de {who} llega a su disco',
  'explore.about-compact': '{who} toma una instantánea de su estado aplicado',
  'explore.about-transfer':
    '{who} empieza a transferir su liderazgo a {to}: rechaza peticiones, pone al día el log del destino y después le envía TimeoutNow',
  'explore.about-abort-transfer':
    '{who} cancela su transferencia de liderazgo, porque salta su temporizador de elección, y vuelve a aceptar peticiones',
  'explore.about-crash': '{who} se cae y pierde todo lo que no está en su disco',
  'explore.about-restart': '{who} arranca de nuevo desde su disco',
  'explore.about-invoke': '{who} empieza su siguiente operación',
  'explore.about-client-timeout': 'a {who} se le agota el tiempo de este intento',
  'explore.about-proxy-timeout': 'a {who} se le agota el tiempo y prueba otro servidor',
  'explore.act-compact': 'Tomar una instantánea',
  'explore.act-transfer': 'Transferir el liderazgo a S{id}',
  'explore.act-abort-transfer': 'Cancelar la transferencia',
  'explore.ask': 'probar S{id}',
  'explore.forbidden': 'No permitido: {why}',
  'explore.no-effect': 'No tiene efecto en este estado.',
  'explore.again': {
    one: '{n} ya entregado: puede llegar otra vez',
    other: '{n} ya entregados: pueden llegar otra vez',
  },
  'explore.no-match': 'No hay coincidencias.',
  'explore.no-action': 'Aquí no hay ninguna acción posible.',
  'explore.properties': 'Propiedades en este estado',
  'explore.properties-hold': '✓ Se cumplen las {n} propiedades',
  'explore.properties-violated': {
    one: '✗ Se incumple una propiedad',
    other: '✗ Se incumplen {n} propiedades',
  },
  'explore.holds': 'se cumple',
  'explore.violated': 'se incumple',
  'explore.budgets': 'Presupuesto gastado',
  'explore.witnesses': 'Testigos en este camino',
  'explore.reached': 'alcanzado',
  'explore.unreached': 'aún no',
  'explore.find-witness': 'Buscar un estado con: {name}',
  'explore.go-find': 'buscar',
  'explore.bound-servers': 'servidores',
  'explore.bound-terms': 'mandatos',
  'explore.bound-entries': 'entradas',
  'explore.bound-reads': 'lecturas',
  'explore.bound-crashes': 'caídas',
  'explore.bound-snapshots': 'instantáneas',
  'explore.bound-client-crashes': 'caídas de clientes',
  'explore.bound-proxy-crashes': 'caídas del proxy',
  'explore.bound-transfers': 'transferencias de liderazgo',
  'explore.bound-batch': 'entradas por mensaje',
  'explore.bound-attempts': 'intentos por cliente',
  'explore.n-servers': { one: '{n} servidor', other: '{n} servidores' },
  'explore.n-terms': { one: '{n} mandato', other: '{n} mandatos' },
  'explore.n-entries': { one: '{n} entrada', other: '{n} entradas' },
  'explore.n-reads': { one: '{n} lectura', other: '{n} lecturas' },
  'explore.n-crashes': { one: '{n} caída', other: '{n} caídas' },
  'explore.n-snapshots': { one: '{n} instantánea', other: '{n} instantáneas' },
  'explore.n-client-crashes': { one: '{n} caída de un cliente', other: '{n} caídas de clientes' },
  'explore.n-proxy-crashes': { one: '{n} caída del proxy', other: '{n} caídas del proxy' },
  'explore.n-transfers': {
    one: '{n} transferencia de liderazgo',
    other: '{n} transferencias de liderazgo',
  },
  'explore.any-crashes': 'cualquier número de caídas',
  'explore.any-snapshots': 'cualquier número de instantáneas',
  'explore.any-client-crashes': 'cualquier número de caídas de clientes',
  'explore.any-proxy-crashes': 'cualquier número de caídas del proxy',
  'explore.any-transfers': 'cualquier número de transferencias de liderazgo',
  'explore.budget-any': 'cualquier número',
  'explore.tree': 'Estados visitados',
  'explore.tree-start': 'comienzo',
  'explore.did-electiontimeout': 'agota el tiempo',
  'explore.did-aborttransfer': 'cancela la transferencia',
  'explore.did-heartbeattimeout': 'reenvía',
  'explore.did-quorumtimeout': 'comprueba quórum',
  'explore.did-propose': 'escritura',
  'explore.did-proposetogether': 'varias peticiones',
  'explore.did-read': 'lectura',
  'explore.did-sync': 'sincroniza',
  'explore.did-compact': 'instantánea',
  'explore.did-transferleadership': 'transfiere a {to}',
  'explore.did-crash': 'se cae',
  'explore.did-restart': 'arranca',
  'explore.did-invoke': 'siguiente operación',
  'explore.did-clienttimeout': 'agota el intento',
  'explore.did-proxytimeout': 'prueba otro',
  'explore.search-bugs': 'Buscar errores',
  'explore.bugs': 'Errores',
  'explore.bug-violates': 'Incumple {property}',
  'explore.seen-in': 'visto en {where}',
  'explore.plant': 'Plantar un error',
  'explore.plant-find': 'Plantarlo y buscar un incumplimiento',
  'explore.plant-walk': 'Plantarlo y dar pasos',
  'explore.plant-here': 'Plantarlo en este ámbito',
  'explore.plant-where': 'Se encuentra en el ámbito {scope}: {bounds}.',
  'explore.scope': 'Ámbito',
  'explore.bounds': 'Límites',
  'explore.bug': 'Error plantado',
  'explore.no-bug': 'ninguno: Raft tal cual',
  'explore.split': 'Cada escritura a disco y cada arranque es un paso aparte',
  'explore.split-short': 'pasos separados',
  'explore.walk-here': 'Empezar aquí',
  'explore.take-bounds': 'Usar los límites que lo muestran: {scope}, {bounds}',
  'explore.choose-world': 'Ámbito, límites y error',
  'explore.properties-liveness':
    '✗ Se incumple «{property}». No es una de las {n} propiedades de seguridad siguientes.',
  'explore.properties-not-yet':
    'La ejecución mostrada incumple «{property}»: en este paso aún no, o aquí ya no se puede comprobar.',
  'explore.found-stuck': {
    one: 'Encontrado: tras {n} paso el clúster está atascado.',
    other: 'Encontrado: tras {n} pasos el clúster está atascado.',
  },
  'explore.found-stuck-at-start': 'Encontrado: el clúster está atascado desde el comienzo.',
  'explore.found-timed': {
    one: 'Encontrado por una simulación con reloj: «{property}» se incumple tras {n} paso, en el pulso {ticks}.',
    other:
      'Encontrado por una simulación con reloj: «{property}» se incumple tras {n} pasos, en el pulso {ticks}.',
  },
  'explore.found-schedule': {
    one: 'Encontrado por una secuencia grabada: «{property}» se incumple tras {n} paso.',
    other: 'Encontrado por una secuencia grabada: «{property}» se incumple tras {n} pasos.',
  },
  'explore.found-is-stuck': {
    one: 'Este es el estado atascado; {n} paso más muestra una ejecución sin fallos.',
    other: 'Este es el estado atascado; {n} pasos más muestran una ejecución sin fallos.',
  },
  'explore.found-is-stuck-alone': 'Este es el estado atascado.',
  'explore.found-still-stuck': 'Sigue atascado: esta ejecución sin fallos no compromete nada.',
  'explore.at-tick': 'Pulso {n}.',
  'explore.to-stuck': 'Al estado atascado',
  'explore.how-found': 'Cómo se encontró',
  'explore.by-search': 'búsqueda exhaustiva',
  'explore.by-schedule': 'secuencia grabada',
  'explore.by-progress': 'comprobación de progreso',
  'explore.by-timed': 'simulación con reloj',
  'explore.about-bound-servers': 'Número de servidores',
  'explore.about-bound-terms': 'Número máximo de mandatos',
  'explore.about-bound-entries': 'Número máximo de entradas de clientes',
  'explore.about-bound-reads': 'Número máximo de lecturas servidas',
  'explore.about-bound-crashes': 'Número máximo de caídas, o any (sin límite)',
  'explore.about-bound-snapshots': 'Número máximo de instantáneas, o any (sin límite)',
  'explore.about-bound-client-crashes': 'Número máximo de caídas de clientes, o any (sin límite)',
  'explore.about-bound-proxy-crashes': 'Número máximo de caídas del proxy, o any (sin límite)',
  'explore.about-bound-transfers':
    'Número máximo de transferencias de liderazgo, o any (sin límite)',
  'explore.about-bound-batch': 'Número máximo de entradas por mensaje',
  'explore.about-bound-attempts': 'Máximo de intentos por cliente y proxy',
  'explore.find': 'Buscar un estado',
  'explore.find-about': 'Buscar el estado más cercano, desde aquí, donde…',
  'explore.find-go': 'Buscarlo',
  'explore.check': 'Comprobar todos los estados',
  'explore.check-bug': 'Buscar un incumplimiento',
  'explore.job': 'Búsqueda',
  'explore.job-hunt': 'Buscando un incumplimiento…',
  'explore.job-check': 'Comprobando cada estado…',
  'explore.job-find': 'Buscando un estado…',
  'explore.p-states': 'estados',
  'explore.p-rate': 'velocidad',
  'explore.p-frontier': 'frontera',
  'explore.p-depth': 'profundidad',
  'explore.p-memory': 'memoria',
  'explore.p-elapsed': 'tiempo',
  'explore.states': { one: '{n} estado', other: '{n} estados' },
  'explore.stop': 'Parar',
  'explore.verdict-exhausted': 'agotado',
  'explore.verdict-violated': 'incumplido',
  'explore.verdict-truncated': 'truncado: no afirma nada',
  'explore.verdict-found': 'encontrado',
  'explore.verdict-not_found': 'inalcanzable',
  'explore.verdict-stopped': 'parado: no afirma nada',
  'explore.verdict-failed': 'falló',
  'explore.found-property': {
    one: 'Encontrado: «{property}» se incumple tras {n} paso.',
    other: 'Encontrado: «{property}» se incumple tras {n} pasos.',
  },
  'explore.found-walk': 'Recórrelo con Siguiente.',
  'explore.found-end': 'Este es el paso que la incumple.',
  'explore.no-verdict': 'Esto no es un veredicto sobre Raft: hay un error plantado.',
  'explore.found-state': {
    one: 'Aquí está, a {n} paso del comienzo.',
    other: 'Aquí está, a {n} pasos del comienzo.',
  },
  'explore.from-start': 'Desde el comienzo',
  'explore.play-pause': 'Reproducir / pausa',
  'explore.planted': 'plantado',
  'explore.share': 'Copiar enlace',
  'explore.copied': 'El enlace a este estado está copiado.',
  'explore.copy-this': 'Copia esta dirección:',
  'explore.tab-actions': 'Acciones',
  'explore.tab-properties': 'Propiedades',
  'explore.tab-details': 'Detalles',
  'explore.tab-tree': 'Árbol',
  'explore.tab-logs': 'Logs',
  'explore.tab-time': 'Espacio-tiempo',
  'explore.panels': 'Paneles',
  'explore.lost': 'El camino de la dirección no se puede seguir más allá: {why}',
  'explore.back-to-start': 'Volver a la página inicial',
  'explore.key-search': 'buscar acciones',

  // Los textos del catálogo, que el servidor da en inglés.
  'explore.mutant-vote-not-persisted': 'Un voto no se guarda en disco.',
  'explore.mutant-vote-sent-before-durable': 'Un voto se envía antes de estar en disco.',
  'explore.mutant-rejoins-with-wiped-disk':
    'Un servidor con el disco borrado se reincorpora con su identificador anterior y vota.',
  'explore.mutant-candidate-forgets-own-vote':
    'Un candidato no registra el voto que se da a sí mismo.',
  'explore.mutant-counts-stale-votes': 'Se cuenta un voto de un mandato anterior.',
  'explore.mutant-counts-repeated-votes':
    'Los votos se cuentan sin un conjunto, así que una respuesta duplicada cuenta dos veces.',
  'explore.mutant-votes-without-comparing-logs': 'Se concede un voto sin comparar los logs.',
  'explore.mutant-compares-logs-by-length': 'Los logs se comparan solo por su longitud.',
  'explore.mutant-commits-older-term-by-counting':
    'Una entrada de un mandato anterior se compromete contando réplicas (figura 8).',
  'explore.mutant-compares-term-of-last-entry':
    'La regla de commit compara el mandato de la última entrada del líder, no el de la entrada por comprometer.',
  'explore.mutant-commits-sent-entries':
    'La regla de commit cuenta las entradas enviadas a un seguidor, no las que confirmó.',
  'explore.mutant-half-of-even-commits':
    'La mitad de un número par de servidores compromete una entrada.',
  'explore.mutant-conflicting-suffix-kept': 'No se elimina un sufijo del log en conflicto.',
  'explore.mutant-prev-term-not-compared': 'No se compara el mandato en prevLogIndex.',
  'explore.mutant-counts-stale-acknowledgements': 'Se cuenta un acuse de un mandato anterior.',
  'explore.mutant-match-index-survives-re-election':
    'match_index se conserva hasta el siguiente liderazgo de un servidor.',
  'explore.mutant-append-acknowledged-before-durable':
    'Una entrada se confirma antes de que esté en disco.',
  'explore.mutant-late-notice-credits-overwritten-entries':
    'Un aviso tardío del disco se atribuye a entradas que entretanto se sobrescribieron.',
  'explore.mutant-read-before-commit-in-term':
    'Se sirve un ReadIndex antes de que el líder haya comprometido algo en su mandato.',
  'explore.mutant-votes-twice-in-a-term': 'Un servidor vota a dos candidatos en un mandato.',
  'explore.mutant-votes-in-an-older-term': 'Un servidor vota en un mandato anterior al suyo.',
  'explore.mutant-votes-requested-before-durable':
    'Se piden votos antes de que el voto propio del candidato esté en disco.',
  'explore.mutant-refused-before-term-is-durable':
    'Se niega un voto antes de que el mandato de la negativa esté en disco.',
  'explore.mutant-quorum-off-by-one':
    'Una mayoría es la mitad de los servidores, redondeada hacia abajo.',
  'explore.mutant-stays-leader-in-new-term':
    'Un líder que ve un mandato posterior lo adopta y sigue siendo líder.',
  'explore.mutant-accepts-stale-appends': 'Se acepta un AppendEntries de un mandato anterior.',
  'explore.mutant-truncates-without-conflict':
    'Un seguidor trunca su log según una petición retrasada sin que haya conflicto.',
  'explore.mutant-truncation-not-persisted': 'Un truncamiento no se guarda en disco.',
  'explore.mutant-follower-commits-despite-conflict':
    'Un seguidor que rechaza entradas adopta aun así el índice de commit del líder.',
  'explore.mutant-leader-counts-itself-before-durable':
    'Un líder se cuenta a sí mismo antes de que la entrada esté en su propio disco.',
  'explore.mutant-read-without-confirmation':
    'Una lectura se responde sin la confirmación de una mayoría.',
  'explore.mutant-read-round-not-compared':
    'Cualquier acuse del mandato confirma una lectura, incluso uno tardío.',
  'explore.mutant-read-before-applied':
    'Una lectura se responde antes de aplicar todas las entradas comprometidas.',
  'explore.mutant-command-applied-twice': 'No se consultan las respuestas guardadas de una sesión.',
  'explore.mutant-repeat-answered-with-own-version':
    'Una escritura repetida se responde con la versión de su propia entrada, como si tuviera efecto otra vez.',
  'explore.mutant-answer-not-retained':
    'La respuesta a una escritura no se guarda, así que una escritura repetida se rechaza como ya confirmada.',
  'explore.mutant-acknowledged-sequence-applied-again':
    'Se aplica otra vez un número de secuencia cuya respuesta ya se confirmó y descartó.',
  'explore.mutant-retries-under-new-sequence':
    'Un cliente reintenta una escritura con otro número de secuencia.',
  'explore.mutant-unavailable-taken-for-not-done':
    'Un cliente toma «no disponible» por «no hecho».',
  'explore.mutant-response-id-not-compared':
    'Un cliente acepta cualquier respuesta como la de su petición actual.',
  'explore.mutant-next-index-not-moved-back':
    'next_index no retrocede cuando un seguidor informa de un conflicto.',
  'explore.mutant-leader-skips-noop': 'Un líder nuevo no añade ningún no-op.',
  'explore.mutant-vote-kept-across-terms': 'Un voto se conserva al cambiar de mandato.',
  'explore.mutant-pre-vote-counted-as-vote': 'Un prevoto se cuenta como voto.',
  'explore.mutant-stale-pre-vote-dropped':
    'Se descarta una petición PreVote de un mandato anterior, y quien la envió nunca conoce el nuevo.',
  'explore.mutant-leader-never-checks-quorum':
    'Un líder sin respuestas de una mayoría sigue siendo líder.',
  'explore.mutant-quorum-contact-never-expires':
    'Un líder que una vez recibió respuestas de una mayoría sigue siendo líder para siempre.',
  'explore.mutant-votes-despite-live-leader':
    'Un servidor concede su voto aunque tiene un líder activo.',
  'explore.mutant-pre-candidate-refuses-others':
    'Un precandidato niega su prevoto a todos los demás servidores.',
  'explore.mutant-pre-vote-raises-term':
    'Una petición PreVote aumenta el mandato de quien la recibe.',
  'explore.mutant-ack-counts-everything-sent':
    'Un acuse se cuenta para todas las entradas enviadas hasta el momento.',
  'explore.mutant-split-vote-never-retried':
    'Un candidato espera para siempre tras un reparto de votos.',
  'explore.mutant-vote-requests-not-repeated':
    'Un candidato envía cada petición de voto una sola vez, sin reintentos.',
  'explore.mutant-repeated-vote-refused':
    'Se rechaza una petición de voto retransmitida del candidato que recibió el voto.',
  'explore.mutant-waiters-outlive-the-lead':
    'Un cliente que espera una entrada recibe la respuesta a la entrada de otro líder en ese índice.',
  'explore.mutant-lost-leadership-not-reported':
    'Los clientes en espera no reciben respuesta cuando su líder pierde el liderazgo.',
  'explore.mutant-conflict-hint-ignored':
    'Se ignora la pista del conflicto: next_index retrocede de una en una entrada.',
  'explore.mutant-match-index-falls': 'Un acuse tardío hace retroceder match_index.',
  'explore.mutant-window-not-kept':
    'Un líder envía a un seguidor más entradas de las que caben en su ventana.',
  'explore.mutant-stale-refusal-confirms-reads':
    'El rechazo de una petición de un mandato anterior confirma una lectura del mandato actual.',
  'explore.mutant-unknown-session-applied':
    'Una escritura se aplica aunque su sesión es desconocida.',
  'explore.mutant-sessions-never-evicted': 'Las sesiones nunca se desalojan.',
  'explore.mutant-earlier-writes-not-settled':
    'La escritura de un cliente no da por cerradas las anteriores.',
  'explore.mutant-expired-session-write-repeated':
    'Un cliente repite en una sesión nueva la escritura de una sesión caducada.',
  'explore.mutant-client-never-retries': 'Un cliente nunca reintenta una petición.',
  'explore.mutant-client-never-gives-up': 'Un cliente espera una respuesta para siempre.',
  'explore.mutant-proxy-mixes-requests-up':
    'Un proxy acepta cualquier respuesta a un cliente como la de su petición actual.',
  'explore.mutant-proxy-stays-with-silent-server':
    'Un proxy sigue reintentando con un servidor que no responde.',
  'explore.mutant-proxy-ignores-hints': 'Un proxy no sigue la pista de un servidor que rechaza.',
  'explore.mutant-proxy-forgets-leader':
    'Un proxy olvida al líder que respondió y prueba con cualquier servidor.',
  'explore.mutant-proxy-never-gives-up':
    'Un proxy conserva una petición a la que no le quedan intentos.',
  'explore.mutant-read-joins-earlier-round':
    'Una lectura se une a la ronda anterior a la suya, que puede estar ya respondida.',
  'explore.mutant-sessions-left-out-of-snapshot':
    'Las sesiones se quedan fuera de una instantánea.',
  'explore.mutant-prefix-removed-before-snapshot-is-durable':
    'El prefijo del log se elimina del disco antes de que esté en él la instantánea que lo sustituye.',
  'explore.mutant-snapshot-beyond-committed': 'Una instantánea cubre entradas no comprometidas.',
  'explore.mutant-stale-snapshot-installed':
    'Se instala una instantánea más antigua que el estado aplicado.',
  'explore.mutant-conflicting-suffix-kept-behind-snapshot':
    'Se conserva un sufijo en conflicto detrás de una instantánea instalada.',
  'explore.mutant-snapshot-acknowledged-before-durable':
    'Una instantánea se confirma antes de que esté en disco.',
  'explore.mutant-heartbeats-not-sent': 'Un líder no envía latidos.',
  'explore.mutant-leader-not-waited-for':
    'Un mensaje del líder no reinicia el temporizador de elección.',
  'explore.mutant-step-down-not-believed':
    'Un servidor niega su prevoto a su propio líder, aunque este dejó de serlo.',
  'explore.mutant-heartbeat-acknowledges-undurable':
    'La respuesta a un latido confirma entradas que aún no están en disco.',
  'explore.mutant-answered-before-term-is-durable':
    'Se responde a la petición de un líder antes de que el mandato del seguidor esté en disco.',
  'explore.mutant-heartbeat-answer-waits-for-disk':
    'La respuesta a un latido o a una ronda de lectura espera a que todas las entradas estén en disco.',
  'explore.mutant-session-in-use-evicted': 'Una sesión se desaloja aunque está en uso.',
  'explore.mutant-session-in-use-given-to-another':
    'Un cliente al que se le rechaza la sesión recibe una que usa otro cliente.',
  'explore.mutant-closed-session-kept': 'Una sesión que su cliente cerró sigue abierta.',
  'explore.mutant-applied-sequences-forgotten':
    'El almacén no registra qué escrituras de una sesión desalojada se aplicaron.',
  'explore.mutant-vote-forgotten-in-same-term':
    'Un servidor olvida su voto al seguir a un líder del mismo mandato.',
  'explore.mutant-compares-logs-by-term':
    'Los logs se comparan solo por el mandato de la última entrada.',
  'explore.mutant-compares-with-committed-log':
    'Un votante compara el log del candidato con sus entradas comprometidas, no con todo su log.',
  'explore.mutant-candidacy-not-persisted':
    'Un candidato no guarda en disco ni su mandato nuevo ni su propio voto.',
  'explore.mutant-newer-term-not-persisted':
    'Un servidor no guarda en disco un mandato posterior que recibe.',
  'explore.mutant-counts-refusals-as-votes':
    'Un candidato cuenta como voto cualquier respuesta, también una negativa.',
  'explore.mutant-votes-survive-next-election':
    'Un candidato conserva los votos de su elección anterior.',
  'explore.mutant-pre-vote-recorded-as-vote':
    'Un prevoto sustituye al voto del mandato del votante.',
  'explore.mutant-retry-keeps-term':
    'Un candidato empieza su elección siguiente en el mismo mandato.',
  'explore.mutant-candidate-reports-committed-log':
    'Un candidato declara como última entrada su última entrada comprometida.',
  'explore.mutant-refused-pre-candidate-keeps-term':
    'Un precandidato ignora el mandato posterior de una negativa.',
  'explore.mutant-quorum-contact-not-noted': 'Un líder no registra qué seguidores respondieron.',
  'explore.mutant-pending-read-keeps-leader':
    'Un líder con una lectura pendiente sigue siendo líder sin mayoría.',
  'explore.mutant-leader-drops-uncommitted':
    'Un líder nuevo elimina las entradas posteriores a su índice de commit.',
  'explore.mutant-next-index-survives-re-election':
    'next_index se conserva hasta el siguiente liderazgo de un servidor.',
  'explore.mutant-new-leader-pipelines':
    'Un líder nuevo envía entradas sin esperar respuesta antes de que un seguidor haya respondido.',
  'explore.mutant-conflict-moves-below-match':
    'La pista de un conflicto tardío lleva next_index a entradas que el seguidor ya confirmó.',
  'explore.mutant-accepts-stale-appends-that-match':
    'Se acepta un AppendEntries de un mandato anterior si la entrada precedente coincide.',
  'explore.mutant-leader-merges-stale-entries':
    'Un líder incorpora a su log las entradas de un líder anterior.',
  'explore.mutant-gap-accepted': 'Se aceptan entradas aunque falta la entrada precedente.',
  'explore.mutant-redelivered-entries-appended-again':
    'Se añaden otra vez entradas que ya están en el log.',
  'explore.mutant-old-entries-sent-in-new-term':
    'Un líder envía entradas de mandatos anteriores con su propio mandato.',
  'explore.mutant-commit-index-not-bounded':
    'Ni el líder ni el seguidor limitan el índice de commit a la última entrada de la petición.',
  'explore.mutant-follower-commits-on-append': 'Un seguidor compromete las entradas al añadirlas.',
  'explore.mutant-acknowledges-whole-log':
    'Un acuse cubre todo el log del seguidor, no la petición.',
  'explore.mutant-conflict-acknowledged':
    'Un seguidor cuyo log está en conflicto con una petición la confirma.',
  'explore.mutant-ack-credited-to-every-follower': 'El acuse de un seguidor cuenta para todos.',
  'explore.mutant-leader-counts-itself-twice':
    'La regla de commit cuenta dos veces el log del propio líder.',
  'explore.mutant-highest-match-commits':
    'Una entrada se compromete en cuanto la tiene un servidor.',
  'explore.mutant-commits-one-entry-more':
    'Se compromete también la entrada siguiente a la última que tiene una mayoría.',
  'explore.mutant-answered-when-durable-on-leader':
    'Una escritura se responde cuando está en el disco del líder.',
  'explore.mutant-deposed-leader-answers-writes':
    'Un líder que deja de serlo responde a sus escrituras pendientes como si estuvieran comprometidas.',
  'explore.mutant-deposed-leader-answers-reads':
    'Un líder que deja de serlo responde a sus lecturas pendientes.',
  'explore.mutant-follower-answers-reads': 'Un seguidor responde a una lectura linealizable.',
  'explore.mutant-stale-acknowledgement-confirms-reads':
    'Un acuse de un mandato anterior confirma una lectura del mandato actual.',
  'explore.mutant-durable-index-survives-truncation':
    'Las entradas en posiciones truncadas siguen contando como guardadas en disco.',
  'explore.mutant-append-lost-with-truncation':
    'Una escritura que trunca el log no añade las entradas nuevas.',
  'explore.mutant-sync-credits-whole-log':
    'El fin de cualquier escritura en disco da por guardado todo el log.',
  'explore.mutant-any-sync-releases-all':
    'El fin de cualquier escritura en disco libera los mensajes que esperan escrituras posteriores.',
  'explore.mutant-snapshot-term-is-current-term':
    'Una instantánea registra el mandato actual del servidor, no el de su última entrada.',
  'explore.mutant-snapshot-keeps-old-store':
    'Una instantánea instalada sustituye al log, pero no al almacén.',
  'explore.mutant-matching-suffix-discarded':
    'Una instantánea sustituye a todo el log aunque el log contiene su última entrada.',
  'explore.mutant-installed-snapshot-not-persisted':
    'Una instantánea instalada no se guarda en disco.',
  'explore.mutant-snapshot-write-loses-suffix':
    'La escritura en disco de una instantánea omite las entradas posteriores.',
  'explore.mutant-restart-forgets-snapshot':
    'Un servidor que arranca de nuevo no carga su instantánea.',
  'explore.mutant-compacts-beyond-snapshot':
    'La compactación elimina la primera entrada posterior a la instantánea.',
  'explore.mutant-lower-sequence-gets-latest-answer':
    'Una escritura tardía con un número de secuencia menor recibe la última respuesta de su sesión.',
  'explore.mutant-failed-condition-not-remembered':
    'No se guarda la respuesta a una escritura cuya condición no se cumplió.',
  'explore.mutant-answer-discarded-too-early':
    'Se descarta también la respuesta al primer número de secuencia sin confirmar.',
  'explore.mutant-most-recent-session-evicted': 'Se desaloja la sesión usada más recientemente.',
  'explore.mutant-session-use-not-noted': 'Una escritura no marca su sesión como usada.',
  'explore.mutant-renewal-not-noted': 'La renovación de una sesión no la marca como usada.',
  'explore.mutant-evicted-sequence-off-by-one':
    'El registro de una sesión desalojada marca como nunca aplicada su última escritura aplicada.',
  'explore.mutant-later-version-accepted':
    'Compare-and-set acepta cualquier versión posterior de la clave.',
  'explore.mutant-increment-wraps': 'Un incremento que supera los 64 bits se desborda sin error.',
  'explore.mutant-text-counts-as-zero': 'Un incremento trata como 0 un valor que no es un número.',
  'explore.mutant-delete-keeps-key': 'Un borrado se responde, pero la clave se conserva.',
  'explore.mutant-delete-ignores-condition': 'Un borrado ignora su condición.',
  'explore.mutant-versions-count-per-key':
    'La versión de una clave cuenta sus escrituras, así que una clave borrada empieza de nuevo.',
  'explore.mutant-quota-not-enforced': 'Se aplica una escritura que supera la cuota del estado.',
  'explore.mutant-quota-of-own-server':
    'Un servidor aplica una escritura con su propia cuota en lugar de la del líder.',
  'explore.mutant-scan-omits-last-key': 'Un recorrido omite la última clave con su prefijo.',
  'explore.mutant-scan-exceeds-limit': 'Un recorrido devuelve un par más que su límite.',
  'explore.mutant-scan-hides-rest':
    'Un recorrido que acaba en su límite no indica que siguen más claves.',
  'explore.mutant-retry-acknowledges-itself':
    'Un reintento confirma también su propio número de secuencia, así que su cliente nunca recibe la respuesta.',
  'explore.mutant-expired-taken-for-not-done':
    'Un cliente toma una sesión caducada por «no hecho».',
  'explore.mutant-sequence-reused':
    'Un cliente usa otra vez el número de secuencia de su escritura anterior.',
  'explore.mutant-request-id-reused':
    'Un cliente usa otra vez el identificador de su petición anterior.',
  'explore.mutant-session-left-after-unknown':
    'Un cliente abandona su sesión tras una escritura de resultado desconocido, así que nada da por cerrada esa escritura.',
  'explore.mutant-interrupted-write-renumbered':
    'Una escritura que un cambio de líder interrumpe se reintenta con otro número de secuencia.',
  'explore.mutant-proxy-downgrades-reads':
    'Un proxy que no conoce al líder envía una lectura linealizable como lectura posiblemente antigua.',
  'explore.mutant-heartbeats-not-answered': 'Un seguidor no responde a un latido.',
  'explore.mutant-heartbeats-repeat-no-probe':
    'Un latido a un seguidor que no ha respondido empieza en su match_index, no en next_index.',
  'explore.mutant-entries-not-sent-after-probe':
    'La respuesta a un sondeo no provoca el envío de entradas.',
  'explore.mutant-noop-waits-for-heartbeat':
    'Un líder nuevo envía su no-op con el latido siguiente.',
  'explore.mutant-conflict-not-answered':
    'Un seguidor cuyo log está en conflicto con una petición no responde.',
  'explore.mutant-stale-leader-not-answered':
    'Se descarta un AppendEntries de un mandato anterior, así que su remitente nunca conoce el mandato nuevo.',
  'explore.mutant-newer-term-in-ack-ignored':
    'Un líder ignora el mandato posterior de una respuesta a AppendEntries.',
  'explore.mutant-transfers-to-lagging-server':
    'Un líder envía TimeoutNow antes de que el destino tenga el log entero.',
  'explore.mutant-writes-accepted-during-transfer':
    'Un líder acepta escrituras mientras transfiere su liderazgo.',
  'explore.mutant-transfer-target-leads-at-once':
    'El destino de una transferencia pasa a líder de inmediato, sin elección.',
  'explore.mutant-transfer-keeps-term':
    'El destino de una transferencia inicia una elección en el mandato de su líder.',
  'explore.mutant-transfer-counts-leaders-vote':
    'El destino de una transferencia cuenta el voto de su líder sin pedirlo.',
  'explore.mutant-transfer-vote-skips-log':
    'Un servidor vota sin comparar su log con el del destino de una transferencia.',
  'explore.mutant-transfer-vote-given-twice':
    'Un servidor que ya ha votado vota también por el destino de una transferencia.',
  'explore.mutant-client-id-reused':
    'Un cliente que se reinicia usa el identificador de su ejecución anterior y vuelve a contar sus peticiones desde 1.',
  'explore.mutant-session-resumed':
    'Un cliente que se reinicia continúa en la sesión de su ejecución anterior y vuelve a contar sus escrituras desde 1.',
  'explore.mutant-late-response-forwarded':
    'Un proxy toma una respuesta tardía, a una petición que ya no está en curso, por la respuesta a la petición en curso.',
  'explore.predicate-leader': 'Un servidor es líder.',
  'explore.predicate-split-vote':
    'Dos candidatos se reparten los votos de un mandato y ninguno puede ya ganarlo.',
  'explore.predicate-two-leaders':
    'Dos servidores son líderes a la vez, en mandatos distintos: nada lo prohíbe.',
  'explore.predicate-deposed-leader':
    'Un servidor sigue siendo líder de un mandato anterior: no sabe que ya se eligió a otro.',
  'explore.predicate-logs-differ': 'Dos logs tienen entradas distintas en un mismo índice.',
  'explore.predicate-majority-not-committed':
    'Una entrada está en los discos de una mayoría y ningún servidor la ha comprometido.',
  'explore.predicate-older-term-on-majority':
    'Una entrada de un mandato anterior está en los discos de una mayoría bajo un líder de un mandato posterior, sin comprometer (figura 8, estado (c)).',
  'explore.predicate-older-term-committed':
    'Una entrada de un mandato anterior queda comprometida por una entrada propia del líder posterior a ella.',
  'explore.predicate-entry-overwritten': 'Un seguidor elimina entradas que su líder no tiene.',
  'explore.predicate-follower-lacks-committed':
    'Una entrada está comprometida y un servidor en marcha no la tiene.',
  'explore.predicate-all-agree':
    'Todos los servidores están en marcha, tienen el mismo log y su índice de commit es el último, tras al menos una elección.',
  'explore.predicate-write-lost': 'Una caída pierde una escritura que no había llegado al disco.',
  'explore.predicate-leader-crashed': 'El líder se cae.',
  'explore.predicate-commit-without-own-disk':
    'Un líder compromete una entrada que otros tienen en disco y el suyo aún no.',
  'explore.predicate-write-acknowledged':
    'Un cliente recibe la confirmación de que su escritura tuvo efecto.',
  'explore.predicate-read-served': 'Una lectura se responde sin pasar por el log.',
  'explore.predicate-outcome-unknown':
    'Un cliente abandona una escritura y no puede saber si tendrá efecto.',
  'explore.predicate-retry-applied-once':
    'Una escritura está dos veces en el log, y la segunda se responde con la respuesta guardada de la sesión.',
  'explore.method-search':
    'Búsqueda exhaustiva: todas las ejecuciones dentro de los límites, de la más corta a la más larga, hasta que una incumple la propiedad.',
  'explore.method-schedule':
    'Secuencia grabada: el ámbito es demasiado grande para recorrerlo, así que se reproducen unos pasos fijos. De otras ejecuciones no se afirma nada.',
  'explore.method-progress':
    'Comprobación de progreso: se visita cada estado dentro de los límites, y desde cada uno el comprobador busca una ejecución sin fallos que comprometa una entrada nueva. Encuentra un estado desde el que no hay ninguna.',
  'explore.method-timed':
    'Simulación con reloj: los servidores siguen un reloj, con temporizadores aleatorios y varias semillas. De otras ejecuciones no se afirma nada.',
  'explore.scenario-unreachable-leader':
    'Se elige un líder; después no recibe los mensajes de los demás servidores.',
  'explore.scenario-unreachable-leader-with-read':
    'Un líder con una lectura pendiente no recibe los mensajes de los demás servidores.',
  'explore.scenario-outdated':
    'Quedan dos servidores: uno en un mandato posterior, el otro con el log más largo.',
  'explore.scenario-returns':
    'Un seguidor queda aislado 600 pulsos y vuelve; el líder debería seguir siendo líder.',
  'explore.scenario-slow-disks':
    'Los discos de los seguidores se detienen durante 600 pulsos; el líder debería seguir siendo líder.',
  'explore.scenario-steps-down':
    'Un líder deja de serlo y pide prevotos a los servidores que aún lo siguen.',
  'explore.scenario-deaf':
    'Un seguidor no recibe los mensajes del líder, que debería seguir siendo líder.',
  'explore.scenario-behind':
    'Un seguidor al que le faltan 12 entradas se encuentra con un líder nuevo.',
  'explore.scenario-lossy': 'La red pierde la primera copia de cada mensaje.',
  'explore.scenario-silent':
    'El servidor al que un proxy envía sus peticiones está caído para siempre.',
  'explore.scenario-redirected':
    'Un proxy envía una petición a un servidor que no es líder, y luego otra.',
  'explore.scenario-deposed': 'El servidor al que un proxy envió una petición pierde el liderazgo.',
  'explore.scenario-abandoned':
    'Todos los servidores están caídos, y un cliente envía una petición.',
  'explore.about-property-electionsafety':
    'En un mandato se elige como mucho a un líder (figura 3).',
  'explore.about-property-leaderappendonly':
    'Un líder nunca sobrescribe ni elimina entradas de su log (figura 3).',
  'explore.about-property-logmatching':
    'Dos logs con una entrada del mismo índice y mandato coinciden hasta ella (figura 3).',
  'explore.about-property-leadercompleteness':
    'Una entrada comprometida está en el log de todo líder de un mandato posterior (figura 3).',
  'explore.about-property-statemachinesafety':
    'Dos servidores nunca aplican entradas distintas en un mismo índice (figura 3).',
  'explore.about-property-termsandcommitindexesneverfall':
    'Ni el mandato ni el índice de commit de un servidor bajan mientras está en marcha, ni su mandato baja del que tenía en disco.',
  'explore.about-property-onevoteperterm':
    'Un servidor vota a un solo candidato por mandato, aunque se reinicie, y no comunica un voto que su disco no guarda.',
  'explore.about-property-acknowledgedwritesarekept':
    'Una escritura confirmada está comprometida y en disco en una mayoría, y sigue comprometida.',
  'explore.about-property-exactlyonceapplication':
    'Los datos y las respuestas son los que dan las órdenes comprometidas, cada una aplicada una vez.',
  'explore.about-property-linearizability':
    'Las operaciones de los clientes parecen tener efecto una tras otra, entre su llamada y su respuesta.',
  'explore.about-property-termsneverfallwithinalog': 'Los mandatos nunca bajan dentro de un log.',
  'explore.about-property-matchindexisdurable':
    'El match_index de un líder para un servidor nunca supera el log que ese servidor guarda en disco, y un servidor solo confirma entradas que su disco guarda.',
  'explore.about-property-senttermsaredurable':
    'Un servidor solo envía a otros servidores mensajes de un mandato al que su disco ha llegado.',
  'explore.about-property-commitsaredurableonamajority':
    'Un líder solo compromete una entrada si su disco y los seguidores que la confirmaron son una mayoría.',
  'explore.about-property-leaderscommitintheirownterm':
    'Un líder solo mueve su índice de commit a una entrada de su propio mandato (figura 8).',
  'explore.about-property-transfertargetshavethewholelog':
    'Un servidor al que un líder pide que inicie una elección tiene en su disco el log entero del líder.',
  'explore.about-property-alwaysoninvariants':
    'Las comprobaciones de cada servidor después de cada paso, también en producción.',
  'explore.about-property-stepsrefinetheabstractraft':
    'Cada paso de un servidor es una serie de acciones del Raft abstracto, cuya seguridad está demostrada, o no cambia ninguno de sus hechos.',
  'explore.about-property-progress':
    'Sin más fallos, el clúster siempre puede elegir un líder, comprometer una entrada nueva y responder a sus clientes.',
  'explore.about-property-stability': 'Un líder en contacto con una mayoría sigue siendo líder.',
  'explore.about-property-latency':
    'Una operación que necesita pocas idas y vueltas no tarda muchas más.',
  'explore.scope-elections': 'solo votos y mandatos: se eligen líderes que no envían nada',
  'explore.scope-elections-4': 'un número par de servidores: mayorías de tres',
  'explore.scope-elections-5': 'cinco servidores: mayorías que comparten uno solo',
  'explore.scope-elections-5-terms': 'cinco servidores y un mandato más',
  'explore.scope-replication': 'los logs divergen y convergen; ningún servidor se cae',
  'explore.scope-replication-4':
    'un número par de servidores compromete entradas: la mitad no es mayoría',
  'explore.scope-crashes':
    'replicación con cualquier número de caídas, que pierden los datos que no estaban en disco',
  'explore.scope-split-writes':
    'cada escritura a disco y cada arranque es un paso aparte, a través de mandatos',
  'explore.scope-split-entries':
    'cada escritura a disco y cada arranque es un paso aparte, con una entrada de un cliente',
  'explore.scope-quorum':
    'PreVote, CheckQuorum y seguidores que niegan su voto mientras su líder está activo',
  'explore.scope-pipelining':
    'las entradas se envían sin esperar respuesta y llegan en cualquier orden',
  'explore.scope-pipelining-terms':
    'entradas enviadas sin esperar respuesta, con un cambio de líder',
  'explore.scope-everything':
    'PreVote, CheckQuorum, envío continuo, instantáneas y lecturas a la vez.',
  'explore.scope-everything-3': 'las funciones de «everything» con tres servidores, sin clientes',
  'explore.scope-mixed-settings':
    'un servidor tiene otra cuota: decide la entrada, no el servidor que la aplica',
  'explore.scope-older-term':
    'compromiso de entradas de mandatos anteriores (figura 8), una entrada por mensaje',
  'explore.scope-reads': 'lecturas linealizables sin pasar por el log (ReadIndex)',
  'explore.scope-end-to-end':
    'un cliente que reintenta, un proxy y tres servidores: exactamente una vez',
  'explore.scope-end-to-end-reads':
    'un cliente escribe y otro lee, a través de un proxy: linealizable',
  'explore.scope-fail-over': 'la escritura de un cliente coincide con un cambio de líder',
  'explore.scope-sessions':
    'los clientes abren y cierran sesiones; una nueva desaloja a otra que no está en uso',
  'explore.scope-restarts':
    'un cliente y un proxy se reinician cualquier número de veces y reintentan: exactamente una vez',
  'explore.scope-restarts-reads':
    'un cliente y un proxy se reinician cualquier número de veces; una lectura muestra cada escritura que tuvo efecto',
  'explore.scope-restarts-fail-over':
    'un cliente y un proxy se reinician cualquier número de veces mientras cambia el líder',
  'explore.scope-fail-over-retries':
    'el líder cambia, el proxy se reinicia y un reintento se convierte en otra entrada: exactamente una vez',
  'explore.scope-fail-over-crashes':
    'los servidores y el proxy se caen cualquier número de veces durante una escritura de un cliente: exactamente una vez',
  'explore.scope-client-reads':
    'un cliente lee a través de un proxy después de escribir, y el líder cambia: linealizable',
  'explore.scope-store':
    'dos claves: condiciones, borrados, incrementos, un recorrido limitado y la cuota del estado',
  'explore.scope-conditions':
    'un compare-and-set junto a la escritura de otro cliente: un reintento recibe la primera respuesta',
  'explore.scope-batches':
    'una escritura con condición, un incremento y una lectura llegan a la vez',
  'explore.scope-sessions-2':
    'sitio para dos sesiones: una tercera desaloja a la usada hace más tiempo',
  'explore.scope-snapshots': 'una instantánea sustituye el comienzo de un log y se envía a otros',
  'explore.scope-snapshots-entries':
    'cualquier número de instantáneas y caídas, con una entrada de un cliente',
  'explore.scope-transfers': 'un líder transfiere su liderazgo a otro servidor',
  'explore.scope-transfers-quorum':
    'transferencias de liderazgo con PreVote y con seguidores que tienen un líder activo',
  'explore.scope-timed': 'servidores movidos por un reloj',
  'explore.resize-actions': 'Ancho de las acciones',
  'explore.resize-side': 'Ancho de propiedades, detalles y árbol',
  'explore.resize-bench': 'Alto del escenario',
};
