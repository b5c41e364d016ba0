import eslint from '@eslint/js';
import { defineConfig, globalIgnores } from 'eslint/config';
import tseslint from 'typescript-eslint';

const chance =
  "Tests draw by test/support/chance.ts; keys, nonces and names that are nobody else's are of test/support/fresh.ts.";
const DRAWS = ['randomBytes', 'randomFill', 'randomFillSync', 'randomInt', 'randomUUID', 'getRandomValues'];
const waiting = 'Tests wait by test/support/waiting.ts: for what is so, and never for how long it takes.';

export default defineConfig(
  globalIgnores(['dist', 'data', 'coverage', 'node_modules']),
  eslint.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      '@typescript-eslint/consistent-type-definitions': ['error', 'interface'],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/explicit-module-boundary-types': 'error',
      'no-restricted-syntax': [
        'error',
        { selector: 'TSEnumDeclaration', message: 'A closed set is a union or an `as const` table.' },
        { selector: 'ExportDefaultDeclaration', message: 'Exports have names.' },
        { selector: 'ExportAllDeclaration', message: 'No barrel files.' },
      ],
    },
  },
  {
    files: ['src/escrow/**/*.ts', 'src/log/**/*.ts'],
    rules: {
      'no-restricted-globals': ['error', 'process', 'setTimeout', 'setInterval', 'fetch'],
      'no-restricted-properties': [
        'error',
        { object: 'Date', property: 'now', message: 'The clock is an argument.' },
        { object: 'Math', property: 'random', message: 'Randomness is an argument.' },
      ],
    },
  },
  {
    files: ['test/**/*.ts'],
    rules: {
      'no-restricted-properties': [
        'error',
        { object: 'Math', property: 'random', message: chance },
        { object: 'crypto', property: 'getRandomValues', message: chance },
        { object: 'crypto', property: 'randomUUID', message: chance },
        { object: 'globalThis', property: 'setTimeout', message: waiting },
        { object: 'Atomics', property: 'wait', message: waiting },
        { object: 'fc', property: 'configureGlobal', message: 'test/support/seeded.ts seeds fast-check.' },
      ],
      'no-restricted-imports': [
        'error',
        {
          paths: [
            { name: 'node:crypto', importNames: [...DRAWS, 'webcrypto'], message: chance },
            { name: 'crypto', message: chance },
            { name: 'node:timers', message: waiting },
            { name: 'node:timers/promises', importNames: ['setTimeout', 'setInterval'], message: waiting },
          ],
        },
      ],
      'no-restricted-globals': ['error', { name: 'setTimeout', message: waiting }],
    },
  },
  { files: ['test/support/seeded.ts'], rules: { 'no-restricted-properties': 'off' } },
  {
    files: [
      'test/support/{waiting,chance,fresh}.ts',
      'test/crash/hastyJournal.ts',
      'test/{bench,soak}/**/*.ts',
    ],
    rules: { 'no-restricted-imports': 'off', 'no-restricted-globals': 'off' },
  },
  {
    files: ['**/*.js', '**/*.mjs'],
    languageOptions: {
      globals: { process: 'readonly', Buffer: 'readonly', URL: 'readonly', console: 'readonly' },
    },
  },
);
