import { generateKeyPairSync, verify } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { HttpsConnection } from '../../src/client/connection.js';
import { EscrowClient } from '../../src/client/escrowClient.js';
import { signerOf } from '../../src/client/identity/signingKey.js';
import { ServerProblem } from '../../src/client/errors.js';
import type { KeyReply } from '../../src/api/replies.js';
import { escrowctl } from '../cli/commandLine.js';
import { selfSigned, thumbprintOf } from '../support/certificate.js';
import { agree, askForRelease, makeKey } from '../support/life.js';
import { grantOf } from '../support/oneKey.js';
import type { PolicyDraft } from '../support/policies.js';
import { applyUnplanned, documentInForce, putInForce, withPrincipal } from '../support/policies.js';
import type { System } from '../support/system.js';
import { makeSystem, RULES } from '../support/system.js';
import { filed, toOperate } from './recoveries.js';
import { entriesFrom, expectLogHolds } from './wholeLog.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.system);

/*
 * Directory and rules while they change: each test puts a policy in force and takes it back, so that the next one finds
 * what it knows.
 */
let system: System;
let usual: PolicyDraft;
let key: KeyReply;

beforeAll(async () => {
  system = await makeSystem();
  usual = await documentInForce(system);
  key = await makeKey(system, { spec: 'ec-p256', use: 'sign' });
});
afterEach(async () => {
  const inForce = await documentInForce(system);
  const gone = usual.principals.filter(({ id }) => !inForce.principals.some((one) => one.id === id));
  const { version } = await system.client('admin-1').policy();
  const back = gone.reduce((draft, { id }) => withPrincipal(draft, id, { returns: version - 1 }), usual);
  if (JSON.stringify(inForce) !== JSON.stringify(back)) await putInForce(system, back);
  await expectLogHolds(system);
});
afterAll(() => system.remove());

const code = (doing: Promise<unknown>): Promise<string> =>
  doing.then(
    () => 'done',
    (error: unknown) => (error instanceof ServerProblem ? error.code : String(error)),
  );

test('no single administrator changes rules, roles, keys or who administers', async () => {
  const attempts: readonly PolicyDraft[] = [
    { ...usual, rules: [] },
    withPrincipal(usual, 'app', { roles: ['app', 'depositary'] }),
    withPrincipal(usual, 'manager', { depositaryKey: 'ab'.repeat(32) }),
    withPrincipal(usual, 'owner', { roles: ['owner', 'admin'] }),
  ];
  for (const draft of attempts) {
    expect(await code(putInForce(system, draft, ['admin-1']))).toBe('policy-signatures-missing');
    expect(await code(putInForce(system, draft, ['admin-1', 'admin-1']))).toBe('policy-signatures-missing');
    expect(await code(putInForce(system, draft, ['admin-1', 'manager']))).toBe('policy-signatures-missing');
  }
  expect(await documentInForce(system)).toEqual(usual);
});

test('a quorum of three is taken back by three, not by two', async () => {
  const three = {
    ...withPrincipal(usual, 'auditor', { roles: ['auditor', 'admin'] }),
    administration: { quorum: 3, floor: 3 },
  };
  await putInForce(system, three);
  expect((await system.client('auditor').standing()).signersNeeded).toBe(3);
  expect(await code(putInForce(system, usual))).toBe('policy-signatures-missing');
  expect(await code(putInForce(system, { ...three, administration: { quorum: 2, floor: 3 } }))).toMatch(
    /below its floor/,
  );
  await putInForce(system, usual, ['admin-1', 'admin-2', 'auditor']);
});

test('a rotated key holds at once: the old one signs nothing more, the new one does', async () => {
  const fresh = signerOf('manager', generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);
  const { changes } = await putInForce(system, withPrincipal(usual, 'manager', { keys: [fresh.publicJwk] }));
  expect(changes).toContain(
    '~ manager: every signing key is another: make sure that it is the same principal',
  );
  expect(await code(system.client('manager').keys())).toBe('caller-unknown');
  const ca = readFileSync(join(system.directory, 'server.crt'), 'utf8');
  const connection = new HttpsConnection({ url: system.url(), ca, deadlineMs: 30_000 });
  const client = new EscrowClient({
    connection,
    signer: fresh,
    logKey: system.identity('manager').pins.logKey,
    now: () => new Date(),
  });
  expect(await code(client.keys())).toBe('done');
  client.close();
});

test('an approval by a depositary whose keys were removed meanwhile is refused', async () => {
  const { recovery } = await filed(system, toOperate(key));
  const approval = await system.makeApproval('officer-1', recovery);
  const { warnings } = await putInForce(system, withPrincipal(usual, 'officer-1', { keys: [] }));
  expect(warnings.join('\n')).toMatch(/1 deposit to operate would be left with one quorum/);
  expect(await code(system.client('officer-1').sendApproval(recovery, approval))).toBe('caller-unknown');
});

test('a release is refused while the recipient has another key than they approved with, or none, and goes on with that key', async () => {
  const secret = await makeKey(system, { spec: 'aes-256', use: 'decrypt' });
  const { recovery } = await askForRelease(system, secret.key);
  expect((await agree(system, recovery)).status).toBe('approved');
  for (const depositaryKey of ['cd'.repeat(32), undefined]) {
    await putInForce(system, withPrincipal(usual, 'manager', { depositaryKey }));
    expect(await code(system.client('manager').release(recovery))).toBe('depositary-not-enrolled');
    expect((await system.client('manager').recovery(recovery)).status).toBe('approved');
  }
  await putInForce(system, usual);
  expect(await code(system.client('manager').release(recovery))).toBe('done');
});

test('a rule that changes while a request is pending changes nothing for it: the terms of its deposit hold', async () => {
  const { recovery } = await filed(system, toOperate(key, { maxUses: 50 }));
  await system.approve('manager', recovery);
  const [signing, ...others] = RULES as readonly { readonly name: string }[];
  const stricter = {
    ...signing,
    depositaries: { allOf: ['manager', 'role:security-officer'] },
    operate: { operations: ['sign'], maxUses: 1, maxDuration: 'PT1H' },
  };
  await putInForce(system, { ...usual, rules: [stricter, ...others] });
  const approved = await system.approve('officer-1', recovery);
  expect(approved.status).toBe('active');
  expect((await system.client('app').grant(grantOf(approved))).scope.maxUses).toBe(50);
  // and a key that is made now is under the new one
  const later = await makeKey(system, { spec: 'ec-p256', use: 'sign' });
  expect(later.purposes[0]?.quorums).toEqual([['manager', 'officer-1', 'officer-2']]);
});

test('an app signs by its client certificate until the policy unbinds it, and the log says which way it was known', async () => {
  const certificate = selfSigned();
  const thumbprint = thumbprintOf(certificate.cert);
  const [cert, keyFile] = [join(system.directory, 'app.crt'), join(system.directory, 'app.key')];
  writeFileSync(cert, certificate.cert);
  writeFileSync(keyFile, certificate.key, { mode: 0o600 });
  const { changes } = await putInForce(system, withPrincipal(usual, 'app', { certificates: [thumbprint] }));
  expect(changes).toEqual([`~ app: gets the client certificate ${thumbprint}`]);

  const { recovery } = await filed(system, toOperate(key, { maxUses: 5 }));
  await system.approve('manager', recovery);
  const grant = grantOf(await system.approve('officer-1', recovery));
  const message = Buffer.from('a letter');
  const order = { mechanism: 'ES256', messages: [message.toString('base64url')] } as const;
  const app = system.identity('app');
  const client = await app.connect({ deadlineMs: 30_000, now: () => new Date(), certificate });
  try {
    const { result, entry } = await client.sign(grant, order);
    const signature = Buffer.from(result.signatures[0] ?? '', 'base64url');
    const publicKey = { key: key.publicKeyPem ?? '', dsaEncoding: 'ieee-p1363' } as const;
    expect(verify('sha256', message, publicKey, signature)).toBe(true);
    const byCertificate = (await entriesFrom(system, entry - 1))[0];
    expect(byCertificate).toMatchObject({ v: 2, act: 'grant.sign', actor: 'app', certificate: thumbprint });
    // what is not the use of a grant is signed, on the same connection
    expect((await client.grant(grant)).used).toBe(1);
    const signed = await system.client('app').sign(grant, order);
    expect((await entriesFrom(system, signed.entry - 1))[0]).toHaveProperty('request');

    writeFileSync(join(system.directory, 'letter.txt'), message);
    const ran = await escrowctl([
      ...['sign', join(system.directory, 'letter.txt'), '--grant', grant, '--mechanism', 'ES256', '--json'],
      ...['--as', app.directory, '--client-cert', cert, '--client-key', keyFile],
    ]);
    expect(ran).toMatchObject({ exit: 0 });
    const ofCommand = JSON.parse(ran.out) as { readonly entry: number };
    expect((await entriesFrom(system, ofCommand.entry - 1))[0]).toMatchObject({ certificate: thumbprint });
    await expectLogHolds(system);

    await putInForce(system, usual);
    expect(await code(client.sign(grant, order))).toBe('caller-unknown');
    expect((await system.client('app').grant(grant)).used).toBe(3);
  } finally {
    client.close();
  }
});

test('a group that is renamed for its members leaves rules with nobody, not with somebody else', async () => {
  const renamed = ['officer-1', 'officer-2'].reduce(
    (draft, id) => withPrincipal(draft, id, { roles: ['depositary', 'guard'] }),
    usual,
  );
  const { warnings } = await putInForce(system, renamed);
  expect(warnings.join('\n')).toMatch(/no quorum is possible: .*has the role security-officer/);
  expect(await code(makeKey(system, { spec: 'ec-p256', use: 'sign' }))).toBe('quorum-impossible');
});

test('shares go to the key that the directory lists, and to no other that is enrolled', async () => {
  for (const depositaryKey of ['ab'.repeat(32), undefined]) {
    await putInForce(system, withPrincipal(usual, 'officer-2', { depositaryKey }));
    expect(await code(makeKey(system, { spec: 'ec-p256', use: 'sign' }))).toBe('depositary-not-enrolled');
    const said = await system.client('admin-1').choice({ owner: 'owner', spec: 'ec-p256', use: 'sign' });
    expect(said.missing.join('\n')).toMatch(/^officer-2 /);
  }
});

test('an id that was removed is not given to another; it comes back as the same, when the plan says so', async () => {
  await putInForce(system, withPrincipal(usual, 'other-app', undefined));
  const { version } = await system.client('admin-1').policy();
  const other = signerOf('other-app', generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);
  const reused = withPrincipal(usual, 'other-app', { keys: [other.publicJwk] });
  // the plan says so already, and who skips it gains nothing
  expect(await code(system.client('auditor').planPolicy(reused))).toBe('policy-invalid');
  expect(await code(putInForce(system, reused))).toBe('policy-invalid');
  expect(await code(applyUnplanned(system, reused))).toBe('policy-invalid');
  await putInForce(system, withPrincipal(usual, 'other-app', { returns: version - 1 }));
});

test('every version is listed with its hash, its signers and its time', async () => {
  const { version, hash } = await system.client('auditor').policy();
  const { items } = await system.client('auditor').policyHistory();
  expect(items).toHaveLength(version);
  expect(items[0]).toMatchObject({ version, hash, signers: ['admin-1', 'admin-2'] });
  expect(Date.parse(items[0]?.appliedAt ?? '')).toBeLessThanOrEqual(Date.now());
  const newest = await system.client('auditor').policyHistory({ limit: 1 });
  expect(newest.items).toEqual(items.slice(0, 1));
  const second = await system.client('auditor').policyHistory({ limit: 1, after: newest.next ?? '' });
  expect(second.items).toEqual(items.slice(1, 2));
});

test('auditors are shown every document page by page, oldest first, and never more than 20 at once', async () => {
  const auditor = system.client('auditor');
  const { version } = await auditor.policy();
  const seen: number[] = [];
  let after: string | undefined;
  do {
    const page = await auditor.documents({ limit: 2, ...(after === undefined ? {} : { after }) });
    seen.push(...page.items.map((item) => item.version));
    after = page.next;
  } while (after !== undefined);
  expect(seen).toEqual(Array.from({ length: version }, (_, at) => at + 1));
  expect(await code(auditor.documents({ limit: 21 }))).toBe('request-malformed');
});
