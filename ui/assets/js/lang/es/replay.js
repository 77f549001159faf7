export default {
  'replay.title': 'Reproducir',
  'replay.lead':
    'Abre una ejecución grabada: el núcleo vuelve a ejecutar cada paso, y se comprueban todas las propiedades.',
  'replay.loading': 'Buscando una traza indicada al arrancar…',
  'replay.executing': 'Ejecutando otra vez los pasos…',
  'replay.choose': 'Elegir archivos…',
  'replay.drop': 'Suelta aquí los archivos, o en cualquier lugar de la página.',
  'replay.what-scope': 'La traza de un ámbito, escrita por {command}: un archivo.',
  'replay.what-nodes':
    'Las trazas de servidores en marcha, escritas por {command}: un archivo por servidor, todos juntos.',
  'replay.paste': 'Pegar una traza',
  'replay.paste-about': 'Las líneas de una traza',
  'replay.open': 'Abrir',
  'replay.example': '¿No tienes ninguna? Abre un ejemplo: la figura 8, con el error',
  'replay.another': 'Abrir otra',
  'replay.explore': 'Abrir en Explorar',
  'replay.explore-about': 'Abre el explorador en el paso actual de esta ejecución',
  'replay.pasted': 'pegada.jsonl',

  'replay.scope': 'Una ejecución de «{scope}»',
  'replay.scope-mutant': 'Una ejecución de «{scope}», con el error «{mutant}» plantado',
  'replay.nodes': {
    one: 'La traza de un servidor',
    other: 'Las trazas de {n} servidores, unidas en orden causal',
  },
  'replay.steps': { one: '{n} paso', other: '{n} pasos' },

  'replay.accepted': 'Aceptada',
  'replay.accepted-about': {
    one: 'El paso grabado se ha vuelto a ejecutar y coincide, y no se incumple ninguna propiedad.',
    other:
      'Los {n} pasos grabados, incluidas caídas y arranques, se han vuelto a ejecutar y coinciden, y no se incumple ninguna propiedad.',
  },
  'replay.accepted-violated': {
    one: 'El paso grabado se ha vuelto a ejecutar y coincide. La ejecución es auténtica, e incumple una propiedad.',
    other:
      'Los {n} pasos grabados, incluidas caídas y arranques, se han vuelto a ejecutar y coinciden. La ejecución es auténtica, e incumple una propiedad.',
  },
  'replay.rejected': 'Rechazada',
  'replay.rejected-at': 'Línea {line} de {file}: {why}',
  'replay.rejected-line': 'Línea {line}: {why}',
  'replay.rejected-why': '{why}',
  'replay.rejected-shown': 'Se muestran los pasos válidos anteriores.',
  'replay.violated': '«{property}» se incumple en el paso {n}',
  'replay.violated-at': '«{property}» se incumple en el paso {n}, línea {line} de {file}',
  'replay.violated-nodes':
    'Hasta ahí, cada paso que grabaron los servidores se ha vuelto a ejecutar y coincide.',
  'replay.shown': 'Se muestran los pasos {from} a {to} de {of}. Se comprobaron todos.',
  'replay.earlier': 'Pasos anteriores',
  'replay.later': 'Pasos siguientes',
  'replay.used-disks':
    'Los servidores ya se habían ejecutado: su primera ejecución parte de discos en uso',
  'replay.go-violated': 'Ir allí',
  'replay.go-end': 'Ir al último paso válido',

  'replay.too-large':
    '{size} es demasiado: esta página abre como mucho {most}. Dale los archivos al programa: {command}',
  'replay.empty': '{file} está vacío. Elige una traza que tenga al menos una cabecera.',
  'replay.not-trace':
    '{file} no es una traza: su primera línea no es la cabecera de «stateraft-trace» ni la de «stateraft-node». Elige un archivo escrito por raft-checker o raft-node.',
  'replay.version':
    '{file} tiene el formato {found}, pero este programa lee {known}. Vuelve a grabar la traza con esta versión, o ábrela con la versión que la escribió.',
  'replay.mixed':
    'Abre sola la traza de un ámbito; solo las trazas de servidores se pueden abrir juntas.',
  'replay.refused': 'No se pudo abrir la traza: {why}',
  'replay.unread': 'El navegador no pudo leer {file}: {why}',
  'replay.failed-served': 'No se pudo mostrar la traza con la que se arrancó el servidor: {why}',

  'replay.now': 'Este paso',
  'replay.logs': 'Logs',
  'replay.spacetime': 'Diagrama espacio-tiempo',
  'replay.inspector': 'Detalles',
  'replay.key-violated': 'siguiente incumplimiento',
  'replay.key-open': 'abrir otra traza',
  'replay.resize-told': 'Ancho de la descripción',
  'replay.not-here':
    'Esta dirección es de una ejecución abierta desde un archivo, y al recargar se descarta: abre el archivo otra vez.',
};
