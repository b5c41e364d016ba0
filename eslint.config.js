import eslint from '@eslint/js';
import { defineConfig, globalIgnores } from 'eslint/config';
import tseslint from 'typescript-eslint';

/**
 * Who may import whom (main -> daemon -> { http, notify, postgres, token, witness } -> escrow -> log;
 * cli -> { client, cosigner } -> log; http and client -> policy -> escrow).
 * Each row: a folder of src, and what its files must not import.
 */
const adapters = ['token', 'postgres', 'http', 'notify', 'witness', 'client', 'cosigner', 'cli', 'policy'];
const drivers = [
  'pkcs11js',
  'graphene-pk11',
  'koffi',
  'knex',
  'pg',
  'express',
  'nodemailer',
  'winston',
  'commander',
];
const outerFiles = ['daemon', 'main', 'config', 'notificationConfig', 'notificationStart', 'operatorLog'];

/** An import pattern for any path that leads into one of `folders` of src. */
const folders = (names) => names.map((name) => `**/${name}/**`);
const forbid = (files, paths, packages, message) => ({
  files,
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: [
          { group: [...folders(paths), ...outerFiles.map((name) => `**/${name}.js`)], message },
          ...(packages.length > 0 ? [{ regex: `^(${packages.join('|')})(/.*)?$`, message }] : []),
        ],
      },
    ],
  },
});
const except = (list, ...kept) => list.filter((name) => !kept.includes(name));

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
  forbid(
    ['src/log/**/*.ts'],
    [...adapters, 'escrow'],
    [...drivers, 'zod', 'jose', 'yaml', 'node:fs', 'node:process', 'node:net', 'node:http', 'node:https'],
    'src/log is pure: it imports only itself and node:crypto.',
  ),
  forbid(
    ['src/escrow/**/*.ts'],
    adapters,
    [...drivers, 'zod', 'jose', 'yaml', 'node:(?!crypto$).*', 'fs', 'process'],
    'The core imports only itself, src/log and node:crypto.',
  ),
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
  forbid(
    ['src/policy/**/*.ts'],
    except(adapters, 'policy'),
    [...drivers, 'jose', 'yaml', 'node:(?!crypto$).*', 'fs', 'process'],
    'src/policy reads documents: it imports only itself, src/escrow, src/log, zod and node:crypto.',
  ),
  forbid(
    ['src/token/**/*.ts'],
    except(adapters, 'token'),
    except(drivers, 'pkcs11js', 'graphene-pk11', 'koffi', 'commander'),
    'src/token talks to the token only.',
  ),
  forbid(
    ['src/postgres/**/*.ts'],
    except(adapters, 'postgres'),
    except(drivers, 'knex', 'pg'),
    'src/postgres talks to PostgreSQL only.',
  ),
  forbid(
    ['src/http/**/*.ts'],
    except(adapters, 'http', 'policy'),
    except(drivers, 'express'),
    'src/http talks HTTP only.',
  ),
  forbid(
    ['src/witness/**/*.ts'],
    except(adapters, 'witness'),
    drivers,
    'src/witness talks to the witnesses of the log only.',
  ),
  forbid(
    ['src/cosigner/**/*.ts'],
    [...except(adapters, 'cosigner', 'client'), 'escrow'],
    except(drivers, 'koffi'),
    'src/cosigner is a witness, a program of its own: it stands on src/log, and the files of src/client.',
  ),
  forbid(
    ['src/notify/**/*.ts'],
    except(adapters, 'notify'),
    [...except(drivers, 'nodemailer'), 'zod', 'jose', 'yaml'],
    'src/notify tells people: it talks to webhooks, SMTP servers and files only.',
  ),
  forbid(
    ['src/client/**/*.ts'],
    except(adapters, 'client', 'policy'),
    except(drivers, 'koffi'),
    'src/client stands on src/log and the shared formats of src/escrow.',
  ),
  forbid(
    ['src/cli/**/*.ts'],
    except(adapters, 'cli', 'client', 'policy', 'cosigner'),
    except(drivers, 'commander'),
    'src/cli stands on src/client, and starts src/cosigner.',
  ),
  {
    files: ['test/**/*.ts'],
    rules: {
      'no-restricted-properties': [
        'error',
        { object: 'Math', property: 'random', message: 'Tests draw by test/support/chance.ts.' },
        { object: 'fc', property: 'configureGlobal', message: 'test/support/seeded.ts seeds fast-check.' },
      ],
      'no-restricted-imports': [
        'error',
        {
          paths: [
            {
              name: 'node:crypto',
              importNames: ['randomInt'],
              message: 'Tests draw by test/support/chance.ts.',
            },
            { name: 'node:timers/promises', importNames: ['setTimeout', 'setInterval'], message: waiting },
          ],
        },
      ],
      'no-restricted-globals': ['error', { name: 'setTimeout', message: waiting }],
    },
  },
  { files: ['test/support/seeded.ts'], rules: { 'no-restricted-properties': 'off' } },
  {
    files: ['test/support/waiting.ts', 'test/crash/hastyJournal.ts', 'test/{bench,soak}/**/*.ts'],
    rules: { 'no-restricted-imports': 'off', 'no-restricted-globals': 'off' },
  },
  {
    files: ['**/*.js', '**/*.mjs'],
    languageOptions: {
      globals: { process: 'readonly', Buffer: 'readonly', URL: 'readonly', console: 'readonly' },
    },
  },
);
