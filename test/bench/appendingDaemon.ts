import { once } from 'node:events';
import type { Grant } from '../../src/escrow/records/grant.js';
import type { ConnectionSettings } from '../../src/privatePostgres/lock.js';
import { openDatabase } from '../../src/postgres/database.js';
import { anchorage, clock, silent } from '../postgres/fixtures.js';
import { certifierOf, signerOf } from '../support/signer.js';
import { measureActs } from './acts.js';

/** What a process of the bench that appends is told to do. */
export interface AppendingOrder {
  readonly daemon: ConnectionSettings;
  /** The log's key, shared as replicas share a token: PKCS#8 in PEM. */
  readonly logKey: string;
  /** The identity key, shared likewise. */
  readonly identityKey: string;
  readonly grants: readonly Grant[];
  readonly callers: number;
  readonly seconds: number;
}

/*
 * One daemon's part of the bench: opens the database, warms up, says that it is ready, waits for a line, appends, and says
 * how that went.
 */
const order = JSON.parse(process.argv[2] ?? '', (name: string, value: unknown) =>
  name.endsWith('At') ? new Date(String(value)) : value,
) as AppendingOrder;
const { daemon, logKey, identityKey, grants, callers, seconds } = order;
const database = await openDatabase({
  daemon,
  signer: signerOf(logKey),
  certifier: certifierOf(identityKey),
  anchorage: anchorage(),
  clock,
  log: silent,
});
const append = database.journal.append.bind(database.journal);
await measureActs(append, grants, callers, seconds / 2);
say('ready');
await once(process.stdin, 'data');
say(await measureActs(append, grants, callers, seconds));
await once(process.stdin, 'end');
await database.close();

function say(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
