import { createHash, createPublicKey, verify } from 'node:crypto';
import { readdirSync, readFileSync, renameSync } from 'node:fs';
import { request } from 'node:https';
import { join, resolve } from 'node:path';

import { ServerProblem } from '../../src/client/errors.js';
import type { GrantReply, KeyReply } from '../../src/api/replies.js';
import { createOperatorLog } from '../../src/daemon/operatorLog.js';
import type { System } from '../support/system.js';
import { makeSystem } from '../support/system.js';
import { granted } from './recoveries.js';
import { post, signed, withClients } from './signedRequests.js';
import { entriesFrom, expectLogHolds } from './wholeLog.js';
import { letPass, until } from '../support/waiting.js';
import { LIMITS_MS } from '../support/limits.js';
import { freshName } from '../support/fresh.js';

jest.setTimeout(LIMITS_MS.system);

/** How often each is answered, or refused, before the test goes on. */
const ENOUGH = 20;
const RULES = [
  {
    name: 'signing',
    when: { use: 'sign' },
    depositaries: { atLeast: 2, of: ['manager', 'role:security-officer'] },
    operate: { operations: ['sign'], maxUses: 1_000_000, maxDuration: 'PT24H' },
  },
];

let system: System;
let key: KeyReply;
let grant: GrantReply;

beforeAll(async () => {
  // a line for each request that is refused
  const operatorLog = createOperatorLog('error', false);
  operatorLog.silent = true;
  system = await makeSystem({ operatorLog });
  await system.applyRules(RULES);
  key = (await system.client('owner').generateKey({ owner: 'owner', spec: 'ec-p256', use: 'sign' })).result;
  grant = await granted(system, key, { maxUses: 1_000_000 });
});
afterAll(() => system.remove());

/** What came of calls: how many were answered, and how the others were refused. */
interface Told {
  answered: number;
  readonly refusals: Map<string, number>;
  readonly others: unknown[];
}

/** Signatures and new keys by several callers, over and over, until told to stop. Each answer is checked. */
async function underLoad(
  during: (all: { readonly signed: Told; readonly made: Told }) => Promise<void>,
): Promise<{ readonly signed: Told; readonly made: Told }> {
  const told = (): Told => ({ answered: 0, refusals: new Map(), others: [] });
  const all = { signed: told(), made: told() };
  let stopped = false;
  const repeat = async (into: Told, one: () => Promise<void>): Promise<void> => {
    while (!stopped) {
      try {
        await one();
        into.answered += 1;
      } catch (error) {
        if (!(error instanceof ServerProblem)) into.others.push(error);
        else {
          const what = `${error.status} ${error.code}`;
          into.refusals.set(what, (into.refusals.get(what) ?? 0) + 1);
          await letPass(20);
        }
      }
    }
  };
  await withClients(system, 'app', 4, (apps) =>
    withClients(system, 'owner', 2, async (owners) => {
      const signing = apps.map((app) => repeat(all.signed, () => signOnce(app)));
      const making = owners.map((owner) =>
        repeat(all.made, async () => {
          const order = { owner: 'owner', spec: 'ec-p256', use: 'sign' } as const;
          made.push((await owner.generateKey(order)).result.key);
        }),
      );
      await during(all);
      stopped = true;
      await Promise.all([...signing, ...making]);
    }),
  );
  return all;
}
const made: string[] = [];

function refusalsOf({ refusals }: Told): number {
  return [...refusals.values()].reduce((a, b) => a + b, 0);
}

/** Waits until a count has grown by so many from now on. */
async function grown(count: () => number, by: number): Promise<void> {
  const from = count();
  await until(() => count() >= from + by);
}

/** Readiness is what the last probe has found. */
async function untilReady(ready: boolean): Promise<void> {
  await until(async () => (await system.client('app').isReady()) === ready);
}

async function signOnce(app: ReturnType<System['client']>): Promise<void> {
  const message = Buffer.from(`invoice ${freshName()}`);
  const order = { mechanism: 'ES256', messages: [message.toString('base64url')] } as const;
  const [signature = ''] = (await app.sign(grant.grant, order)).result.signatures;
  const publicKey = { key: createPublicKey(key.publicKeyPem ?? ''), dsaEncoding: 'ieee-p1363' } as const;
  if (!verify('sha256', message, publicKey, Buffer.from(signature, 'base64url')))
    throw new Error(`a wrong signature of ${createHash('sha256').update(message).digest('hex')}`);
}

function storage(): { readonly away: () => void; readonly back: () => void } {
  const tokens = join(system.hsm.directory, 'tokens');
  const aside = join(system.hsm.directory, 'aside');
  const [name = ''] = readdirSync(tokens);
  return {
    away: () => {
      renameSync(join(tokens, name), aside);
    },
    back: () => {
      renameSync(aside, join(tokens, name));
    },
  };
}

/** How many uses of the grant are counted. */
async function used(): Promise<number> {
  return (await system.client('app').grant(grant.grant)).used;
}

/** A signed request's answer with its headers. */
async function ask(): Promise<{
  readonly status: number;
  readonly retryAfter: string;
  readonly body: string;
}> {
  const { signer, directory, pins } = system.identity('app');
  const target = `/v1/grants/${grant.grant}/sign`;
  const order = { mechanism: 'ES256', messages: [Buffer.from('x').toString('base64url')] };
  const { jws = '', body } = await signed(signer, post(target, order), new Date());
  const headers = { 'content-type': 'application/json', authorization: `Escrowd-JWS ${jws}` };
  const ca = readFileSync(resolve(directory, pins.ca));
  return new Promise((done, fail) => {
    const sending = request(`${system.url()}${target}`, { method: 'POST', headers, ca }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const retryAfter = response.headers['retry-after'] ?? '';
        done({ status: response.statusCode ?? 0, retryAfter, body: Buffer.concat(chunks).toString() });
      });
    });
    sending.on('error', fail);
    sending.end(body);
  });
}

test('a token that goes and comes back under load: 503 meanwhile and no use of a grant lost, then all is well again by itself, and the log holds', async () => {
  const { size } = await expectLogHolds(system);
  const { away, back } = storage();
  const all = await underLoad(async (told) => {
    const both = [told.signed, told.made];
    await grown(() => Math.min(...both.map(({ answered }) => answered)), ENOUGH);
    away();
    await grown(() => Math.min(...both.map(refusalsOf)), ENOUGH);
    const usedBefore = await used();
    const refused = await ask();
    expect(await used()).toBe(usedBefore);
    expect(refused).toMatchObject({ status: 503, retryAfter: '5' });
    expect(JSON.parse(refused.body)).toMatchObject({ type: 'urn:escrowd:problem:token-unavailable' });
    await untilReady(false);
    const { status, problems } = await system.health();
    expect(status).toBe('not ready');
    expect(problems).toContain('The token does not answer.');
    await grown(() => Math.min(...both.map(refusalsOf)), ENOUGH);
    const before = made.length;
    back();
    await until(() => made.length > before);
    await grown(() => Math.min(...both.map(({ answered }) => answered)), ENOUGH);
  });
  for (const { answered, refusals, others } of Object.values(all)) {
    expect(others).toEqual([]);
    expect([...refusals.keys()]).toEqual(['503 token-unavailable']);
    expect(answered).toBeGreaterThan(10);
  }
  await untilReady(true);

  await expectLogHolds(system);
  const entries = await entriesFrom(system, size);
  const count = (act: string, phases: readonly string[]): number =>
    entries.filter((entry) => entry.act === act && phases.includes(entry.phase)).length;
  expect(count('grant.sign', ['done'])).toBe(all.signed.answered);
  expect(count('key.generate', ['done'])).toBe(all.made.answered);
  // `ask` was refused once more than the callers
  expect(count('grant.sign', ['failed', 'denied'])).toBe(refusalsOf(all.signed) + 1);
  expect(count('key.generate', ['failed', 'denied'])).toBe(refusalsOf(all.made));
  for (const act of ['grant.sign', 'key.generate']) {
    const errors = entries.flatMap((entry) => (entry.act === act && 'error' in entry ? [entry.error] : []));
    expect(new Set(errors)).toEqual(new Set(['token-unavailable']));
  }
  const keys = new Set<string>();
  let after: string | undefined;
  do {
    const page = await system
      .client('auditor')
      .keys({ limit: 200, ...(after === undefined ? {} : { after }) });
    for (const { key: id } of page.items) keys.add(id);
    after = page.next;
  } while (after !== undefined);
  expect(made.filter((id) => !keys.has(id))).toEqual([]);
  expect(keys.size).toBe(made.length + 1);
});
