import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FILES } from '../../../src/client/identity/identity.js';
import type { PersonName, System } from '../../support/system.js';
import type { Child } from '../child.js';
import type { Load, LoadCaller, LoadOrder } from './loadGenerator.js';
import type { UnderLoad } from './underLoad.js';

/** What a window of requests to the daemon has cost. */
export interface CostlyLoad extends Load {
  /** Microseconds of CPU for each request, of all threads. */
  readonly nodeMicros: number;
  readonly postgresMicros: number;
  readonly nodeBytes: number;
  readonly postgresBytes: number;
}

/** Has the generator ask, and says how that went. */
export async function plainLoad(generator: Child, order: LoadOrder): Promise<Load> {
  generator.tell(JSON.stringify(order));
  await generator.next();
  return generator.next<Load>();
}

/** The same of the daemon, with what it has used while that was counted. */
export async function costlyLoad(
  generator: Child,
  order: LoadOrder,
  daemon: Pick<UnderLoad, 'costs'>,
): Promise<CostlyLoad> {
  generator.tell(JSON.stringify(order));
  await generator.next();
  const before = daemon.costs();
  const load = await generator.next<Load>();
  const after = daemon.costs();
  const microsOf = (which: keyof typeof before): number =>
    (after[which].cpuMicros - before[which].cpuMicros) / load.requests;
  return {
    ...load,
    nodeMicros: microsOf('node'),
    postgresMicros: microsOf('postgres'),
    nodeBytes: after.node.residentBytes,
    postgresBytes: after.postgres.residentBytes,
  };
}

/** Somebody who signs their requests. */
export function signedBy(system: System, name: PersonName): Extract<LoadCaller, { signer: object }> {
  const { id, signer, pins, directory } = system.identity(name);
  const key = readFileSync(join(directory, FILES.signingKey), 'utf8');
  return { signer: { id, kid: signer.kid, key, audience: pins.logKey } };
}
