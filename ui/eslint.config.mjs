// The rules of the scripts that neither Prettier nor tsc checks.
export default [
  {
    files: ['**/*.js'],
    linterOptions: { noInlineConfig: true },
    rules: {
      eqeqeq: 'error',
      'max-lines-per-function': ['error', { max: 120 }],
      'no-unused-vars': 'error',
      'prefer-const': 'error',
    },
  },
];
