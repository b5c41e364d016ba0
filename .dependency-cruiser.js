import { join } from 'node:path';

/**
 * Who may import whom, checked by `npm run check:rooms`: a row a room of src, with the other rooms and the packages that it
 * stands on. Everything else is refused, and so is every circle of files, whether of values or of types.
 * `core` is what modules of Node it may use: all, or those named.
 */
const ROOMS = {
  system: { rooms: [], packages: ['undici'] },
  log: { rooms: [], core: ['crypto'] },
  escrow: { rooms: ['log'], core: ['crypto'] },
  policy: { rooms: ['escrow', 'log'], packages: ['zod'], core: ['crypto'] },
  api: { rooms: ['policy', 'escrow', 'log'], packages: ['zod'], core: [] },
  jose: { rooms: ['escrow', 'log'], core: ['crypto'] },
  token: {
    rooms: ['escrow', 'log', 'system'],
    packages: ['pkcs11js', 'graphene-pk11', 'koffi', 'commander', 'yaml', 'zod'],
  },
  postgres: {
    rooms: ['privatePostgres', 'escrow', 'log', 'system'],
    packages: ['knex', 'pg', 'pg-copy-streams'],
  },
  privatePostgres: { rooms: ['system'], packages: ['pg', 'zod'] },
  http: {
    rooms: ['api', 'policy', 'escrow', 'log'],
    packages: ['express', 'ipaddr\\.js', 'jose', 'zod'],
  },
  notify: { rooms: ['escrow', 'system'], packages: ['nodemailer'] },
  cosigning: { rooms: ['escrow', 'log', 'system'] },
  metrics: { rooms: ['escrow', 'log'], packages: ['prom-client'] },
  daemon: {
    rooms: [
      ...['http', 'notify', 'postgres', 'privatePostgres', 'token', 'cosigning', 'metrics'],
      ...['escrow', 'log', 'system'],
    ],
    packages: ['koffi', 'winston', 'yaml', 'zod'],
  },
  backup: {
    rooms: ['daemon', 'postgres', 'privatePostgres', 'token', 'system'],
    packages: ['age-encryption', 'commander', 'tar-stream', 'winston', 'yaml', 'zod'],
    files: ['pairProgram'],
  },
  installation: {
    rooms: ['daemon', 'client', 'privatePostgres', 'escrow', 'log', 'system'],
    packages: ['commander', 'yaml'],
  },
  client: {
    rooms: ['api', 'jose', 'policy', 'escrow', 'log', 'system'],
    packages: ['jose', 'koffi', 'yaml', 'zod'],
  },
  audit: {
    rooms: ['client', 'api', 'jose', 'policy', 'escrow', 'log'],
    packages: ['zod'],
    core: ['crypto', 'fs'],
  },
  agent: {
    rooms: ['client', 'api', 'policy', 'escrow', 'log', 'system'],
    packages: ['koffi', 'yaml', 'zod'],
  },
  witness: { rooms: ['client', 'log', 'system'], packages: ['zod'] },
  cli: {
    rooms: ['agent', 'audit', 'client', 'witness', 'api', 'jose', 'policy', 'escrow', 'log', 'system'],
    packages: ['commander', 'yaml', 'zod'],
  },
};

/** The floors of the core, lowest first: a file imports from its own floor and those below. */
const FLOORS = [
  'records/',
  'ports/',
  'logged/',
  'rules/',
  'directory\\.ts',
  'ledger/',
  'escrow\\.ts',
  '(checks/|lookUp\\.ts)',
  '(reads|notices)/',
  'acts/',
];

const roomRules = Object.entries(ROOMS).map(([room, { rooms, packages = [], files = [], core }]) => ({
  name: `room-${room}`,
  comment: `src/${room} imports itself${rooms.map((name) => `, src/${name}`).join('')} only, and the packages of its row.`,
  severity: 'error',
  from: { path: `^src/${room}/` },
  to: {
    pathNot: [
      `^src/(${[room, ...rooms].join('|')})/`,
      '^src/version\\.ts$',
      ...files.map((name) => `^src/${name}\\.ts$`),
      ...(packages.length > 0 ? [`node_modules/(@types/)?(${packages.join('|')})/`] : []),
      ...(core ?? []).map((name) => `^(node:)?${name}$`),
    ],
    ...(core === undefined ? { dependencyTypesNot: ['core'] } : {}),
  },
}));

const floorRules = FLOORS.slice(0, -1).map((floor, at) => ({
  name: `floor-${floor.replace(/\W+/g, '-').replace(/^-|-$/g, '')}`,
  comment: `src/escrow/${floor} imports nothing of the floors above it.`,
  severity: 'error',
  from: { path: `^src/escrow/${floor}` },
  to: { path: `^src/escrow/(${FLOORS.slice(at + 1).join('|')})` },
}));

/** @type {import('dependency-cruiser').IConfiguration} */
const config = {
  forbidden: [
    { name: 'no-circle', severity: 'error', from: {}, to: { circular: true } },
    { name: 'no-unresolved', severity: 'error', from: {}, to: { couldNotResolve: true } },
    ...roomRules,
    ...floorRules,
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: join(import.meta.dirname, 'tsconfig.json') },
    doNotFollow: { path: 'node_modules' },
  },
};

export { config as default };
