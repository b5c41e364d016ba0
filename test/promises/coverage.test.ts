import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { ServerProblem } from '../../src/client/errors.js';
import type { CoveredKeyReply, KeyReply } from '../../src/api/replies.js';
import type { Ran } from '../cli/commandLine.js';
import { escrowctl, jsonOf } from '../cli/commandLine.js';
import { recomputedCoverage, saidCoverage } from '../escrow/independentCoverage.js';
import { makeKey } from '../support/life.js';
import { LIMITS_MS } from '../support/limits.js';
import type { PolicyDraft } from '../support/policies.js';
import { applyUnplanned, documentInForce, withPrincipal } from '../support/policies.js';
import type { PersonName, System } from '../support/system.js';
import { makeSystem, RULES } from '../support/system.js';
import { granted, toRelease } from './recoveries.js';
import { expectLogHolds } from './wholeLog.js';

jest.setTimeout(LIMITS_MS.system);

/*
 * Promise 11, as far as it is built: which keys could be brought back is reported key by key before it is needed, and nobody loses
 * one by a policy without saying so.
 */
let system: System;
let usual: PolicyDraft;
let signing: KeyReply;
let decrypting: KeyReply;
let exports = 0;

beforeAll(async () => {
  system = await makeSystem();
  // administrators may ask for keys: somebody is left who can
  await system.applyRules(
    RULES.map((rule) => ({ ...(rule as object), requesters: ['depositary', 'admin'] })),
  );
  usual = await documentInForce(system);
  signing = await makeKey(system, { spec: 'ec-p256', use: 'sign' });
  decrypting = await makeKey(system, { spec: 'rsa-2048', use: 'decrypt' });
});
afterAll(() => system.remove());

function run(by: PersonName, ...argv: readonly string[]): Promise<Ran> {
  return escrowctl([...argv, '--as', join(system.directory, 'people', by)]);
}

/** The directory without these. */
function without(...gone: readonly string[]): PolicyDraft {
  return gone.reduce((draft, id) => withPrincipal(draft, id, undefined), usual);
}

/** Writes a policy file that two administrators have signed; what `apply` is told of it. */
async function signedByBoth(draft: PolicyDraft): Promise<readonly string[]> {
  const file = join(system.directory, 'next.yaml');
  writeFileSync(file, JSON.stringify(draft));
  const signatures = await Promise.all(
    (['admin-1', 'admin-2'] as const).map(async (id) => {
      const out = join(system.directory, `${id}.jws`);
      expect((await run(id, 'plan', '-f', file, '--sign', out, '--yes', '--force')).exit).toBe(0);
      return ['--signature', out];
    }),
  );
  return ['-f', file, ...signatures.flat()];
}

/** What coverage says is what somebody works out who has the auditor's export, and what the token has enrolled, alone. */
async function expectAsExported(): Promise<readonly CoveredKeyReply[]> {
  const said = jsonOf(await run('auditor', 'coverage', '--json'));
  exports += 1;
  const file = join(system.directory, `export-${exports}.ndjson`);
  await expectLogHolds(system);
  expect((await run('auditor', 'log', 'export', file)).exit).toBe(0);
  const lines = readFileSync(file, 'utf8').trim().split('\n');
  const parsed = lines.map((line) => JSON.parse(line) as { act?: string; document?: PolicyDraft });
  const entries = lines.filter((_line, at) => parsed[at]?.act !== undefined);
  const directory = parsed.flatMap(({ document }) => document ?? []).at(-1)?.principals ?? [];
  const { enrolled } = await system.client('auditor').standing();
  const fingerprints = Object.fromEntries(enrolled.map(({ id, fingerprint }) => [id, fingerprint]));
  const keys = said['keys'] as readonly CoveredKeyReply[];
  expect(saidCoverage(keys)).toEqual(recomputedCoverage(entries, directory as never, fingerprints));
  return keys;
}

test('while everybody is there anybody can be spared, and the exit is 0; a use is seen', async () => {
  const grant = await granted(system, signing);
  await system.client('app').sign(grant.grant, {
    mechanism: 'ES256',
    messages: [Buffer.from('an invoice').toString('base64url')],
  });
  const keys = await expectAsExported();
  expect(keys).toMatchObject([
    { key: decrypting.key, coverage: 'covered', isAsLogged: true, department: 'finance' },
    { key: signing.key, coverage: 'covered', isAsLogged: true, department: 'finance' },
  ]);
  expect(keys.map(({ lastUsedAt }) => lastUsedAt !== undefined)).toEqual([false, true]);
  expect((await run('auditor', 'coverage')).exit).toBe(0);
  const mine = jsonOf(await run('other-owner', 'coverage', '--json'));
  expect(mine['keys']).toEqual([]);
  expect((await run('manager', 'coverage')).exit).toBe(3);
});

test('a depositary leaves: the keys are left with one quorum, which is said before and after', async () => {
  const order = await signedByBoth(without('officer-2'));
  const applied = await run('admin-1', 'apply', ...order);
  expect(applied.exit).toBe(0);
  expect(applied.out).toContain('Keys that would be left with one quorum: 2');
  expect(await expectAsExported()).toMatchObject([{ coverage: 'one-quorum' }, { coverage: 'one-quorum' }]);
  const shown = await run('owner', 'key', 'show', signing.key);
  expect(shown.out).toContain('manager and officer-2 (cannot agree)');
  expect(shown.out).toMatch(/not counted +officer-2 is not in the directory/);
});

test('two administrators remove all who could agree: nothing is applied before they say how many keys that loses', async () => {
  const order = await signedByBoth(without('officer-2', 'officer-1', 'manager'));
  const { version } = await system.client('admin-1').policy();
  for (const more of [[], ['--accept-unrecoverable', '1'], ['--accept-unrecoverable', '3']]) {
    const ran = await run('admin-1', 'apply', ...order, ...more);
    expect(ran.exit).toBe(8);
    for (const { key } of [signing, decrypting]) expect(ran.out).toContain(key);
  }
  // a client that says nothing of it, or something else, is refused by the daemon
  for (const accepted of [0, 1, 3]) {
    await expect(
      applyUnplanned(system, without('officer-2', 'officer-1', 'manager'), accepted),
    ).rejects.toMatchObject({
      code: 'unrecoverable-not-accepted',
      detail: `The policy would leave 2 keys without any live quorum that have one now, and ${accepted} ${accepted === 1 ? 'was' : 'were'} accepted.`,
    });
  }
  expect((await system.client('admin-1').policy()).version).toBe(version);
  // a key that is made between plan and apply is counted: the number is not right any more
  const late = await makeKey(system, { spec: 'ec-p256', use: 'sign' });
  expect((await run('admin-1', 'apply', ...order, '--accept-unrecoverable', '2')).exit).toBe(8);
  expect((await run('admin-1', 'apply', ...order, '--accept-unrecoverable', '3')).exit).toBe(0);
  const covered = await run('auditor', 'coverage');
  expect(covered.exit).toBe(8);
  for (const { key } of [signing, decrypting, late]) expect(covered.out).toContain(key);
  expect(await expectAsExported()).toMatchObject([
    { coverage: 'lost' },
    { coverage: 'lost' },
    { coverage: 'lost' },
  ]);
});

test('a key that nobody can open is not asked for in vain: it is refused, with who is missing', async () => {
  const refusal = await system
    .client('admin-1')
    .requestRecovery(toRelease(decrypting))
    .then(
      () => undefined,
      (error: unknown) => error,
    );
  expect(refusal).toBeInstanceOf(ServerProblem);
  expect(refusal).toMatchObject({
    code: 'quorum-impossible',
    detail:
      `No quorum of ${decrypting.key} is left whose members could all agree: manager is not in the directory, ` +
      'officer-1 is not in the directory, officer-2 is not in the directory.',
  });
  const ran = await run(
    ...(['admin-1', 'recovery', 'request', decrypting.key, '--purpose', 'release'] as const),
    ...['--recipient', 'manager', '--valid-for', '1h', '--reason', 'lost'],
  );
  expect([ran.exit, ran.err.includes('quorum-impossible')]).toEqual([3, true]);
});

test('whom the policy lists again brings the keys back', async () => {
  const { version } = await system.client('admin-1').policy();
  // officer-2 has been gone for longer than the others
  const back = [
    { id: 'manager', returns: version - 1 },
    { id: 'officer-1', returns: version - 1 },
  ].reduce((draft, { id, returns }) => withPrincipal(draft, id, { returns }), without('officer-2'));
  expect((await run('admin-1', 'apply', ...(await signedByBoth(back)))).exit).toBe(0);
  expect((await run('auditor', 'coverage')).exit).toBe(0);
  const { result } = await system.client('manager').requestRecovery(toRelease(decrypting));
  expect(result.keys).toMatchObject([{ quorumsLeft: 1, unable: [{ depositary: 'officer-2' }] }]);
  await expectLogHolds(system);
});

test('a key that is sealed anew is counted with those whom it is sealed to', async () => {
  const depositaries = { allOf: ['person:manager', 'person:officer-1'] };
  const rules = RULES.map((rule) => ({
    ...(rule as object),
    depositaries,
    requesters: ['depositary', 'admin'],
  }));
  const next = { ...(await documentInForce(system)), rules };
  expect((await run('admin-1', 'apply', ...(await signedByBoth(next as PolicyDraft)))).exit).toBe(0);
  const asked = ['reseal', signing.key, '--reason', 'officer-2 has left', '--yes', '--json'];
  const { job } = jsonOf(await run('admin-1', ...asked));
  for (const by of ['manager', 'officer-1'] as const) {
    expect((await run(by, 'reseal', 'approve', String(job), '--yes')).exit).toBe(0);
  }
  const keys = await expectAsExported();
  expect(keys.find(({ key }) => key === signing.key)).toMatchObject({
    generation: 2,
    coverage: 'one-quorum',
    purposes: [{ quorums: 1, live: [['manager', 'officer-1']] }],
  });
  const { totals } = await system.client('auditor').coverage();
  expect(totals).toMatchObject({ keys: keys.length, lost: 0 });
  await expectLogHolds(system);
});
