export default {
  'filter.left': {
    one: 'No se dibuja un mensaje en vuelo: esta ejecución nunca lo entrega.',
    other: 'No se dibujan {n} mensajes en vuelo: esta ejecución nunca los entrega.',
  },
  'filter.all': 'Dibujar todos',
  'filter.some': 'Dibujar solo los relevantes',
};
