import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { verifyExport } from '../../../src/audit/verifyExport.js';
import { parsePublicParts } from '../../../src/client/identity/publicPart.js';
import { exportLog } from '../../../src/client/log/logExport.js';
import { settlePasswords, databaseName, ownerRole } from '../../../src/privatePostgres/initialise.js';
import type { ConnectionSettings } from '../../../src/privatePostgres/lock.js';
import { readPaths } from '../../../src/privatePostgres/paths.js';
import {
  type Postmaster,
  findPostmaster,
  port as postgresPort,
} from '../../../src/privatePostgres/postmaster.js';
import { freePort } from '../../support/freePort.js';
import { selfSigned, thumbprintOf } from '../../support/certificate.js';
import { documentInForce, putInForce, withPrincipal } from '../../support/policies.js';
import { makeSystem, ORIGIN, RULES, type System } from '../../support/system.js';
import type { Progress } from '../findings.js';
import { count } from '../table.js';
import { startBuiltDaemon } from './builtDaemon.js';
import { costsOf, type Costs } from './processCosts.js';
import type { TokenPlace } from './token.js';

/** What the daemon's processes have used and hold. */
export interface DaemonCosts {
  readonly node: Costs;
  readonly postgres: Costs;
}

/** A whole escrowd as it runs in earnest, but for its limits of requests, which are out of the way. */
export interface UnderLoad {
  readonly system: System;
  readonly port: number;
  /** The certificate of the server: PEM. */
  readonly tls: { readonly cert: string; readonly key: string };
  /** That by which the policy knows the app. */
  readonly certificate: { readonly cert: string; readonly key: string };
  /** Its database, as the owner of the schema. */
  readonly owner: ConnectionSettings;
  costs(): DaemonCosts;
  /** Stops it as an operator does, and starts it again: milliseconds until it serves. Nobody may be asking it. */
  restart(): Promise<number>;
  /** A copy of its token as it is now, in a directory of its own: for who signs with the same keys and without the daemon. */
  copyToken(): Omit<TokenPlace, 'grants'>;
}

const MANY = 1_000_000;
const CONFIGURATION = {
  housekeepingMs: 5_000,
  requests: {
    perCaller: { perSecond: MANY, burst: MANY, atOnce: 100_000 },
    perAddress: { perSecond: MANY, burst: MANY, connections: MANY },
  },
} as const;

/** The most uses that a grant can have. */
export const MOST_USES = 1_000_000_000;

/**
 * Makes a token, a private cluster and a policy, starts the built daemon, and lends it. At the end its whole log is exported
 * and verified, with every signature, as the auditor does, and it is stopped.
 *
 * @throws Error when the log is not believed, an attempt is open, or the daemon does not end well
 */
export async function withDaemonUnderLoad<T>(
  how: { readonly progress: Progress; readonly profileInto: string | undefined },
  use: (daemon: UnderLoad) => Promise<T>,
): Promise<T> {
  how.progress('making a token, a database and people');
  const port = await freePort();
  const system = await makeSystem({ withoutDaemon: true, port, config: () => CONFIGURATION });
  try {
    let daemon = await startBuiltDaemon(system.configFile, how.profileInto);
    try {
      const certificate = selfSigned();
      await admitEverybody(system, certificate.cert);
      const database = join(system.directory, 'postgres');
      const paths = await readPaths(database);
      if (paths === undefined) throw new Error('there is no database');
      let postmaster = await runningIn(paths.data);
      const { owner: password } = await settlePasswords(paths);
      const read = (name: string): string => readFileSync(join(system.directory, name), 'utf8');
      const result = await use({
        system,
        port,
        tls: { cert: read('server.crt'), key: read('server.key') },
        certificate,
        owner: {
          ...{ host: postmaster.socketDirectory ?? paths.data, port: postgresPort },
          ...{ user: ownerRole, password, database: databaseName },
        },
        costs: () => ({
          node: costsOf(daemon.pid, postmaster.pid),
          postgres: costsOf(postmaster.pid),
        }),
        restart: async () => {
          await daemon.stop();
          const begunAt = performance.now();
          daemon = await startBuiltDaemon(system.configFile, how.profileInto);
          const tookMs = performance.now() - begunAt;
          postmaster = await runningIn(paths.data);
          return tookMs;
        },
        copyToken: () => copyToken(system),
      });
      await requireBelievedLog(system, how.progress);
      return result;
    } finally {
      await daemon.stop();
    }
  } finally {
    await system.remove();
  }
}

async function runningIn(data: string): Promise<Postmaster> {
  const postmaster = await findPostmaster(data);
  if (postmaster === undefined) throw new Error('there is no database');
  return postmaster;
}

/** Rules that bound uses by the most there can be; and the app is known by its certificate as well. */
async function admitEverybody(system: System, cert: string): Promise<void> {
  const operate = { operations: ['sign'], maxUses: MOST_USES, maxDuration: 'P7D' };
  await system.applyRules(RULES.slice(0, 1).map((rule) => ({ ...(rule as object), operate })));
  const inForce = await documentInForce(system);
  await putInForce(system, withPrincipal(inForce, 'app', { certificates: [thumbprintOf(cert)] }));
}

function copyToken({ hsm, directory }: System): Omit<TokenPlace, 'grants'> {
  const into = join(directory, 'copied-tokens');
  cpSync(join(hsm.directory, 'tokens'), into, { recursive: true });
  const conf = join(directory, 'copied-softhsm2.conf');
  writeFileSync(conf, `directories.tokendir = ${into}\nobjectstore.backend = file\nlog.level = ERROR\n`);
  return { label: hsm.place.label, environment: { SOFTHSM2_CONF: conf }, userPin: hsm.userPin };
}

async function requireBelievedLog(system: System, progress: Progress): Promise<void> {
  progress('exporting and verifying the log');
  // a checkpoint over the last entry is made within a second
  await pause(2_000);
  const path = join(system.directory, 'log.jsonl');
  const auditor = system.identity('auditor');
  const client = system.client('auditor');
  const { logKey } = auditor.pins;
  const { size } = await exportLog({ client, log: auditor.logView(client), origin: ORIGIN, logKey, path });
  const bootstrap = parsePublicParts(readFileSync(join(system.directory, 'administrators.json'), 'utf8'));
  const { verdict } = await verifyExport({ path, logKey, bootstrap });
  if (!verdict.ok)
    throw new Error(`the log is not believed: ${verdict.reason} (entry ${verdict.index ?? '?'})`);
  if (verdict.open.length > 0) throw new Error(`${verdict.open.length} attempts are open`);
  progress(`the log of ${count(size)} entries is believed`);
}
