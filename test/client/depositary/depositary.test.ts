import { softwareKey } from '../../../src/client/identity/decryptionKey.js';
import { constants, generateKeyPairSync, privateDecrypt, verify } from 'node:crypto';

import { approve, believeRecovery, deny } from '../../../src/client/depositary/depositary.js';
import type { DueRecovery } from '../../../src/client/depositary/dueRecovery.ts';
import { believeDue } from '../../../src/client/depositary/intents.js';
import { requestInWords } from '../../../src/escrow/records/inWords.js';
import { NotBelieved } from '../../../src/client/errors.js';
import { parseJws } from '../../../src/jose/jws.js';
import { LogView } from '../../../src/client/log/logView.js';
import { signerOf } from '../../../src/client/identity/signingKey.js';
import type { RecoveryReply } from '../../../src/api/replies.js';
import { canonicalJson } from '../../../src/log/entry/canonical.js';
import { testKey } from '../../log/noteKeys.js';
import { replyOf } from '../../support/oneKey.js';
import { FakeLog, FakeServer, ORIGIN } from '../fakeServer.js';
import { TestMemory, rememberedGenerations, rememberedKeys } from '../memory.js';
import type { Lies } from '../scene.js';
import {
  depositaryPair,
  derOf,
  hexOf,
  honestScene,
  KEY,
  NOW,
  OTHER_KEY,
  RECOVERY,
  SECRET,
  share,
  show,
  thievesPair,
  transportPair,
  userPair,
} from '../scene.js';
import { rsaPair } from '../../support/rsaPairs.js';

const signing = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const dana = signerOf('dana', signing.privateKey);
let server: FakeServer;
let memory: TestMemory;

beforeEach(() => {
  // never listens: here the client's checks are called, and the log's proofs are read directly
  server = new FakeServer();
  memory = new TestMemory();
});

async function believe(shown: RecoveryReply, now = NOW): Promise<DueRecovery> {
  const log = new LogView({
    origin: ORIGIN,
    logKey: server.log.key.vkey,
    memory,
    consistency: async (oldSize, newSize) =>
      (await server.log.consistency(oldSize, newSize)).map((hash) => Buffer.from(hash, 'base64')),
  });
  const identityKey = server.identity.publicKey.export({ format: 'jwk' }) as Record<string, string>;
  const generations = rememberedGenerations();
  const trust = {
    origin: ORIGIN,
    identityKey,
    depositary: 'dana',
    log,
    now,
    generations,
    approvedKeys: rememberedKeys(),
  };
  return believeDue(await believeRecovery(shown, trust), dana, trust);
}

async function disbelief(shown: RecoveryReply, now?: Date): Promise<string> {
  try {
    await believe(shown, now);
  } catch (error) {
    if (error instanceof NotBelieved) return error.code;
    throw error;
  }
  return 'believed';
}

describe('an honest request', () => {
  test('is believed, and its checkpoint is remembered', async () => {
    const believed = await believe(await show(server));
    expect(believed.attested.requestHash).toBe(honestScene().attested['requestHash']);
    expect(memory.note).toBe(server.log.checkpoint());
  });

  test('is approved by the same secret, under the transport key', async () => {
    const believed = await believe(await show(server));
    const reply = replyOf(await approve(believed, dana, softwareKey(depositaryPair.privateKey), NOW));
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    const opened = privateDecrypt(
      { key: transportPair.privateKey, padding, oaepHash: 'sha1' },
      Buffer.from(reply, 'base64url'),
    );
    expect(opened).toEqual(SECRET);
  });

  test('a token that has OAEP with SHA-256 is answered in it', async () => {
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    const { publicEncrypt } = await import('node:crypto');
    const sealed = publicEncrypt({ key: depositaryPair.publicKey, padding, oaepHash: 'sha256' }, SECRET);
    const made = { share: sealed.toString('base64url') };
    const believed = await believe(await show(server, { made, share: { oaep: 'RSA-OAEP-256' } }));
    const reply = replyOf(await approve(believed, dana, softwareKey(depositaryPair.privateKey), NOW));
    const key = { key: transportPair.privateKey, padding, oaepHash: 'sha256' };
    expect(privateDecrypt(key, Buffer.from(reply, 'base64url'))).toEqual(SECRET);
  });

  test('the approval states what was checked, in the form that the server expects, and counts as long as the request lets it', async () => {
    const believed = await believe(await show(server));
    const approval = await approve(believed, dana, softwareKey(depositaryPair.privateKey), NOW);
    const { statement } = approval;
    const jws = parseJws(statement);
    const { attested } = honestScene();
    expect(jws?.header).toEqual({ typ: 'escrowd-approval+jwt', alg: 'ES256', kid: dana.kid });
    expect(jws?.payload).toEqual({
      iss: 'dana',
      aud: server.log.key.vkey,
      iat: NOW.getTime() / 1000,
      exp: NOW.getTime() / 1000 + 7200,
      decision: 'approve',
      recovery: RECOVERY,
      requestHash: attested['requestHash'],
      keys: [KEY],
      purpose: 'operate',
      scope: attested['scope'],
      transport: attested['transport'],
      replies: hexOf(canonicalJson({ [KEY]: hexOf(Buffer.from(replyOf(approval), 'base64url')) })),
      checkpoint: { size: 7, root: server.log.checkpoint().split('\n')[2] },
    });
    const input = statement.slice(0, statement.lastIndexOf('.'));
    const key = { key: signing.publicKey, dsaEncoding: 'ieee-p1363' as const };
    expect(verify('sha256', Buffer.from(input), key, jws?.signature ?? Buffer.alloc(0))).toBe(true);
  });

  test('of several keys is approved as a whole: one statement names them all, with a reply for each share there is', async () => {
    const both = [KEY, OTHER_KEY];
    const approved = async (held: readonly string[]): Promise<readonly [unknown, readonly string[]]> => {
      const believed = await believe(await show(server, { keys: both, held }));
      expect(requestInWords(believed.attested)).toContain(
        `with each of these 2 keys as much: ${both.map((key) => `${key} ("letters", ec-p256 to sign)`).join(', ')}. The keys stay in the token.`,
      );
      const approval = await approve(believed, dana, softwareKey(depositaryPair.privateKey), NOW);
      return [parseJws(approval.statement)?.payload['keys'], approval.replies.map(({ key }) => key)];
    };
    expect(await approved(both)).toEqual([both, both]);
    // of keys that dana is no depositary of there is no share, and yet they are named
    expect(await approved([OTHER_KEY])).toEqual([both, [OTHER_KEY]]);
  });

  test('an approval counts for as long as its depositary says, and never longer than the request lets it', async () => {
    const believed = await believe(await show(server));
    const expOf = async (holdsMs: number): Promise<unknown> => {
      const approval = await approve(believed, dana, softwareKey(depositaryPair.privateKey), NOW, holdsMs);
      return parseJws(approval.statement)?.payload['exp'];
    };
    expect(await expOf(60_000)).toBe(NOW.getTime() / 1000 + 60);
    expect(await expOf(365 * 86_400_000)).toBe(NOW.getTime() / 1000 + 7200);
  });

  test('the words of a request are made of what is attested, not of what the server says in words', async () => {
    const { attested } = await believe(await show(server));
    expect(requestInWords(attested)).toBe(
      `dave asks that the app mailer may sign with ES256, at most 3 times, for 1 hour from activation, sending messages, no digests, on behalf of olga, with the key ${KEY} ("letters", ec-p256 to sign). The key stays in the token. It can be approved until 2026-03-02T12:00:00.000Z; an approval counts for at most 2 hours. Reason given by dave: "olga is ill"`,
    );
  });

  test('a denial is signed as well, with its reason and without a reply', async () => {
    const { statement } = await deny(await believe(await show(server)), dana, 'she is here', NOW);
    const payload = parseJws(statement)?.payload;
    expect(payload).toMatchObject({ decision: 'deny', reason: 'she is here', recovery: RECOVERY });
    expect(payload).not.toHaveProperty('replies');
  });

  test('a longer log that continues the one seen is believed, and remembered', async () => {
    server.log.fill(5);
    memory.note = server.log.checkpoint();
    await believe(await show(server));
    expect(memory.note).toBe(server.log.checkpoint(12));
  });
});

describe('a lying server is not believed:', () => {
  const thieves = derOf(thievesPair.publicKey);
  const publicHash = hexOf(derOf(userPair.publicKey));
  const both = [KEY, OTHER_KEY];
  const shownBoth = honestScene(both).recovery.keys;
  const newer = 'of a newer server' as never;
  const weak = derOf(rsaPair(2048).publicKey);
  const { scope } = honestScene().recovery;
  if (scope === undefined) throw new Error('the scene has a scope');

  const cases: readonly (readonly [name: string, code: string, lies: Lies])[] = [
    [
      'another transport key is shown',
      'transport-key-mismatch',
      { part: { transportKey: thieves.toString('base64url') } },
    ],
    [
      'a weak transport key is attested',
      'transport-key-weak',
      { part: { transportKey: weak.toString('base64url') }, attested: { transport: hexOf(weak) } },
    ],
    [
      'another transport key is shown and attested, but another was logged',
      'entry-mismatch',
      { part: { transportKey: thieves.toString('base64url') }, attested: { transport: hexOf(thieves) } },
    ],
    [
      'the request hash attested is another',
      'request-hash-mismatch',
      { attested: { requestHash: '00'.repeat(32) } },
    ],
    [
      'the request hash shown is another',
      'request-hash-mismatch',
      { part: { requestHash: '00'.repeat(32) } },
    ],
    ['another reason is shown', 'request-hash-mismatch', { recovery: { reason: 'routine' } }],
    ['another requester is shown', 'request-hash-mismatch', { recovery: { requester: 'dora' } }],
    ['a smaller scope is shown', 'request-hash-mismatch', { recovery: { scope: { ...scope, maxUses: 1 } } }],
    [
      'a shorter duration is shown',
      'request-hash-mismatch',
      { recovery: { scope: { ...scope, duration: 'PT1M' } } },
    ],
    [
      'a slower rate is shown',
      'request-hash-mismatch',
      { recovery: { scope: { ...scope, rate: { uses: 1, per: 'PT1H' } } } },
    ],
    [
      'a later start is shown',
      'request-hash-mismatch',
      { recovery: { scope: { ...scope, notBefore: '2026-03-05T12:00:00.000Z' } } },
    ],
    ['approvals are to count longer', 'request-hash-mismatch', { recovery: { approvalsHold: 'P9D' } }],
    ['another app is shown', 'request-hash-mismatch', { recovery: { scope: { ...scope, app: 'printer' } } }],
    [
      'another scope is attested',
      'scope-mismatch',
      { attested: { scope: { ...(honestScene().attested['scope'] as object), maxUses: 1000 } } },
    ],
    ['another purpose is attested', 'purpose-mismatch', { attested: { purpose: 'release' } }],
    ['another key is attested', 'key-mismatch', { attested: { keys: { [OTHER_KEY]: publicHash } } }],
    ['a key more is attested', 'key-mismatch', { attested: { keys: honestScene(both).attested['keys'] } }],
    ['a key less is attested', 'key-mismatch', { keys: both, attested: { keys: { [KEY]: publicHash } } }],
    ['a key more is shown', 'request-hash-mismatch', { recovery: { keys: shownBoth } }],
    ['a key less is shown', 'request-hash-mismatch', { keys: both, recovery: { keys: shownBoth.slice(1) } }],
    ['another key is shown', 'request-hash-mismatch', { recovery: { keys: shownBoth.slice(1) } }],
    [
      'a key is shown twice',
      'attestation-malformed',
      { recovery: { keys: [...shownBoth, ...shownBoth.slice(1)] } },
    ],
    [
      'the keys are shown in another order',
      'attestation-malformed',
      { keys: both, recovery: { keys: [...shownBoth].reverse() } },
    ],
    ['no key is shown', 'attestation-malformed', { recovery: { keys: [] } }],
    // words that a newer server may have: they are read, and nothing is decided by them
    [
      'a key is of a kind that is not known here',
      'attestation-malformed',
      { recovery: { keys: shownBoth.slice(0, 1).map((key) => ({ ...key, spec: newer })) } },
    ],
    [
      'a key is for a use that is not known here',
      'attestation-malformed',
      { recovery: { keys: shownBoth.slice(0, 1).map((key) => ({ ...key, use: newer })) } },
    ],
    [
      'a purpose is asked for that is not known here',
      'attestation-malformed',
      { recovery: { purpose: newer } },
    ],
    [
      'an operation is asked for that is not known here',
      'attestation-malformed',
      { recovery: { scope: { ...scope, operations: [newer] } } },
    ],
    [
      'the request has a version that is not known here',
      'attestation-malformed',
      { part: { requestVersion: 5 } },
    ],
    ['another public key is attested', 'key-mismatch', { attested: { keys: { [KEY]: '00'.repeat(32) } } }],
    [
      'another recovery is attested',
      'recovery-mismatch',
      { attested: { recovery: `rec_${'9'.repeat(32)}` } },
    ],
    ['another server attests', 'attestation-issuer-mismatch', { attested: { iss: 'elsewhere' } }],
    ['another expiry is attested', 'expiry-mismatch', { attested: { exp: NOW.getTime() / 1000 + 999_999 } }],
    ['the attestation has expired', 'attestation-expired', { attested: { exp: NOW.getTime() / 1000 - 1 } }],
    [
      'another key than the pinned one attests',
      'attestation-signature-invalid',
      { attestationKey: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey },
    ],
    ['the attestation is another kind of statement', 'attestation-malformed', { attestationType: 'JWT' }],
    ['the attestation is no JWS', 'attestation-malformed', { part: { attestation: 'a.b.c' } }],
    ['the entry is not in the tree', 'entry-not-in-log', { isEntryOutsideTree: true }],
    ['the entry is of another act', 'entry-mismatch', { filedAct: 'recovery.approve' }],
    ['the entry is about another recovery', 'entry-mismatch', { filedSubject: { recovery: 'rec_x' } }],
    ['the entry is about a key more', 'entry-mismatch', { filedSubject: { keys: both } }],
    ['the entry is about a key less', 'entry-mismatch', { keys: both, filedSubject: { keys: [KEY] } }],
    ['the entry is about another owner', 'entry-mismatch', { filedSubject: { owner: 'oscar' } }],
    ['the entry has another request hash', 'entry-mismatch', { filed: { requestHash: '00'.repeat(32) } }],
  ];
  test.each(cases)('%s (%s)', async (_name, code, lies) => {
    expect(await disbelief(await show(server, lies))).toBe(code);
  });

  test('a scope that is shown as another kind of request', async () => {
    const shown = await show(server, { recovery: { purpose: 'release', recipient: 'dana' } });
    expect(await disbelief(shown)).toBe('request-hash-mismatch');
  });

  test('the same request, when its time has passed', async () => {
    expect(await disbelief(await show(server), new Date('2026-03-02T12:00:00.000Z'))).toBe(
      'attestation-expired',
    );
  });

  test('a checkpoint that is signed with another key', async () => {
    const shown = await show(server);
    server.log = new FakeLog(testKey(ORIGIN));
    expect(await disbelief(shown)).toBe('checkpoint-invalid');
  });

  test('an older log than the one seen', async () => {
    const shown = await show(server);
    server.log.fill(10);
    memory.note = server.log.checkpoint();
    expect(await disbelief(shown)).toBe('log-rolled-back');
    expect(memory.evidence).toHaveLength(1);
  });

  test('a fork: a longer log that does not continue the one seen', async () => {
    const other = new FakeLog(server.log.key);
    other.append({
      v: 1,
      time: '2026-03-01T10:00:00.000Z',
      act: 'grant.expire',
      id: 'act_other',
      phase: 'attempted',
      actor: 'escrowd',
      subject: {},
      detail: {},
    });
    memory.note = other.checkpoint();
    expect(await disbelief(await show(server))).toBe('log-forked');
    expect(memory.evidence[0]).toMatchObject({ code: 'log-forked', seen: other.checkpoint() });
    expect(memory.note).toBe(other.checkpoint());
  });

  test('a fork of the same size', async () => {
    const shown = await show(server);
    const other = new FakeLog(server.log.key);
    other.fill(6);
    memory.note = other.checkpoint();
    expect(await disbelief(shown)).toBe('log-forked');
  });

  test('a share that is not for this key', async () => {
    const believed = await believe(await show(server));
    await expect(approve(believed, dana, softwareKey(thievesPair.privateKey), NOW)).rejects.toMatchObject({
      code: 'share-malformed',
    });
  });

  test('a share that holds anything but 32 bytes', async () => {
    const made = { share: share(Buffer.from('a password')) };
    const believed = await believe(await show(server, { made }));
    await expect(approve(believed, dana, softwareKey(depositaryPair.privateKey), NOW)).rejects.toMatchObject({
      code: 'share-malformed',
    });
  });

  test.each([
    ['of a key that the request is not for', [OTHER_KEY]],
    ['of one key twice', [KEY, KEY]],
    ['of a key more', [KEY, OTHER_KEY]],
  ])('shares %s', async (_what, held) => {
    expect(await disbelief(await show(server, { held }))).toBe('share-malformed');
  });

  test('no share at all', async () => {
    const { forDepositary, ...rest } = await show(server);
    expect(forDepositary).toBeDefined();
    expect(await disbelief(rest)).toBe('attestation-missing');
  });
});

test('an approval cannot be made of a request that was not checked', async () => {
  const shown = await show(server);
  const unchecked = { shown };
  // @ts-expect-error: only believeDue makes a DueRecovery
  expect(() => approve(unchecked, dana, softwareKey(depositaryPair.privateKey), NOW)).toBeDefined();
});
