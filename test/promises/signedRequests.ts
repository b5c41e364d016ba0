import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

import type { JWTPayload } from 'jose';

import { HttpsConnection } from '../../src/client/connection.js';
import type { EscrowClient } from '../../src/client/escrowClient.js';
import { asProblem } from '../../src/client/problem.js';
import { signRequest } from '../../src/client/requestSignature.js';
import type { Signer } from '../../src/client/identity/signingKey.js';
import type { PersonName, System } from '../support/system.js';
import { ORIGIN } from '../support/system.js';
import { REQUEST_TYPE } from '../../src/escrow/records/statementTypes.js';

/** A request as bytes, with what it is signed by. */
export interface Prepared {
  readonly method: 'GET' | 'POST';
  readonly target: string;
  readonly body: Uint8Array;
  /** The Idempotency-Key, without its quotes. */
  readonly idempotencyKey?: string;
  /** The signature; undefined for none. */
  readonly jws: string | undefined;
}

/** A POST of this JSON, or of this very text. */
export function post(target: string, content: unknown): Omit<Prepared, 'jws'> {
  const text = typeof content === 'string' ? content : JSON.stringify(content);
  return { method: 'POST', target, body: Buffer.from(text) };
}

/** Signs as the client does. */
export async function signed(signer: Signer, request: Omit<Prepared, 'jws'>, now: Date): Promise<Prepared> {
  return { ...request, jws: await signRequest(signer, ORIGIN, request, now) };
}

/** Signs as the client does, but for some claims. */
export async function signedOtherwise(
  signer: Signer,
  request: Omit<Prepared, 'jws'>,
  now: Date,
  otherwise: JWTPayload,
): Promise<Prepared> {
  const { jws } = await signed(signer, request, now);
  const payload = Buffer.from(jws?.split('.')[1] ?? '', 'base64url').toString();
  const claims = { ...(JSON.parse(payload) as JWTPayload), ...otherwise };
  return { ...request, jws: await signer.sign(REQUEST_TYPE, claims) };
}

/** Sends exactly this, on a connection of its own. @throws ServerProblem when it is refused */
export async function sendExactly(
  system: System,
  { jws, idempotencyKey, ...request }: Prepared,
): Promise<unknown> {
  const { server, ca } = system.identity('owner').pins;
  const certificate = readFileSync(resolve(system.identity('owner').directory, ca), 'utf8');
  const connection = new HttpsConnection({ url: server, ca: certificate, deadlineMs: 30_000 });
  const headers = {
    'content-type': 'application/json',
    ...(idempotencyKey === undefined ? {} : { 'idempotency-key': `"${idempotencyKey}"` }),
    ...(jws === undefined ? {} : { authorization: `Escrowd-JWS ${jws}` }),
  };
  try {
    const answer = await connection.send({ ...request, headers });
    if (answer.status > 299) throw asProblem(answer);
    return JSON.parse(answer.body.toString('utf8'));
  } finally {
    connection.close();
  }
}

/** Lends so many clients of one person, each with a connection of its own: their calls really run at once. */
export async function withClients<T>(
  system: System,
  name: PersonName,
  count: number,
  use: (clients: readonly EscrowClient[]) => Promise<T>,
): Promise<T> {
  const connect = (): Promise<EscrowClient> =>
    system.identity(name).connect({ deadlineMs: 30_000, repeatForMs: 0, now: () => new Date() });
  const clients = await Promise.all(Array.from({ length: count }, connect));
  // a call to each first, so that all are connected when it matters
  await Promise.all(clients.map((client) => client.checkpoint()));
  try {
    return await use(clients);
  } finally {
    for (const client of clients) client.close();
  }
}
