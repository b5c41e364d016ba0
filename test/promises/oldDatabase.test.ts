import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import pkcs11 from 'pkcs11js';
import { exitCodeOf } from '../../src/daemon/exitCodes.js';
import type { Anchor } from '../../src/log/anchor.js';
import { decodeAnchor } from '../../src/log/anchor.js';
import { decodeEntry } from '../../src/log/entry/entry.js';
import { createOperatorLog } from '../../src/daemon/operatorLog.js';
import { LogDamaged } from '../../src/postgres/faults.js';
import { acceptLoss } from '../../src/token/ceremony/acceptLoss.js';
import { makeKey } from '../support/life.js';
import { readBytes } from '../../src/token/objects/objects.js';
import { openRaw } from '../support/rawToken.js';
import type { System } from '../support/system.js';
import { makeSystem } from '../support/system.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.system);

/*
 * Whoever has the database's host puts back a copy of last week: the log in it is whole, and its checkpoint is signed.
 * Only the token, which was not put back with it, knows that there was more.
 */
let system: System;

beforeAll(async () => {
  const operatorLog = createOperatorLog('error', true);
  operatorLog.silent = true; // it is told of each of these
  system = await makeSystem({ operatorLog });
});
afterAll(() => system.remove());

const database = (): string => join(system.directory, 'postgres');
const copy = (): string => join(system.directory, 'copy');
const put = (from: string, to: string): void => {
  rmSync(to, { recursive: true, force: true });
  execFileSync('cp', ['-a', from, to]);
};

/** The anchors that the token shows, newest first. */
function anchors(who: 'user' | 'as is' = 'user'): readonly Anchor[] {
  const raw = openRaw(system.hsm, who);
  try {
    const found = raw.find([
      { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_DATA },
      { type: pkcs11.CKA_LABEL, value: 'anchor:log' },
    ]);
    return found
      .flatMap((handle) => readBytes(raw.driver, raw.session, handle, [pkcs11.CKA_VALUE]))
      .flatMap((bytes) => decodeAnchor(bytes) ?? [])
      .sort((a, b) => b.size - a.size);
  } finally {
    raw.close();
  }
}

async function started(): Promise<unknown> {
  return system.startDaemon().catch((error: unknown) => error);
}

test('an old copy of the database is refused, with both sizes and what to do; accepted by people, it is in the log', async () => {
  await makeKey(system, { spec: 'ec-p256', use: 'sign' });
  await system.stopDaemon();
  put(database(), copy());
  const before = anchors()[0]?.size ?? 0;
  expect(before).toBeGreaterThan(0);

  await system.startDaemon();
  const { key } = await makeKey(system, { spec: 'ec-p256', use: 'sign' });
  await system.stopDaemon();
  const after = anchors()[0]?.size ?? 0;
  expect(after).toBeGreaterThan(before);
  put(database(), join(system.directory, 'newest'));

  put(copy(), database());
  const refusal = await started();
  expect(refusal).toBeInstanceOf(LogDamaged);
  expect((refusal as LogDamaged).message).toContain(`is over ${before} entries`);
  expect((refusal as LogDamaged).message).toContain(`one over ${after}`);
  expect((refusal as LogDamaged).message).toContain('docs/operations.md');
  expect(exitCodeOf(refusal)).toBe(8);

  // The newest copy is taken as ever.
  put(join(system.directory, 'newest'), database());
  expect(await started()).toBeUndefined();
  await system.client('owner').key(key);
  await system.stopDaemon();

  put(copy(), database());
  const record = await acceptLoss({
    ...system.hsm.place,
    userPin: Buffer.from(system.hsm.userPin),
    now: new Date(),
    before: { events: [], checkValues: new Map(), fingerprints: new Map() },
  });
  expect(record.events[0]?.what).toContain(`over ${after} entries`);
  expect(await started()).toBeUndefined();
  await expect(system.client('owner').key(key)).rejects.toMatchObject({ code: 'key-unknown' });
  const entries = await system.client('auditor').entries(before, 100);
  const losses = entries
    .map(({ entry }) => decodeEntry(Buffer.from(entry)))
    .filter(({ act }) => act === 'log.loss');
  expect(losses.map(({ phase, detail }) => [phase, detail['size']])).toEqual([
    ['attempted', after],
    ['done', after],
  ]);
  await system.stopDaemon();
  expect(anchors()[0]?.lost).toBeUndefined();
  expect(await started()).toBeUndefined();
});

test('of the anchors in the token the newest and the one before it are kept, and nobody sees them without the PIN', async () => {
  await system.stopDaemon();
  expect(anchors()).toHaveLength(2);
  expect(anchors('as is')).toHaveLength(0);
});
