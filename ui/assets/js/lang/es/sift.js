export default {
  'sift.left': { one: 'No se dibuja un mensaje en vuelo que esta ejecución nunca entrega.', other: 'No se dibujan {n} mensajes en vuelo que esta ejecución nunca entrega.' },
  'sift.all': 'Dibujar todos',
  'sift.some': 'Dibujar solo los que importan',
};
