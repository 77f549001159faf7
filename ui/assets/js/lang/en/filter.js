export default {
  'filter.left': {
    one: 'One message in flight is not drawn: this run never delivers it.',
    other: '{n} messages in flight are not drawn: this run never delivers them.',
  },
  'filter.all': 'Draw all',
  'filter.some': 'Draw only relevant ones',
};
