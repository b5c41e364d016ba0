import type { Answered } from '../../src/http/answered.js';
import type { ApiServer, Limits } from '../../src/http/server.js';
import { createServer } from '../../src/http/server.js';
import { selfSigned } from '../support/certificate.js';
import { ApiClient } from './apiClient.js';
import type { World } from './world.js';
import { newWorld } from './world.js';

export const tls = selfSigned();

/** A server on a port of its own, before a world of its own. */
export interface Running {
  readonly server: ApiServer;
  readonly world: World;
  readonly port: number;
  /** What the server reported to its operator. */
  readonly reported: { readonly error: unknown; readonly requestId: string }[];
  /** What it told its operator of those whom nobody knows. */
  readonly told: { readonly message: string; readonly facts: Readonly<Record<string, unknown>> }[];
  /** The requests that are over. */
  readonly answered: Answered[];
  readonly client: ApiClient;
  /** Whether the daemon can work, as far as the server is told. */
  isReady: boolean;
  /** To be called when the test is over. */
  stop(): Promise<void>;
}

export async function startServer(limits: Partial<Limits> = {}, world = newWorld()): Promise<Running> {
  const reported: { readonly error: unknown; readonly requestId: string }[] = [];
  const told: { readonly message: string; readonly facts: Readonly<Record<string, unknown>> }[] = [];
  const answered: Answered[] = [];
  const state = { isReady: true };
  const server = createServer({
    escrow: world.escrow,
    keys: { identityKey: { kty: 'EC', crv: 'P-256' }, logKey: 'log+0000+key' },
    tls,
    limits,
    report: (error, requestId) => reported.push({ error, requestId }),
    tell: (message, facts) => told.push({ message, facts }),
    isReady: () => state.isReady,
    answered: (one) => answered.push(one),
  });
  const { port } = await server.listen('127.0.0.1', 0);
  const client = new ApiClient(port, tls.cert);
  const stop = async (): Promise<void> => {
    client.close();
    await server.drain(0);
  };
  return Object.assign(state, { server, world, port, reported, told, answered, client, stop });
}
