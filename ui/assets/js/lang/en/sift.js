export default {
  'sift.left': { one: 'One message in flight that this run never delivers is not drawn.', other: '{n} messages in flight that this run never delivers are not drawn.' },
  'sift.all': 'Draw all',
  'sift.some': 'Draw only those that matter',
};
