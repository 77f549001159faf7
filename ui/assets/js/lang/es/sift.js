export default {
  'sift.left': {
    one: 'No se dibuja un mensaje en vuelo: esta ejecución nunca lo entrega.',
    other: 'No se dibujan {n} mensajes en vuelo: esta ejecución nunca los entrega.',
  },
  'sift.all': 'Dibujar todos',
  'sift.some': 'Dibujar solo los relevantes',
};
