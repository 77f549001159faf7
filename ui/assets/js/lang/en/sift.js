export default {
  'sift.left': {
    one: 'One message in flight is not drawn: this run never delivers it.',
    other: '{n} messages in flight are not drawn: this run never delivers them.',
  },
  'sift.all': 'Draw all',
  'sift.some': 'Draw only relevant ones',
};
