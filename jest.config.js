/** Tests run as CommonJS (jest's stable mode); the build is ESM. swc only strips and converts: types are checked by `npm run check`. */
const config = {
  testEnvironment: '<rootDir>/test/support/cleanEnvironment.ts',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  globalSetup: '<rootDir>/test/support/globalSetup.ts',
  testSequencer: '<rootDir>/test/support/longestFirst.js',
  reporters: [
    'default',
    '<rootDir>/test/support/slowestSuites.js',
    '<rootDir>/test/support/hangingSuites.js',
  ],
  setupFiles: ['<rootDir>/test/support/seeded.ts'],
  extensionsToTreatAsEsm: [],
  transform: {
    '^.+\\.(t|j)s$': [
      '@swc/jest',
      { jsc: { target: 'es2022', parser: { syntax: 'typescript' } }, module: { type: 'commonjs' } },
    ],
  },
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  transformIgnorePatterns: ['/node_modules/(?!(jose|age-encryption|@noble|@scure)/)'],
  // What needs longer says so, and why: test/support/limits.ts.
  testTimeout: 30_000,
  maxWorkers: 2,
  // No file leaves anything open (cleanEnvironment.ts); but a worker takes longer than half a second to take down its heap.
  workerGracefulExitTimeout: 30_000,
};

export { config as default };
