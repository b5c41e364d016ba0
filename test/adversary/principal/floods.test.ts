import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { verifyExport } from '../../../src/audit/verifyExport.js';
import { DEFAULT_OPEN_REQUESTS, OpenRequests } from '../../../src/escrow/rules/openRequests.js';
import { noticesOf } from '../../../src/escrow/notices/whoIsTold.js';
import { COUNTED_FOR_MS } from '../../../src/escrow/ledger/refusals.js';
import { documentHash } from '../../../src/log/export/format.js';
import type { Json } from '../../../src/log/entry/canonical.js';
import type { Entry } from '../../../src/log/entry/entry.js';
import { encodeEntry } from '../../../src/log/entry/entry.js';
import type { KeyId, PrincipalId } from '../../../src/escrow/records/ids.js';
import type { Recovery } from '../../../src/escrow/records/recovery.js';
import { problemCode } from '../../http/apiClient.js';
import { NOW, ORIGIN, signedRequest } from '../../http/identities.js';
import { PEOPLE, policyDocument } from '../../http/people.js';
import type { Running } from '../../http/runningServer.js';
import { startServer } from '../../http/runningServer.js';
import { GRANT, KEY, newWorld, RECOVERY, RECOVERY_RECORD } from '../../http/world.js';
import { bytesOf, exportLinesOf } from '../../log/exportText.js';
import { testKey } from '../../log/noteKeys.js';

/*
 * Somebody whom the directory lists, and who may do nothing, asks as often as they can.
 */

const { olga, oscar, mailer, dave } = PEOPLE;
const BURST = 5;
const ASKED = 60;
const SIGN = `/v1/grants/${GRANT}/sign`;
const OTHER = `/v1/grants/grant_${'8'.repeat(32)}/sign`;
/** A grant of olga's, which dave has no part in as an app: he is refused. */
const body = { mechanism: 'ES256', messages: ['aGVsbG8'] };

let running: Running;
afterEach(() => running.stop());

async function flood(budget = { burst: BURST, perMinute: 0 }, targets = [SIGN]): Promise<void> {
  running = await startServer({}, newWorld(undefined, budget));
  for (let at = 0; at < ASKED; at += 1) {
    const target = targets[at % targets.length] ?? SIGN;
    const answer = await running.client.call(dave, 'POST', target, body);
    expect([answer.status, problemCode(answer)]).toEqual([403, 'forbidden']);
  }
}
const entries = (): Entry[] => running.world.journal.entries;
const record = (forMs: number): Promise<number> => running.world.escrow.ledger.recordCounted(forMs);
const together = { 'grant.sign': { forbidden: ASKED - BURST } };

test('refusals beyond the budget are one entry, which says how many there were and of what', async () => {
  await flood();
  expect(entries()).toHaveLength(BURST);
  expect(await record(COUNTED_FOR_MS)).toBe(0);
  running.world.now = new Date(NOW.getTime() + COUNTED_FOR_MS);
  expect(await record(COUNTED_FOR_MS)).toBe(1);
  expect(await record(0)).toBe(0);
  expect(entries()).toHaveLength(BURST + 1);
  const [only] = entries().slice(BURST);
  expect(only).toMatchObject({ phase: 'denied', act: 'grant.sign', actor: 'dave', error: 'forbidden' });
  expect(only?.subject).toMatchObject({ grant: GRANT, key: KEY, owner: 'olga' });
  const since = NOW.toISOString();
  expect(only?.detail).toEqual({
    together: { refusals: ASKED - BURST, since, until: since, of: together },
  });
});

test('without a budget, which is the control, each is an entry and a mail', async () => {
  await flood({ burst: 1_000_000, perMinute: 0 });
  expect(entries()).toHaveLength(ASKED);
  expect(entries().flatMap((entry, at) => noticesOf(at, entry, undefined))).toHaveLength(ASKED);
});

test('the owner is told of them once, with how many there were', async () => {
  await flood();
  await record(0);
  const notices = entries().flatMap((entry, at) => noticesOf(at, entry, undefined));
  expect(notices).toHaveLength(BURST + 1);
  expect(notices.at(-1)).toMatchObject({ to: 'olga', kind: 'refused' });
  expect(notices.at(-1)?.text).toMatch(
    /dave was refused 55 times on your keys.*grant\.sign: forbidden, 55 times/,
  );
});

test('what is about one owner is not hidden behind what is about nobody', async () => {
  await flood(undefined, [OTHER, OTHER, OTHER, SIGN]);
  expect(await record(0)).toBe(2);
  const [nobody, ofOlga] = entries().slice(BURST);
  expect(nobody?.subject).toEqual({ grant: OTHER.split('/')[3] });
  expect(ofOlga?.subject).toMatchObject({ owner: 'olga' });
  const sum = [nobody, ofOlga].map((entry) => (entry?.detail['together'] as { refusals: number }).refusals);
  expect(sum).toEqual([41, 14]);
});

test('somebody else’s budget is their own, and a use that is granted takes nothing from any', async () => {
  await flood();
  expect(problemCode(await running.client.call(oscar, 'POST', SIGN, body))).toBe('forbidden');
  expect(entries().slice(BURST)).toMatchObject([{ actor: 'oscar', error: 'forbidden', detail: {} }]);
  expect((await running.client.call(mailer, 'POST', SIGN, body)).status).toBe(200);
});

test('a request that was refused and only counted is used up all the same', async () => {
  await flood();
  const sent = { method: 'POST', target: SIGN, body: JSON.stringify(body) };
  const authorization = `Escrowd-JWS ${signedRequest(dave, sent)}`;
  const headers = { authorization, 'content-type': 'application/json' };
  expect(problemCode(await running.client.send({ ...sent, headers }))).toBe('forbidden');
  expect(problemCode(await running.client.send({ ...sent, headers }))).toBe('request-replayed');
  await record(0);
  expect(entries().at(-1)?.detail).toMatchObject({
    together: { of: { 'grant.sign': { forbidden: ASKED - BURST + 1, 'request-replayed': 1 } } },
  });
});

test('what cannot be recorded stays counted, with what comes meanwhile', async () => {
  await flood();
  running.world.journal.broken = 'alone';
  await expect(record(0)).rejects.toMatchObject({ code: 'log-unavailable' });
  await running.client.call(dave, 'POST', SIGN, body);
  running.world.journal.broken = undefined;
  expect(await record(0)).toBe(1);
  expect(entries().at(-1)?.detail).toMatchObject({ together: { refusals: ASKED - BURST + 1 } });
});

test('the budget comes back with time', async () => {
  await flood({ burst: BURST, perMinute: 2 });
  running.world.now = new Date(NOW.getTime() + 60_000);
  for (let at = 0; at < 3; at += 1) {
    const authorization = `Escrowd-JWS ${signedRequest(dave, { method: 'POST', target: SIGN, body: '{}' }, { claims: { iat: NOW.getTime() / 1000 + 60, exp: NOW.getTime() / 1000 + 120 } })}`;
    const headers = { authorization, 'content-type': 'application/json' };
    await running.client.send({ method: 'POST', target: SIGN, body: '{}', headers });
  }
  expect(entries()).toHaveLength(BURST + 2);
});

test('the log with it is believed, counts them, and reports nothing', async () => {
  await flood();
  await record(0);
  const directory = mkdtempSync(join(tmpdir(), 'escrowd-flood-'));
  try {
    const logKey = testKey(ORIGIN);
    const document = policyDocument() as unknown as Json;
    const verify = async (all: readonly Entry[]): ReturnType<typeof verifyExport> => {
      const policyHash = documentHash(document);
      const common = {
        v: 1,
        time: NOW.toISOString(),
        act: 'policy.apply',
        id: 'act_p',
        actor: 'ann',
        subject: {},
      } as const;
      const asked = signedRequest(PEOPLE.ann, { method: 'POST', target: '/v1/policy' });
      const applied: readonly Entry[] = [
        { ...common, phase: 'attempted', request: asked, detail: { version: 1, policyHash } },
        { ...common, phase: 'done', detail: { version: 1, policyHash }, digest: 'ab'.repeat(32) },
      ];
      const lines = [...applied, ...all].map((entry) => Buffer.from(encodeEntry(entry)).toString());
      const path = join(directory, 'log');
      writeFileSync(path, bytesOf(exportLinesOf({ origin: ORIGIN, logKey, documents: [document], lines })));
      return verifyExport({ path, logKey: logKey.vkey });
    };
    const { verdict, requests } = await verify(entries());
    expect(verdict).toMatchObject({ ok: true, reported: { count: 0 } });
    expect(requests.together).toBe(ASKED - BURST);
    const more = entries().map((entry) => ({ ...entry, detail: { ...entry.detail, said: 'by whom?' } }));
    expect((await verify(more)).verdict).toMatchObject({ ok: true, reported: { count: BURST + 1 } });
  } finally {
    rmSync(directory, { recursive: true });
  }
});

describe('open requests', () => {
  const order = { keys: [KEY], reason: 'r', validFor: 'PT1H', purpose: 'release' };
  const open = (count: number, changes: Partial<Recovery> = {}): readonly Recovery[] =>
    Array.from({ length: count }, () => ({
      ...RECOVERY_RECORD,
      requester: 'dave' as PrincipalId,
      ...changes,
    }));
  const ask = async (
    records: readonly Recovery[],
    by: typeof dave | typeof PEOPLE.dana = dave,
  ): Promise<string> => {
    running = await startServer();
    running.world.store.openRecoveries = () => Promise.resolve(records);
    const answer = await running.client.call(by, 'POST', '/v1/recoveries', order);
    return answer.status === 201 ? 'filed' : problemCode(answer);
  };
  const { perKey, perRequester } = DEFAULT_OPEN_REQUESTS;
  const otherKey = { keys: [`key_${'9'.repeat(32)}` as KeyId] };

  test.each([
    ['of one key', open(perKey)],
    ['in all', open(perRequester, otherKey)],
  ])('are bounded %s, and the refusal makes no key pair', async (_what, records) => {
    expect(await ask(records)).toBe('recoveries-too-many');
    expect(entries()).toMatchObject([{ phase: 'denied', error: 'recoveries-too-many', actor: 'dave' }]);
  });

  test.each([
    ['those of somebody else', open(perRequester, { requester: 'dana' as PrincipalId })],
    ['those that are over by the clock', open(perRequester, { expiresAt: NOW })],
    ['those of other keys, for one key', open(perKey, otherKey)],
    ['one less than the limit', open(perKey - 1)],
  ])('are not counted beyond that: %s', async (_what, records) => {
    expect(await ask(records)).toBe('filed');
  });

  test('are bounded when they are filed all at once', async () => {
    const limits = new OpenRequests({ perRequester: 3, perKey: 3 });
    const filed: Recovery[] = [];
    const file = (): Promise<void> =>
      limits.file(dave.id as PrincipalId, [KEY], async (check) => {
        check(filed, NOW);
        await Promise.resolve();
      });
    const settled = await Promise.allSettled(Array.from({ length: 20 }, file));
    expect(settled.filter(({ status }) => status === 'fulfilled')).toHaveLength(3);
    // and none of them is counted for ever
    await file();
    running = await startServer();
  });
});

test('an owner whom only a refused body names is told nothing, and a refused request is about what its path names', async () => {
  running = await startServer();
  for (const target of [SIGN, OTHER, `/v1/recoveries/${RECOVERY}/approvals`, '/v1/keys', '/v1/recoveries']) {
    await running.client.call(mailer, 'POST', target, { ...body, owner: 'oscar', key: KEY, keys: 'x' });
  }
  const told = entries().flatMap((entry, at) => noticesOf(at, entry, undefined).map(({ to }) => to));
  expect(told.length).toBeGreaterThan(0);
  expect(new Set(told)).toEqual(new Set([olga.id]));
});
