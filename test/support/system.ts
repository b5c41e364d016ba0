import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { stringify } from 'yaml';

import { approve, believeRecovery, deny, intend } from '../../src/client/depositary/depositary.js';
import { denyProven } from '../../src/client/ends.js';
import type { EscrowClient } from '../../src/client/escrowClient.js';
import type { Identity } from '../../src/client/identity/identity.js';
import { believeDue } from '../../src/client/depositary/intents.js';
import type { ManagementReport } from '../../src/client/management.js';
import { readManagement } from '../../src/client/management.js';
import { policyDocumentHash, signPolicy } from '../../src/client/policy/policyDocument.js';
import { readConfig } from '../../src/daemon/config.js';
import type { Daemon } from '../../src/daemon/daemon.js';
import { startDaemon } from '../../src/daemon/daemon.js';
import type { ApprovalOrder, IntentOrder } from '../../src/api/orders.js';
import type { RecoveryReply } from '../../src/api/replies.js';
import type { OperatorLog } from '../../src/daemon/operatorLog.js';
import { createOperatorLog } from '../../src/daemon/operatorLog.js';
import type { SoftHsm } from './softhsm.js';
import { provision } from './provision.js';
import { letPass } from './waiting.js';
import { freshCluster } from './freshCluster.js';
import { ConnectedPeople } from './connectedPeople.js';

export const ORIGIN = 'escrow.test/log';
/** Everybody in the tests' directory, by what they are. */
export const PEOPLE = {
  'admin-1': ['admin'],
  'admin-2': ['admin'],
  manager: ['depositary'],
  'officer-1': ['depositary', 'security-officer'],
  'officer-2': ['depositary', 'security-officer'],
  owner: ['owner'],
  'other-owner': ['owner'],
  app: ['app'],
  'other-app': ['app'],
  auditor: ['auditor'],
} as const satisfies Record<string, readonly string[]>;
export type PersonName = keyof typeof PEOPLE;
export const DEPOSITARIES = ['manager', 'officer-1', 'officer-2'] as const satisfies readonly PersonName[];

const twoOfThree = { atLeast: 2, of: ['manager', 'role:security-officer'] };
/** The rules that the tests run with, unless they bring their own. */
export const RULES: readonly unknown[] = [
  {
    name: 'signing-never-leaves',
    when: { use: 'sign', 'owner.department': 'finance' },
    depositaries: twoOfThree,
    operate: { operations: ['sign'], maxUses: 100, maxDuration: 'PT24H' },
  },
  {
    name: 'finance-decryption',
    when: { use: 'decrypt', 'owner.department': 'finance' },
    depositaries: twoOfThree,
    deliver: true,
    operate: { operations: ['decrypt'], maxUses: 100, maxDuration: 'P7D' },
    release: { delay: 'PT0S', ownerMayVeto: true },
  },
];

/** A whole escrowd: token, database, daemon, and the people with their keys, in a directory of its own. */
export interface System {
  readonly directory: string;
  readonly configFile: string;
  readonly hsm: SoftHsm;
  /** Where the daemon listens. */
  readonly url: () => string;
  readonly identity: (name: PersonName) => Identity;
  readonly client: (name: PersonName) => EscrowClient;
  /** Where the management listener is: `http://127.0.0.1:8444`. */
  readonly management: () => string;
  /** How the daemon is, as its management listener says. */
  health(): Promise<ManagementReport>;
  /** Two administrators put directory and rules in force. */
  applyRules(
    rules?: readonly unknown[],
    people?: Readonly<Record<string, object>>,
    administration?: Readonly<Record<string, number>>,
  ): Promise<void>;
  /** The depositary's own part of an approval: checked, decrypted, re-encrypted, signed. Not handed in. */
  makeApproval(name: PersonName, recovery: string, holdsMs?: number): Promise<ApprovalOrder>;
  approve(name: PersonName, recovery: string, holdsMs?: number): Promise<RecoveryReply>;
  /** The depositary hands in their intent to approve. */
  intend(name: PersonName, recovery: string): Promise<RecoveryReply>;
  deny(name: PersonName, recovery: string, reason: string): Promise<RecoveryReply>;
  /** Resolves with the reason when the daemon that runs can no longer go on. */
  failed(): Promise<Error>;
  stopDaemon(): Promise<void>;
  startDaemon(): Promise<void>;
  /** Stops and deletes everything. */
  remove(): Promise<void>;
}

/** How a system differs from the usual one. */
export interface SystemOptions {
  /** Members of the daemon's configuration, merged over the usual ones at the first level. */
  readonly config?: (hsm: SoftHsm, directory: string) => Readonly<Record<string, unknown>>;
  /** Changes the token after the ceremony, before the daemon opens it. */
  readonly prepareToken?: (hsm: SoftHsm) => void;
  /** Variables of the daemon's environment. */
  readonly environment?: Readonly<Record<string, string>>;
  /** The daemon is started by the test, as a process of its own. */
  readonly withoutDaemon?: boolean;
  readonly port?: number;
  /** Where the daemon tells its operator; the console, when it is not given. */
  readonly operatorLog?: OperatorLog;
  /** The time of the daemon and of everybody else; that of the system when it is not given. */
  readonly now?: () => Date;
  /** How far the daemon's clock is ahead of everybody else's, the database's included. */
  readonly aheadMs?: () => number;
}

/** Makes a system, with its rules in force. Takes a few seconds. One at a time in a process: the token is. */
export async function makeSystem(options: SystemOptions = {}): Promise<System> {
  const directory = mkdtempSync(join(tmpdir(), 'escrowd-system-'));
  chmodSync(directory, 0o755); // the database's user must reach it
  const people = join(directory, 'people');
  mkdirSync(people);
  const { hsm, principals } = await provision(people, { people: PEOPLE, depositaries: DEPOSITARIES });
  options.prepareToken?.(hsm);
  await freshCluster(join(directory, 'postgres'), 'migrated');
  makeCertificate(directory);
  const configFile = writeConfiguration(directory, hsm, principals, options);

  let daemon: Daemon | undefined;
  let port = options.port ?? 0;
  const management = (): string => {
    const { host = '', port: at = 0 } = daemon?.management ?? {};
    return `http://${host}:${at}`;
  };
  const now = options.now ?? ((): Date => new Date());
  const everybody = new ConnectedPeople(directory, Object.keys(PEOPLE) as PersonName[], now);
  const url = (): string => `https://127.0.0.1:${port}`;
  const connect = (): Promise<void> => everybody.connect(url(), JSON.stringify(hsm.record()), ORIGIN);
  const system: System = {
    directory,
    configFile,
    hsm,
    url,
    identity: everybody.identity,
    client: everybody.client,
    management,
    health: () => readManagement(management(), 30_000),
    applyRules: async (rules = RULES, changed = {}, administration = {}) => {
      const document = {
        version: 1,
        administration,
        principals: Object.values({ ...principals, ...changed }),
        rules,
      };
      const { version: base, hash: replaces } = await system.client('admin-1').policy();
      const signatures = await Promise.all(
        (['admin-1', 'admin-2'] as const).map((id) =>
          signPolicy(system.identity(id).signer, {
            hash: policyDocumentHash(document),
            base,
            replaces,
            logKey: system.identity(id).pins.logKey,
            now: now(),
            lifetimeMs: 600_000,
          }),
        ),
      );
      await system.client('admin-1').applyPolicy({ document, signatures });
    },
    makeApproval: async (name, id, holdsMs) => {
      const by = { identity: system.identity(name), client: system.client(name), now: now() };
      return approvalBy(by, id, holdsMs);
    },
    approve: async (name, id, holdsMs) => {
      const approval = await system.makeApproval(name, id, holdsMs);
      return (await system.client(name).sendApproval(id, approval)).result;
    },
    intend: async (name, id) => {
      const by = { identity: system.identity(name), client: system.client(name), now: now() };
      return (await system.client(name).sendIntent(id, await intentBy(by, id))).result;
    },
    deny: async (name, id, reason) => {
      const by = { identity: system.identity(name), client: system.client(name), now: now() };
      const { recovery, trust } = await seenBy(by, id);
      const denial = await deny(
        await believeRecovery(recovery, trust),
        by.identity.signer,
        reason,
        trust.now,
      );
      return (await denyProven(by.client, trust.log, id, denial)).result;
    },
    failed: () => daemon?.failed ?? Promise.reject(new Error('no daemon runs')),
    stopDaemon: async () => {
      await daemon?.stop();
      daemon = undefined;
    },
    startDaemon: async () => {
      daemon = await startDaemonAt(configFile, { ...options, now });
      ({ port } = daemon);
      await connect();
    },
    remove: async () => {
      everybody.close();
      await system.stopDaemon();
      hsm.remove();
      rmSync(directory, { recursive: true, force: true });
    },
  };
  if (options.withoutDaemon === true) {
    await connect();
    return system;
  }
  try {
    await system.startDaemon();
    await system.applyRules();
    return system;
  } catch (error) {
    await system.remove();
    throw error;
  }
}

/** Who decides, through which client, and when. */
interface Decider {
  readonly identity: Identity;
  readonly client: EscrowClient;
  readonly now: Date;
}

/** A depositary's own part of an approval, as the command line makes it. */
export async function approvalBy(by: Decider, id: string, holdsMs?: number): Promise<ApprovalOrder> {
  const { recovery, trust } = await seenBy(by, id);
  const believed = await believeRecovery(recovery, trust);
  const due = await believeDue(believed, by.identity.signer, trust);
  return approve(due, by.identity.signer, await by.identity.depositaryOpener(), trust.now, holdsMs);
}

/** A depositary's word that they intend to approve, as the command line makes it. */
export async function intentBy(by: Decider, id: string): Promise<IntentOrder> {
  const { recovery, trust } = await seenBy(by, id);
  const believed = await believeRecovery(recovery, trust);
  return intend(believed, by.identity.signer, await by.identity.depositaryOpener(), trust.now);
}

async function seenBy(
  { identity, client, now }: Decider,
  id: string,
): Promise<{ recovery: RecoveryReply; trust: Parameters<typeof believeRecovery>[1] }> {
  const recovery = await client.recovery(id);
  const { origin, identityKey } = identity.pins;
  return {
    recovery,
    trust: {
      ...{ origin, identityKey, depositary: identity.id, log: identity.logView(client), now },
      generations: identity.generations,
      approvedKeys: identity.approvedKeys,
    },
  };
}

/** A daemon in this process, by the configuration in this file. */
export function startDaemonAt(
  configFile: string,
  options: Pick<SystemOptions, 'environment' | 'operatorLog' | 'aheadMs'> & { readonly now: () => Date },
): Promise<Daemon> {
  const ahead = (at: Date): Date => new Date(at.getTime() + (options.aheadMs?.() ?? 0));
  return startDaemon({
    config: readConfig(configFile, { PATH: process.env['PATH'], ...options.environment }),
    configFile,
    packageDirectory: process.cwd(),
    log: options.operatorLog ?? createOperatorLog(process.env['ESCROWD_TEST_LOG'] ?? 'error', true),
    clock: { now: () => ahead(options.now()), pause: letPass },
    ownClock: { now: () => ahead(new Date()) },
  });
}

/** `server.key` and `server.crt` in this directory, for 127.0.0.1. */
export function makeCertificate(directory: string): void {
  const subject = ['-subj', '/CN=escrowd test', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const files = ['-keyout', join(directory, 'server.key'), '-out', join(directory, 'server.crt')];
  execFileSync('openssl', ['req', '-x509', '-days', '400', ...key, ...subject, ...files], {
    stdio: 'ignore',
  });
}

/** Tests look for the entry of each refusal, and file as many requests as they like. */
const UNLIMITED = {
  refusals: { burst: 1_000_000, perMinute: 1_000_000 },
  openRecoveries: { perRequester: 1_000_000, perKey: 1_000_000 },
};

function writeConfiguration(
  directory: string,
  hsm: SoftHsm,
  principals: Readonly<Record<string, object>>,
  options: SystemOptions,
): string {
  writeFileSync(join(directory, 'user.pin'), `${hsm.userPin}\n`, { mode: 0o600 });
  writeFileSync(join(directory, 'record.json'), JSON.stringify(hsm.record()), { mode: 0o644 });
  const administrators = [principals['admin-1'], principals['admin-2']];
  writeFileSync(join(directory, 'administrators.json'), JSON.stringify(administrators), { mode: 0o644 });
  const configFile = join(directory, 'escrowd.yaml');
  const given: { readonly requests?: object } = options.config?.(hsm, directory) ?? {};
  const config = {
    origin: ORIGIN,
    listen: { host: '127.0.0.1', port: options.port ?? 0 },
    management: { port: 0 },
    tls: { certificate: 'server.crt', key: 'server.key' },
    token: {
      profile: 'softhsm-2.6',
      label: hsm.place.label,
      pinFile: 'user.pin',
      record: 'record.json',
      environment: hsm.place.environment,
      selfTest: 'quick',
    },
    administrators: 'administrators.json',
    housekeepingMs: 500,
    ...given,
    requests: { ...UNLIMITED, ...given.requests },
  };
  writeFileSync(configFile, stringify(config), { mode: 0o644 });
  return configFile;
}
