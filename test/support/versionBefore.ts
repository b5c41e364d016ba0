import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';

import { stringify } from 'yaml';

import type { EscrowClient } from '../../src/client/escrowClient.js';
import type { Identity } from '../../src/client/identity/identity.js';
import type { Daemon } from '../../src/daemon/daemon.js';
import type { RecoveryReply } from '../../src/api/replies.js';
import { startCluster } from '../../src/privatePostgres/cluster.js';
import type { CeremonyRecord } from '../../src/token/ceremony/record.js';
import { readProfile } from '../../src/token/profile/profile.js';
import { query } from './postgres.js';
import type { SoftHsm } from './softhsm.js';
import { SOFTHSM_PROFILE_FILE } from './softhsm.js';
import { approvalBy, makeCertificate, startDaemonAt } from './system.js';
import { testTokenAt } from './testToken.js';
import { CLUSTER, freshCluster } from './freshCluster.js';
import { ConnectedPeople } from './connectedPeople.js';

const FIXTURE = join(process.cwd(), 'test', 'fixtures', 'before');
const PEOPLE = [
  'admin-1',
  'admin-2',
  'manager',
  'officer-1',
  'officer-2',
  'owner',
  'mailer',
  'auditor',
] as const;
export type PersonBefore = (typeof PEOPLE)[number];

/** What the fixture's README says of it, for programs. */
interface Facts {
  readonly madeAt: string;
  readonly origin: string;
  readonly tokenLabel: string;
  readonly keys: Readonly<Record<'letters' | 'archive' | 'memos' | 'vault' | 'disk', string>>;
  readonly grants: Readonly<Record<'letters' | 'archive' | 'memos', string>>;
  readonly requests: Readonly<
    Record<
      | 'halfApproved'
      | 'undecided'
      | 'approvedRelease'
      | 'halfApprovedRelease'
      | 'waitingRelease'
      | 'denied'
      | 'released',
      string
    >
  >;
}

/** What the version before left, under today's daemon. */
export interface Before {
  readonly directory: string;
  readonly facts: Facts;
  readonly hsm: SoftHsm;
  /** The time of the daemon and of everybody: that of the fixture, which goes on. */
  readonly now: () => Date;
  readonly identity: (name: PersonBefore) => Identity;
  readonly client: (name: PersonBefore) => EscrowClient;
  approve(name: PersonBefore, recovery: string): Promise<RecoveryReply>;
  /** Moves the time on. */
  pass(ms: number): void;
  startDaemon(): Promise<void>;
  stopDaemon(): Promise<void>;
  /** Stops and deletes everything. */
  remove(): Promise<void>;
}

/** Unpacks token, people and database of the version before, and writes today's configuration beside them. Starts nothing. */
export async function restoreBefore(): Promise<Before> {
  const directory = mkdtempSync(join(tmpdir(), 'escrowd-before-'));
  chmodSync(directory, 0o755); // the database's user must reach it
  unpack(directory);
  const facts = JSON.parse(readFileSync(join(FIXTURE, 'facts.json'), 'utf8')) as Facts;
  const hsm = tokenOf(directory, facts);
  makeCertificate(directory);
  const configFile = writeConfiguration(directory, hsm, facts);
  await restoreDatabase(directory);

  const recordText = readFileSync(join(directory, 'ceremony', 'record.json'), 'utf8');
  const restoredAt = Date.now();
  let aheadMs = 1000;
  const now = (): Date => new Date(Date.parse(facts.madeAt) + aheadMs + Date.now() - restoredAt);
  const everybody = new ConnectedPeople(directory, PEOPLE, now);
  let daemon: Daemon | undefined;
  const before: Before = {
    directory,
    facts,
    hsm,
    now,
    identity: everybody.identity,
    client: everybody.client,
    approve: async (name, id) => {
      const by = { identity: before.identity(name), client: before.client(name), now: now() };
      return (await by.client.sendApproval(id, await approvalBy(by, id))).result;
    },
    pass: (ms) => {
      aheadMs += ms;
    },
    startDaemon: async () => {
      daemon = await startDaemonAt(configFile, { now });
      await everybody.connect(`https://127.0.0.1:${daemon.port}`, recordText, facts.origin);
    },
    stopDaemon: async () => {
      await daemon?.stop();
      daemon = undefined;
    },
    remove: async () => {
      everybody.close();
      await before.stopDaemon();
      rmSync(directory, { recursive: true, force: true });
    },
  };
  return before;
}

function unpack(directory: string): void {
  const packed = gunzipSync(readFileSync(join(FIXTURE, 'directory.json.gz'))).toString();
  const files = JSON.parse(packed) as Record<string, { readonly text: string } | { readonly base64: string }>;
  for (const [name, content] of Object.entries(files)) {
    const path = join(directory, name);
    mkdirSync(dirname(path), { recursive: true });
    const bytes = 'text' in content ? Buffer.from(content.text) : Buffer.from(content.base64, 'base64');
    writeFileSync(path, bytes, { mode: 0o600 });
  }
}

function tokenOf(directory: string, { tokenLabel }: Facts): SoftHsm {
  const token = join(directory, 'token');
  const conf = join(token, 'softhsm2.conf');
  const lines = [
    `directories.tokendir = ${join(token, 'tokens')}`,
    'objectstore.backend = file',
    'log.level = ERROR',
  ];
  writeFileSync(conf, `${lines.join('\n')}\n`);
  const place = {
    profile: readProfile(SOFTHSM_PROFILE_FILE),
    label: tokenLabel,
    environment: { SOFTHSM2_CONF: conf },
  };
  const text = (name: string): string => readFileSync(join(directory, name), 'utf8').trim();
  return testTokenAt(token, place, {
    soPin: text('pins/so.pin'),
    userPin: text('pins/user.pin'),
    record: JSON.parse(text('ceremony/record.json')) as CeremonyRecord,
  });
}

function writeConfiguration(directory: string, hsm: SoftHsm, { origin }: Facts): string {
  const configFile = join(directory, 'escrowd.yaml');
  const config = {
    origin,
    listen: { host: '127.0.0.1', port: 0 },
    management: { port: 0 },
    tls: { certificate: 'server.crt', key: 'server.key' },
    token: {
      profile: 'softhsm-2.6',
      label: hsm.place.label,
      pinFile: 'pins/user.pin',
      record: 'ceremony/record.json',
      environment: hsm.place.environment,
      selfTest: 'quick',
    },
    administrators: 'administrators.json',
    database: { directory: 'postgres' },
    housekeepingMs: 500,
  };
  writeFileSync(configFile, stringify(config));
  return configFile;
}

/** Makes the private cluster that the daemon will find, with everything in it that was in the other. */
async function restoreDatabase(directory: string): Promise<void> {
  await freshCluster(join(directory, 'postgres'), 'none');
  const cluster = await startCluster({ ...CLUSTER, directory: join(directory, 'postgres') });
  try {
    await query(cluster.owner, gunzipSync(readFileSync(join(FIXTURE, 'database.sql.gz'))).toString());
  } finally {
    await cluster.stop();
  }
}
