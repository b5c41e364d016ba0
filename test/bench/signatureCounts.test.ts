import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { HttpsConnection } from '../../src/client/connection.js';
import { EscrowClient, type CertifiedClient } from '../../src/client/escrowClient.js';
import { selfSigned, thumbprintOf } from '../support/certificate.js';
import { LIMITS_MS } from '../support/limits.js';
import { agree, askToOperate, makeKey, signingScope } from '../support/life.js';
import { grantOf } from '../support/oneKey.js';
import { documentInForce, putInForce, withPrincipal } from '../support/policies.js';
import type { SoftHsm } from '../support/softhsm.js';
import { makeSystem, RULES, type System } from '../support/system.js';
import { listenToStatements, type SentStatements } from './statements.js';
import { listenToToken, type TokenCalls } from './tokenCalls.js';

/*
 * What a signature costs, counted and not timed, so that it is the same on any machine: statements and transactions of
 * PostgreSQL, and calls of the token. Whoever makes it less lowers the bounds; whoever needs more has to say so here.
 */

/** Reads, and transactions, on the connections that do not append. */
const MOST_READS = 0;
/** Statements on the one that does, each a transaction by itself: the attempt and the outcome. */
const MOST_APPENDS = 2;

/**
 * Signatures, eight at once. What the daemon does by the clock meanwhile, such as a checkpoint four times a second, it does
 * less than half as often: a statement that is sent more often is one of the signatures.
 */
const MANY = 200;
const AT_ONCE = 8;
/** One after another, so that none is appended together with another. */
const FEW = 20;

const SELDOM_MS = 600_000;

jest.setTimeout(LIMITS_MS.system);

let system: System;
let statements: SentStatements;
let token: TokenCalls;
let certified: CertifiedClient;
let grant: string;
/** Of a key of its own, with a rate. */
let rated: string;

beforeAll(async () => {
  token = listenToToken();
  statements = listenToStatements();
  system = await makeSystem({ config: seldom });
  const certificate = selfSigned();
  const maxUses = 100_000;
  const operate = { operations: ['sign'], maxUses, maxDuration: 'PT24H' };
  await system.applyRules(RULES.slice(0, 1).map((rule) => ({ ...(rule as object), operate })));
  const inForce = await documentInForce(system);
  await putInForce(system, withPrincipal(inForce, 'app', { certificates: [thumbprintOf(certificate.cert)] }));
  grant = await granted({ maxUses });
  rated = await granted({ maxUses, rate: { uses: maxUses, per: 'PT1H' } });
  const ca = readFileSync(join(system.directory, 'server.crt'), 'utf8');
  certified = EscrowClient.byCertificate(
    new HttpsConnection({ url: system.url(), ca, deadlineMs: 60_000, certificate }),
  );
  await sign(certified, 1);
});
afterAll(async () => {
  certified.close();
  await system.remove();
  statements.stop();
  token.stop();
});

/** What the daemon does with the token by itself, every second or so and with many calls, it does once in ten minutes. */
function seldom({ place }: SoftHsm): Readonly<Record<string, unknown>> {
  const files = { pinFile: 'user.pin', record: 'record.json' };
  const { label, environment } = place;
  const token = {
    profile: 'softhsm-2.6',
    label,
    environment,
    ...files,
    selfTest: 'quick',
    probeMs: SELDOM_MS,
  };
  return { token, housekeepingMs: SELDOM_MS };
}

type Signs = Pick<CertifiedClient, 'sign'>;
const CALLS = [
  ['with a client certificate', () => sign(certified, 1), () => sign(certified, 10)],
  ['with a signed request', () => sign(system.client('app'), 1), () => sign(system.client('app'), 10)],
  ['under a rate', () => sign(certified, 1, rated), () => sign(certified, 10, rated)],
] as const;

test.each(CALLS)(
  'a signature %s reads nothing: what it is decided by is at hand, and claimed with its appends',
  async (_how, one) => {
    const { reads, transactions, often } = await besidesAppends(one);
    expect({ often, isMore: reads > MOST_READS || transactions > MOST_READS }).toEqual({
      often,
      isMore: false,
    });
  },
);

test('a read more for each signature is seen', async () => {
  const { reads } = await besidesAppends(async () => {
    await Promise.all([sign(certified, 1), system.client('app').grant(grant)]);
  });
  expect(reads).toBeGreaterThan(MOST_READS);
});

test.each(CALLS)('a signature %s, and a batch, appends twice and no more', async (_how, one, ten) => {
  for (const call of [one, ten]) {
    statements.take();
    for (let time = 0; time < FEW; time += 1) await call();
    const appended = statements.take().filter(({ by }) => by === 'journal');
    expect(appended.length / FEW).toBeLessThanOrEqual(MOST_APPENDS);
    expect(appended.filter(({ begins }) => begins).length / FEW).toBeLessThanOrEqual(MOST_APPENDS);
  }
});

test('a signature is one of the token: the key is not looked for, nor anything asked of it', async () => {
  token.take();
  await many(() => sign(certified, 1));
  for (let time = 0; time < FEW; time += 1) await sign(certified, 10);
  const calls = token.take();
  const begun = countsOf(calls.flatMap(({ key }) => key ?? []));
  const named = countsOf(calls.map(({ name }) => name));
  // the others are of the log's key, which signs checkpoints
  expect(Math.max(...begun.values())).toBe(MANY + 10 * FEW);
  expect(named.get('C_Sign')).toBe(named.get('C_SignInit'));
  const others = [...named].filter(([name, count]) => !/^C_Sign(Init)?$/.test(name) && count > MANY / 2);
  expect(others).toEqual([]);
});

async function granted(scope: Parameters<typeof signingScope>[0]): Promise<string> {
  const { key } = await makeKey(system, { spec: 'ec-p256', use: 'sign' });
  const { recovery } = await askToOperate(system, key, signingScope(scope));
  return grantOf(await agree(system, recovery));
}

async function sign(client: Signs, messages: number, by = grant): Promise<void> {
  const message = Buffer.from('an invoice').toString('base64url');
  const order = { mechanism: 'ES256', messages: Array.from({ length: messages }, () => message) } as const;
  const { result } = await client.sign(by, order);
  expect(result.signatures).toHaveLength(messages);
}

async function many(ask: () => Promise<void>): Promise<void> {
  let left = MANY;
  const client = async (): Promise<void> => {
    for (; left > 0;) {
      left -= 1;
      await ask();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, client));
}

/** What is sent on the connections that do not append, for each time that is asked: whole numbers, and which statements. */
async function besidesAppends(ask: () => Promise<void>): Promise<{
  readonly reads: number;
  readonly transactions: number;
  readonly often: readonly string[];
}> {
  statements.take();
  await many(ask);
  const sent = statements.take().filter(({ by }) => by === 'pool');
  const counts = countsOf(sent.map(({ statement }) => statement));
  const often = [...counts].filter(([, count]) => count > MANY / 2).map(([statement]) => statement);
  const ofThem = sent.filter(({ statement }) => often.includes(statement));
  return {
    reads: Math.round(ofThem.filter(({ kind }) => kind === 'reads').length / MANY),
    transactions: Math.round(ofThem.filter(({ begins }) => begins).length / MANY),
    often,
  };
}

function countsOf(all: readonly string[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const one of all) counts.set(one, (counts.get(one) ?? 0) + 1);
  return counts;
}
