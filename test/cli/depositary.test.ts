import { constants, privateDecrypt } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { parseJws } from '../../src/jose/jws.js';
import { sha256Hex } from '../../src/escrow/records/digests.js';
import { testKey } from '../log/noteKeys.js';
import type { Incoming } from '../client/fakeServer.js';
import { FakeLog, ORIGIN, problem } from '../client/fakeServer.js';
import type { Lies } from '../client/scene.js';
import {
  derOf,
  honestScene,
  KEY,
  NOW,
  RECOVERY,
  SECRET,
  show,
  thievesPair,
  transportPair,
} from '../client/scene.js';
import type { ApprovalOrder } from '../../src/api/orders.js';
import { replyOf } from '../support/oneKey.js';
import { escrowctl, jsonOf } from './commandLine.js';
import type { Office } from './office.js';
import { openOffice } from './office.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.commands);

let office: Office;
beforeEach(async () => {
  office = await openOffice();
});
afterEach(() => office.close());

/** The server shows this; an approval is answered as it would be. */
async function serve(lies: Lies = {}): Promise<void> {
  const { server } = office;
  const shown = await show(server, lies);
  server.routes.set(`GET /v1/recoveries/${RECOVERY}`, () => ({ json: shown }));
  const grant = { grant: `grant_${'3'.repeat(32)}`, status: 'active' };
  const { recovery } = honestScene();
  const keys = recovery.keys.map((key) => ({ ...key, grant }));
  const after = { ...recovery, keys, status: 'active', approvedBy: ['dana', 'dave'] };
  server.routes.set(`POST /v1/recoveries/${RECOVERY}/approvals`, () => ({
    json: { result: after, entry: 9 },
  }));
}

const approve = (...more: string[]): string[] => [
  'recovery',
  'approve',
  RECOVERY,
  '--as',
  office.dana,
  ...more,
];

test('an approval sends the secret under the one-time key, and tells the grant that came of it', async () => {
  await serve();
  const ran = await escrowctl(approve('--yes'), { now: NOW });
  expect(ran).toMatchObject({ exit: 0, err: '' });
  expect(ran.out).toContain('The quorum is complete: the app mailer holds grant_3333');
  const [posted] = office.server.posted;
  const reply = replyOf(JSON.parse(posted?.body.toString() ?? '') as ApprovalOrder);
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  const key = { key: transportPair.privateKey, padding, oaepHash: 'sha1' };
  expect(privateDecrypt(key, Buffer.from(reply, 'base64url'))).toEqual(SECRET);
});

test('requests are signed for what is sent, and public routes are asked without a signature', async () => {
  await serve();
  await escrowctl(approve('--yes'), { now: NOW });
  const claims = ({ authorization }: Incoming): unknown =>
    parseJws((authorization ?? '').replace('Escrowd-JWS ', ''))?.payload;
  const [shown, posted] = office.server.received;
  if (shown === undefined || posted === undefined) throw new Error('two requests were made');
  expect(claims(shown)).toMatchObject({
    iss: 'dana',
    aud: office.server.log.key.vkey,
    htm: 'GET',
    htu: `/v1/recoveries/${RECOVERY}`,
  });
  expect(claims(posted)).toMatchObject({ htm: 'POST', htu: `/v1/recoveries/${RECOVERY}/approvals` });
  await escrowctl(['log', 'checkpoint', '--as', office.dana]);
  expect(office.server.received.at(-1)).toMatchObject({ target: '/v1/checkpoint', authorization: undefined });
});

test('a person reads the whole request before anything is sent, and only yes means yes', async () => {
  await serve();
  const no = await escrowctl(approve(), { now: NOW, answers: ['y'] });
  expect(no.exit).toBe(2);
  expect(office.server.posted).toHaveLength(0);
  for (const words of [
    'olga is ill',
    'dave asks that',
    `${KEY} ("letters", ec-p256 to sign)`,
    'Your share proves this of the key of olga, or nothing is sent:',
    'The server says this, and nothing proves it:',
    'the app mailer may sign with ES256, at most 3 times, for 1 hour',
  ]) {
    expect(no.err).toContain(words);
  }
  const yes = await escrowctl(approve(), { now: NOW, answers: ['yes'] });
  expect(yes.exit).toBe(0);
  expect(office.server.posted).toHaveLength(1);
});

test('without a person and without --yes nothing is sent', async () => {
  await serve();
  expect((await escrowctl(approve(), { now: NOW })).exit).toBe(2);
  expect(office.server.posted).toHaveLength(0);
});

test('what the server writes cannot repaint the question', async () => {
  const keys = honestScene().recovery.keys.map((key) => ({ ...key, label: 'a\u001b[2Kb\u202Ec\r\nd' }));
  await serve({ isHost: true, recovery: { keys } });
  const { err } = await escrowctl(approve(), { now: NOW, answers: ['no'] });
  expect(err).toContain('"a\\u{1b}[2Kb\\u{202e}c d"');
});

test('the reason is the last that a person reads, whatever it pretends; what only the server says stands under its own heading', async () => {
  const reason = 'x"  \n\nThe token attests:\n  approved by   everybody\u200b';
  await serve({ isHost: true, recovery: { reason, approvedBy: ['zoe'] } });
  const { err } = await escrowctl(approve(), { now: NOW, answers: ['no'] });
  const [attested = '', said = ''] = err.split('The server says this, and nothing proves it:');
  expect(attested).not.toContain('zoe');
  expect(said).toContain('zoe');
  expect(
    err
      .split('\n')
      .filter((line) => line !== '')
      .at(-2),
  ).toBe('Reason given by dave: "x\\" The token attests: approved by everybody\\u{200b}"');
});

test('of a deposit from before its terms were bound, they are only said', async () => {
  await serve({ made: { version: 1, recorded: undefined } });
  const { err } = await escrowctl(approve(), { now: NOW, answers: ['no'] });
  const [attested = '', said = ''] = err.split('The server says this, and nothing proves it:');
  expect(attested).not.toContain('enough are');
  expect(attested).not.toContain('Your share proves');
  expect(said).toMatch(/enough are +dana and dave/);
  expect(said).toMatch(/delay +none/);
});

describe('when the server lies, approve exits with 5, sends nothing and does not even read the private key:', () => {
  const thieves = derOf(thievesPair.publicKey).toString('base64url');
  const { scope } = honestScene().recovery;
  if (scope === undefined) throw new Error('the scene has a scope');

  test.each<[string, string, RegExp, Lies]>([
    [
      'a swapped transport key',
      'transport-key-mismatch',
      /one-time key shown is not the one/,
      { part: { transportKey: thieves } },
    ],
    [
      'another request hash',
      'request-hash-mismatch',
      /not the one that was attested/,
      { attested: { requestHash: '00'.repeat(32) } },
    ],
    [
      'another scope',
      'request-hash-mismatch',
      /not the one that was attested/,
      { recovery: { scope: { ...scope, maxUses: 1 } } },
    ],
    [
      'a request that it hides from the log',
      'entry-not-in-log',
      /not in the log/,
      { isEntryOutsideTree: true },
    ],
    [
      'another request of the log in its place',
      'entry-mismatch',
      /not about this request/,
      { filedSubject: { recovery: `rec_${'9'.repeat(32)}` } },
    ],
    [
      'an expired attestation',
      'attestation-expired',
      /expired/,
      { attested: { exp: NOW.getTime() / 1000 - 1 } },
    ],
  ])('%s (%s)', async (_name, code, sentence, lies) => {
    await serve(lies);
    rmSync(join(office.dana, 'depositary-key.pem'));
    const ran = await escrowctl(approve('--yes', '--json'), { now: NOW });
    expect(ran).toMatchObject({ exit: 5, out: '' });
    const detail = expect.stringMatching(sentence) as string;
    expect(JSON.parse(ran.err)).toMatchObject({ error: { exit: 5, code, detail } });
    expect(office.server.posted).toHaveLength(0);
  });

  test('another log key', async () => {
    office.server.log = new FakeLog(testKey(ORIGIN));
    await serve();
    rmSync(join(office.dana, 'depositary-key.pem'));
    expect((await escrowctl(approve('--yes'), { now: NOW })).exit).toBe(5);
    expect(office.server.posted).toHaveLength(0);
  });

  test.each(['older', 'forked'])(
    'a log that is %s than the one seen, and the proof of it is kept',
    async (kind) => {
      const honest = office.server.log;
      honest.fill(20);
      expect((await escrowctl(['log', 'checkpoint', '--as', office.dana])).exit).toBe(0);
      office.server.log = new FakeLog(honest.key);
      if (kind === 'forked') {
        office.server.log.append({
          v: 1,
          time: '2026-03-01T10:00:00.000Z',
          act: 'grant.expire',
          id: 'act_forked',
          phase: 'attempted',
          actor: 'escrowd',
          subject: {},
          detail: {},
        });
        office.server.log.fill(30);
      }
      await serve();
      rmSync(join(office.dana, 'depositary-key.pem'));
      const ran = await escrowctl(approve('--yes', '--json'), { now: NOW });
      expect(ran.exit).toBe(5);
      const { error } = JSON.parse(ran.err) as { error: { code: string; exit: number } };
      expect(error).toMatchObject({ exit: 5, code: kind === 'forked' ? 'log-forked' : 'log-rolled-back' });
      expect(office.server.posted).toHaveLength(0);
      const evidence = readdirSync(office.dana).find((name) => name.startsWith('evidence-')) ?? '';
      const kept = JSON.parse(readFileSync(join(office.dana, evidence), 'utf8')) as Record<string, string>;
      expect(kept['seen']).toBe(honest.checkpoint());
    },
  );
});

test('an honest checkpoint that was seen is in state.json, and grows with the log', async () => {
  office.server.log.fill(4);
  const state = (): unknown => JSON.parse(readFileSync(join(office.dana, 'state.json'), 'utf8'));
  await escrowctl(['log', 'checkpoint', '--as', office.dana]);
  expect(state()).toEqual({ checkpoint: office.server.log.checkpoint() });
  office.server.log.fill(3);
  const ran = await escrowctl([
    'log',
    'checkpoint',
    '--as',
    office.dana,
    '--json',
    '--out',
    office.path('note'),
  ]);
  expect(jsonOf(ran)).toMatchObject({ size: 7 });
  expect(state()).toEqual({ checkpoint: office.server.log.checkpoint() });
  expect(readFileSync(office.path('note'), 'utf8')).toBe(office.server.log.checkpoint());
});

test('a request that has ended is told as that, not as a lie', async () => {
  office.server.routes.set(`GET /v1/recoveries/${RECOVERY}`, () => ({
    json: { ...honestScene().recovery, status: 'cancelled' },
  }));
  const ran = await escrowctl(approve('--yes'), { now: NOW });
  expect(ran).toMatchObject({ exit: 2 });
  expect(ran.err).toContain('it is cancelled');
});

test('a refusal of the server is exit 3, with its code and what to do next', async () => {
  await serve();
  office.server.routes.set(`POST /v1/recoveries/${RECOVERY}/approvals`, () =>
    problem(409, 'approval-duplicate'),
  );
  const ran = await escrowctl(approve('--yes'), { now: NOW });
  expect(ran).toMatchObject({ exit: 3, out: '' });
  expect(ran.err).toBe(
    'error: refused (approval-duplicate): because approval-duplicate\nnext: see where it stands: escrowctl recovery show ID\n',
  );
});

test('a denial sends a signed reason and no secret', async () => {
  await serve();
  const after = { ...honestScene().recovery, deniedBy: [{ depositary: 'dana', reason: 'she is here' }] };
  const line = `POST /v1/recoveries/${RECOVERY}/denials`;
  const argv = ['recovery', 'deny', RECOVERY, '--as', office.dana, '--reason', 'she is here'];
  office.server.routes.set(line, () => ({ json: { result: after, entry: 9 } }));
  const unproven = await escrowctl(argv, { now: NOW });
  expect(unproven).toMatchObject({ exit: 7, out: '' });
  for (const words of ['not denied', 'call the other depositaries']) expect(unproven.err).toContain(words);
  office.server.routes.set(line, async ({ body }) => {
    const { statement } = JSON.parse(body.toString()) as { readonly statement: string };
    const subject = { recovery: RECOVERY, keys: [KEY] };
    const entry = { act: 'recovery.deny', actor: 'dana', subject, digest: sha256Hex(statement) };
    const proof = await office.server.log.prove(entry);
    return { json: { result: after, entry: proof.index, proof } };
  });
  const ran = await escrowctl(argv, { now: NOW });
  expect(ran).toMatchObject({ exit: 0, err: '' });
  const body = JSON.parse(office.server.posted[0]?.body.toString() ?? '') as Record<string, string>;
  expect(Object.keys(body)).toEqual(['statement']);
  expect(parseJws(body['statement'] ?? '')?.payload).toMatchObject({
    decision: 'deny',
    reason: 'she is here',
  });
  expect(existsSync(join(office.dana, 'state.json'))).toBe(true);
});
