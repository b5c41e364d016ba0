import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { EXIT_CODES } from '../../src/daemon/exitCodes.js';
import type { InstallationOrder } from '../../src/installation/order.js';
import { exitCodesForAPerson, unitText } from '../../src/installation/unit.js';

const order: InstallationOrder = {
  directory: '/var/lib/escrowd',
  origin: 'escrow.test/log',
  listen: { host: '0.0.0.0', port: 8443 },
  management: 'off',
  names: ['escrow.test'],
  tls: { kind: 'private-ca' },
  token: { profile: 'softhsm-2.6', label: 'escrowd', module: undefined, isSoftHsm: true },
  participants: [],
  database: undefined,
  user: 'root',
  isForSystemd: true,
  hasPolicy: false,
};
const program = { node: process.execPath, packageDirectory: process.cwd() };
const server = { authority: 'db.test', name: 'escrow', parameters: '' };
const hsm = { ...order.token, isSoftHsm: false };

/** What a directive is set to, in order. */
function directives(text: string, name: string): readonly string[] {
  return text
    .split('\n')
    .flatMap((line) => (line.startsWith(`${name}=`) ? [line.slice(name.length + 1)] : []));
}

test.each<[string, Partial<InstallationOrder>, readonly string[]]>([
  ['the token and the private cluster', {}, ['/var/lib/escrowd/token/tokens /var/lib/escrowd/postgres']],
  [
    'the token alone, where the database is elsewhere',
    { database: server },
    ['/var/lib/escrowd/token/tokens'],
  ],
  ['the cluster alone, where the token is an HSM', { token: hsm }, ['/var/lib/escrowd/postgres']],
  ['nothing, where both are elsewhere', { database: server, token: hsm }, []],
])('of the whole system it may write %s', (_name, change, paths) => {
  const text = unitText({ ...order, ...change }, program);
  expect(directives(text, 'ProtectSystem')).toEqual(['strict']);
  expect(directives(text, 'ReadWritePaths')).toEqual(paths);
});

test('the PIN comes as a credential, and the daemon sees neither its file nor the key of the CA', () => {
  const text = unitText(order, program);
  expect(directives(text, 'LoadCredential')).toEqual(['user-pin:/var/lib/escrowd/pins/user.pin']);
  expect(directives(text, 'InaccessiblePaths')).toEqual([
    '-/var/lib/escrowd/pins -/var/lib/escrowd/tls/ca.key',
  ]);
});

test('the environment of a database elsewhere is read, that of its owner where it is there', () => {
  expect(directives(unitText({ ...order, database: server }, program), 'EnvironmentFile')).toEqual([
    '/var/lib/escrowd/database/daemon.env',
    '-/var/lib/escrowd/database/owner.env',
  ]);
});

test('it is started again but where a person has to come first; docs/operations.md says the same', () => {
  const text = unitText(order, program);
  expect(directives(text, 'Restart')).toEqual(['on-failure']);
  expect(directives(text, 'RestartForceExitStatus')).toEqual(['SIGHUP']);
  expect(directives(text, 'KillMode')).toEqual(['mixed']);
  const codes = exitCodesForAPerson().join(' ');
  expect(directives(text, 'RestartPreventExitStatus')).toEqual([codes]);
  expect(exitCodesForAPerson()).toContain(EXIT_CODES.pin.code);
  const told = [
    ...readFileSync('docs/operations.md', 'utf8').matchAll(/RestartPreventExitStatus=(\d[\d ]+\d)/g),
  ];
  expect(new Set(told.map(([, said]) => said))).toEqual(new Set([codes]));
});

test('a port below 1024 brings the one capability that it needs', () => {
  const low = unitText({ ...order, listen: { host: '0.0.0.0', port: 443 } }, program);
  expect(directives(low, 'AmbientCapabilities')).toEqual(['CAP_NET_BIND_SERVICE']);
  expect(directives(low, 'PrivateUsers')).toEqual([]);
  expect(directives(unitText(order, program), 'CapabilityBoundingSet')).toEqual(['']);
});

test('what lies in a home is not hidden from it', () => {
  expect(
    directives(
      unitText(order, { ...program, node: '/usr/bin/node', packageDirectory: '/opt/escrowd' }),
      'ProtectHome',
    ),
  ).toEqual(['yes']);
  const home = unitText({ ...order, directory: '/home/dana/escrowd' }, program);
  expect(directives(home, 'ProtectHome')).toEqual(['read-only']);
});

/** Those that systemd-analyze was last seen to count, for where it is not installed. */
const HARDENING = {
  NoNewPrivileges: 'yes',
  PrivateTmp: 'yes',
  PrivateDevices: 'yes',
  ProtectClock: 'yes',
  ProtectControlGroups: 'yes',
  ProtectHostname: 'yes',
  ProtectKernelLogs: 'yes',
  ProtectKernelModules: 'yes',
  ProtectKernelTunables: 'yes',
  ProtectProc: 'invisible',
  ProcSubset: 'pid',
  RestrictAddressFamilies: 'AF_UNIX AF_INET AF_INET6',
  RestrictNamespaces: 'yes',
  RestrictRealtime: 'yes',
  RestrictSUIDSGID: 'yes',
  LockPersonality: 'yes',
  KeyringMode: 'private',
  SystemCallArchitectures: 'native',
  UMask: '0077',
} as const;

test('it has each directive that hardens it', () => {
  const text = unitText(order, program);
  expect(Object.fromEntries(Object.keys(HARDENING).map((name) => [name, directives(text, name)[0]]))).toEqual(
    HARDENING,
  );
  expect(directives(text, 'SystemCallFilter')).toEqual(['@system-service @pkey', '~@privileged']);
});

/** What systemd-analyze prints; undefined where there is none. */
function analyze(...args: readonly string[]): string | undefined {
  try {
    return execFileSync('systemd-analyze', args, { encoding: 'utf8', stdio: 'pipe' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    const { stdout, stderr } = error as { readonly stdout: string; readonly stderr: string };
    throw new Error(`systemd-analyze ${args.join(' ')}: ${stdout}${stderr}`, { cause: error });
  }
}

test('systemd takes it, and finds it at most 2.0 exposed', () => {
  const directory = mkdtempSync(join(tmpdir(), 'escrowd-unit-'));
  try {
    const unit = join(directory, 'escrowd.service');
    writeFileSync(unit, unitText({ ...order, directory, database: server }, program));
    // 20 tenths: it exits with 1 above them
    const found = analyze('security', '--offline=true', '--threshold=20', '--no-pager', unit);
    if (found === undefined) {
      process.stderr.write(
        '\nNOT RUN: there is no systemd-analyze here (Debian: systemd). The directives were compared by name alone.\n',
      );
      return;
    }
    expect(found).toMatch(/Overall exposure level for escrowd\.service: [01]\.\d|: 2\.0/);
    analyze('verify', '--man=no', unit);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
