import { constants, generateKeyPairSync, privateDecrypt, publicEncrypt } from 'node:crypto';

import { approve, believeRecovery } from '../../../src/client/depositary/depositary.js';
import type { DueRecovery } from '../../../src/client/depositary/dueRecovery.ts';
import { believeDue } from '../../../src/client/depositary/intents.js';
import type { DecryptionKey } from '../../../src/client/identity/decryptionKey.js';
import { openOaep, softwareKey } from '../../../src/client/identity/decryptionKey.js';
import { NotBelieved } from '../../../src/client/errors.js';
import { LogView } from '../../../src/client/log/logView.js';
import { signerOf } from '../../../src/client/identity/signingKey.js';
import type { RecoveryKeyReply, RecoveryReply, ShareReply } from '../../../src/api/replies.js';
import { type Entry, decodeEntry, encodeEntry } from '../../../src/log/entry/entry.js';
import { FakeServer, ORIGIN } from '../../client/fakeServer.js';
import { TestMemory, rememberedGenerations, rememberedKeys } from '../../client/memory.js';
import type { Lies } from '../../client/scene.js';
import {
  depositaryPair,
  hexOf,
  honestScene,
  KEY,
  NOW,
  OTHER_KEY,
  share,
  show,
  transportPair,
} from '../../client/scene.js';
import { freshBytes } from '../../support/fresh.js';

/*
 * The host has the TLS key and the user PIN: it has anything attested and logged, also a second birth of a key, and shows a
 * depositary what it likes. It wants a recovery secret of something else than the depositary believes to approve.
 */
const dana = signerOf('dana', generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);
const padding = constants.RSA_PKCS1_OAEP_PADDING;
/** What the host is after: the secret that it cannot open itself. */
const COVETED = freshBytes(32);
const COVETED_SHARE = share(COVETED);

let server: FakeServer;
beforeEach(() => {
  // never listens: the client's checks are called, with what a proxy in front of them would make of the answers
  server = new FakeServer();
});

function logView(): LogView {
  return new LogView({
    origin: ORIGIN,
    logKey: server.log.key.vkey,
    memory: new TestMemory(),
    consistency: () => Promise.resolve([]),
  });
}

async function believe(
  shown: RecoveryReply,
  log: LogView = logView(),
  generations = rememberedGenerations(),
  approvedKeys = rememberedKeys(),
): Promise<DueRecovery> {
  const identityKey = server.identity.publicKey.export({ format: 'jwk' }) as Record<string, string>;
  const trust = { origin: ORIGIN, identityKey, depositary: 'dana', log, now: NOW, generations, approvedKeys };
  return believeDue(await believeRecovery(shown, trust), dana, trust);
}

/** Dana's key, and every secret that it has opened, to look at afterwards. */
function watchedKey(): { readonly key: DecryptionKey; readonly opened: Buffer[] } {
  const opened: Buffer[] = [];
  const { publicKey } = softwareKey(depositaryPair.privateKey);
  const open: DecryptionKey['open'] = (ciphertext, oaep) => {
    const secret = openOaep(depositaryPair.privateKey, ciphertext, oaep);
    if (secret !== undefined) opened.push(secret);
    return Promise.resolve(secret);
  };
  return { key: { publicKey, open }, opened };
}

/** What the client answers, and what the host has of it then; the code, when it does not believe. */
async function attempt(shown: RecoveryReply): Promise<{ readonly code: string; readonly sent: number }> {
  const { key, opened } = watchedKey();
  try {
    const { replies } = await approve(await believe(shown), dana, key, NOW);
    return { code: 'approved', sent: replies.length };
  } catch (error) {
    if (!(error instanceof NotBelieved)) throw error;
    // each secret that was opened is overwritten
    expect(opened.filter((secret) => secret.some((byte) => byte !== 0))).toEqual([]);
    return { code: error.code, sent: 0 };
  }
}

/** What the host gains of a client without the check: it passes on whatever its key opens. */
async function gainedUnchecked(shown: RecoveryReply): Promise<readonly Buffer[]> {
  const { key } = watchedKey();
  const gained: Buffer[] = [];
  for (const { share: shared } of shown.forDepositary?.shares ?? []) {
    const secret = await key.open(Buffer.from(shared, 'base64url'), 'RSA-OAEP');
    if (secret === undefined) continue;
    const reply = publicEncrypt({ key: transportPair.publicKey, padding, oaepHash: 'sha1' }, secret);
    gained.push(privateDecrypt({ key: transportPair.privateKey, padding, oaepHash: 'sha1' }, reply));
  }
  return gained;
}

const COVETED_FROM = { secret: COVETED, share: COVETED_SHARE } as const;
const withKey = (change: Partial<RecoveryKeyReply>): Partial<RecoveryReply> => ({
  keys: honestScene().recovery.keys.map((key) => ({ ...key, ...change })),
});
const otherUser = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey;
const RELEASE = { purpose: 'release', recipient: 'dave' } as const;

/** What is shown is attested and logged, with a birth of the key shown that recorded the share shown; the share is of something else. */
const ATTACKS: readonly (readonly [name: string, lies: Lies])[] = [
  ['a share of another key, with its link', { made: { ...COVETED_FROM, key: OTHER_KEY } }],
  ['a share of another key, with the link of the one shown', { made: { share: COVETED_SHARE } }],
  ['a share of the same key for a release', { made: { ...COVETED_FROM, purpose: 'release' } }],
  [
    'a share for use, shown as one for a release',
    { isHost: true, recovery: RELEASE, made: { ...COVETED_FROM, purpose: 'operate' } },
  ],
  ['a share of another depositary’s place', { made: { ...COVETED_FROM, depositary: 'dave' } }],
  [
    'a share of an earlier generation',
    { deposit: { generation: 1 }, made: { ...COVETED_FROM, generation: 2 } },
  ],
  ['a share of a key in another token', { made: { ...COVETED_FROM, token: '00'.repeat(32) } }],
  ['the transfer key of an earlier release, which no link opens under', { made: { share: COVETED_SHARE } }],
  ['a false label', { isHost: true, recovery: withKey({ label: 'test key' }), made: COVETED_FROM }],
  ['a false owner', { isHost: true, recovery: { owner: 'oscar' }, made: COVETED_FROM }],
  ['a false specification', { isHost: true, recovery: withKey({ spec: 'aes-256' }), made: COVETED_FROM }],
  ['a false use', { isHost: true, recovery: withKey({ use: 'decrypt' }), made: COVETED_FROM }],
  [
    'a false public key',
    {
      isHost: true,
      recovery: withKey({ publicKeyPem: otherUser.export({ format: 'pem', type: 'spki' }).toString() }),
      made: COVETED_FROM,
    },
  ],
  [
    'a secret as another than was deposited',
    {
      isHost: true,
      recovery: {
        ...RELEASE,
        keys: honestScene().recovery.keys.map(({ key, label, quorums }) => ({
          ...{ key, label, quorums, spec: 'secret', use: 'keep', bornOutside: true },
          checkValue: freshBytes(32).toString('base64url'),
        })),
      },
      made: {
        ...{ ...COVETED_FROM, spec: 'secret', use: 'keep', purpose: 'release', bornOutside: true },
        ...{ publicKey: undefined, checkValue: freshBytes(32) },
      },
    },
  ],
  [
    'a false quorum',
    { isHost: true, recovery: withKey({ quorums: [['dana', 'dora']] }), made: COVETED_FROM },
  ],
  ['a longer delay than there is', { deposit: { delay: 'P7D' }, made: COVETED_FROM }],
  ['a veto that the owner does not have', { deposit: { ownerMayVeto: true }, made: COVETED_FROM }],
  [
    'no veto where there is one',
    { deposit: { ownerMayVeto: false }, made: { ...COVETED_FROM, ownerMayVeto: true } },
  ],
  ['other requesters', { deposit: { requesters: ['admin'] }, made: COVETED_FROM }],
  ['other people’s keys', { deposit: { recipients: [] }, made: COVETED_FROM, share: {} }],
  ['another generation than there is', { deposit: { generation: 7 }, made: COVETED_FROM }],
  [
    'a deposit of now as one from before its terms were bound',
    { deposit: { version: 1 }, made: COVETED_FROM },
  ],
  [
    'a deposit from before as one of now',
    { deposit: { version: 2, generation: 1 }, made: { ...COVETED_FROM, version: 1 } },
  ],
  [
    'of a deposit from before: of another key',
    { made: { ...COVETED_FROM, version: 1, key: OTHER_KEY, recorded: undefined } },
  ],
  [
    'of a deposit from before: for a release',
    { made: { ...COVETED_FROM, version: 1, purpose: 'release', recorded: undefined } },
  ],
  [
    'of a deposit from before: of another place',
    { made: { ...COVETED_FROM, version: 1, depositary: 'dave', recorded: undefined } },
  ],
  ['a link that was cut short', { share: { link: 'AAAA' }, made: COVETED_FROM }],
];

describe('a host that shows a depositary', () => {
  test.each(ATTACKS)(
    '%s gets share-mismatch and no secret; without the check it gets the secret',
    async (_name, lies) => {
      const shown = await show(server, lies);
      expect(await attempt(shown)).toEqual({ code: 'share-mismatch', sent: 0 });
      expect(await gainedUnchecked(shown)).toEqual([COVETED]);
    },
  );

  test('the share of one of two keys twice gets no secret of either', async () => {
    const shown = await show(server, { keys: [KEY, OTHER_KEY], made: { ...COVETED_FROM, key: KEY } });
    expect(await attempt(shown)).toEqual({ code: 'share-mismatch', sent: 0 });
    expect(await gainedUnchecked(shown)).toEqual([COVETED, COVETED]);
  });

  test('what is true, for a deposit of now and for one from before, gets the secret', async () => {
    for (const lies of [
      { made: COVETED_FROM },
      { made: { ...COVETED_FROM, version: 1 } },
      { made: { ...COVETED_FROM, version: 1, recorded: undefined } },
      { keys: [KEY, OTHER_KEY], made: COVETED_FROM },
    ] satisfies readonly Lies[]) {
      server = new FakeServer();
      expect(await attempt(await show(server, lies))).toMatchObject({ code: 'approved' });
    }
  });
});

describe('a share is compared with the one that the birth of its key recorded:', () => {
  const other = hexOf(Buffer.from('another share'));

  test.each<[string, string, Lies]>([
    ['the birth recorded another', 'share-mismatch', { made: { ...COVETED_FROM, recorded: other } }],
    ['the birth recorded none', 'share-mismatch', { made: { ...COVETED_FROM, recorded: undefined } }],
    [
      'of a deposit from before it recorded another',
      'share-mismatch',
      { made: { ...COVETED_FROM, version: 1, recorded: other } },
    ],
    [
      'the birth is shown by a server that knows of none',
      'deposit-missing',
      { share: { birth: undefined } as never },
    ],
    [
      'replies are to come in a way that is not known here',
      'deposit-missing',
      { deposit: { replies: 'later' as never } },
    ],
    ['the deposit has a version that is not known here', 'deposit-missing', { deposit: { version: 3 } }],
    ['no link is shown', 'deposit-missing', { share: { link: undefined } as never }],
    ['nothing of the deposit is shown', 'deposit-missing', { share: { deposit: undefined } as never }],
  ])('%s', async (_name, code, lies) => {
    const shown = await show(server, lies);
    const { key, opened } = watchedKey();
    await expect(believe(shown).then((believed) => approve(believed, dana, key, NOW))).rejects.toMatchObject({
      code,
    });
    // before anything is opened
    expect(opened).toEqual([]);
  });

  test.each<[string, string, (entry: string) => string]>([
    ['is of another key', 'entry-mismatch', (entry) => entry.replaceAll(KEY, OTHER_KEY)],
    ['is of another owner', 'entry-mismatch', (entry) => entry.replace('"owner":"olga"', '"owner":"oscar"')],
    ['is another act', 'entry-mismatch', (entry) => entry.replace('key.generate', 'grant.revoke')],
    [
      'is an attempt only',
      'entry-mismatch',
      (entry) => entry.replace('"done"', '"attempted"').replace(/"digest":"[^"]*",/, ''),
    ],
  ])('the entry %s', async (_name, code, change) => {
    const shown = await show(server, { made: COVETED_FROM });
    const [birth] = shown.forDepositary?.shares ?? [];
    const entry = change(birth?.birth?.entry ?? '');
    const index = server.log.append(decodeEntry(Buffer.from(entry)));
    const logged = {
      ...shown.forDepositary?.logged,
      proof: await server.log.inclusion(shown.forDepositary?.logged.index ?? 0),
      checkpoint: server.log.checkpoint(),
    };
    const proven = { index, entry, proof: await server.log.inclusion(index) };
    const lied = {
      ...shown,
      forDepositary: { ...shown.forDepositary, logged, shares: [{ ...birth, birth: proven }] },
    } as RecoveryReply;
    expect(await attempt(lied)).toEqual({ code, sent: 0 });
  });

  test('the entry is not in the log; with that check taken out the link still stands in the way', async () => {
    const honest = await show(server, { made: { ...COVETED_FROM, key: OTHER_KEY, recorded: other } });
    const forged = JSON.stringify(honest).replaceAll(other, hexOf(Buffer.from(COVETED_SHARE, 'base64url')));
    const shown = JSON.parse(forged) as RecoveryReply;
    expect(await attempt(shown)).toEqual({ code: 'entry-not-in-log', sent: 0 });
    const credulous = logView();
    credulous.believeInclusion = ({ entry }) => decodeEntry(entry);
    const believed = await believe(shown, credulous);
    await expect(approve(believed, dana, watchedKey().key, NOW)).rejects.toMatchObject({
      code: 'share-mismatch',
    });
  });
});

/* every field of what a depositary is shown, changed by a proxy */
type Path = readonly (string | number)[];

/** Every value that is no object, by its path. */
function leaves(value: unknown, path: Path = []): readonly Path[] {
  if (typeof value !== 'object' || value === null) return [path];
  return Object.entries(value).flatMap(([name, member]) =>
    leaves(member, [...path, Array.isArray(value) ? Number(name) : name]),
  );
}

function changedAt(value: unknown, [step, ...rest]: Path, change: (leaf: unknown) => unknown): unknown {
  if (step === undefined) return change(value);
  const copy: unknown = Array.isArray(value) ? [...(value as unknown[])] : { ...(value as object) };
  const members = copy as Record<string | number, unknown>;
  members[step] = changedAt(members[step], rest, change);
  return copy;
}

/** Another value of the same form. */
function another(leaf: unknown): unknown {
  if (typeof leaf === 'boolean') return !leaf;
  if (typeof leaf === 'number') return leaf + 1;
  const text = String(leaf);
  if (text.startsWith('{')) return text.replace('"phase":"done"', '"phase":"gone"');
  const instant = /^\d{4}-.*Z$/.test(text);
  if (instant) return new Date(Date.parse(text) - 1000).toISOString();
  if (text.startsWith('P')) return 'P3D';
  const at = Math.floor(text.length / 2);
  return `${text.slice(0, at)}${text[at] === 'A' ? 'B' : 'A'}${text.slice(at + 1)}`;
}

/** What nobody relies on: it is shown apart, as the word of the server. */
const SAID_ONLY = ['filedAt', 'summary', 'status'];

test('every field that is relied on, changed by a proxy, is found before anything is sent', async () => {
  const honest = await show(server, { made: COVETED_FROM });
  expect(await attempt(honest)).toMatchObject({ code: 'approved' });
  const taken: string[] = [];
  const paths = leaves(honest);
  for (const path of paths) {
    const shown = changedAt(honest, path, another) as RecoveryReply;
    const { code } = await attempt(shown);
    if (code === 'approved') taken.push(path.join('.'));
  }
  expect(paths.length).toBeGreaterThan(40);
  expect(taken).toEqual(SAID_ONLY);
});

describe('a share of a key that was sealed anew is compared with the one that the entry of that recorded:', () => {
  type Said = Readonly<{ act: string; owner: string; generation: number; share: string; of: string }>;

  /** Shows the second deposit of a key, with the entry by which it was sealed anew, which says this. */
  async function reshown(said: Partial<Said> = {}): Promise<RecoveryReply> {
    const shown = await show(server, {
      deposit: { generation: 2 },
      made: { ...COVETED_FROM, generation: 2 },
    });
    const [share] = shown.forDepositary?.shares ?? [];
    if (share === undefined) throw new Error('no share is shown');
    const rest: ShareReply = { ...share };
    delete (rest as { birth?: unknown }).birth;
    const shares = { operate: { dana: said.share ?? hexOf(Buffer.from(rest.share, 'base64url')) } };
    const deposit = { generation: said.generation ?? 2, previous: 0, digest: '0'.repeat(64), shares };
    const entry: Entry = {
      ...{ v: 1, time: NOW.toISOString(), id: 'act_reseal', phase: 'done', actor: 'escrowd' },
      act: said.act ?? 'recovery.reseal',
      subject: { recovery: 'rec_1', keys: [said.of ?? KEY], owner: said.owner ?? 'olga' },
      detail: { keys: { [said.of ?? KEY]: deposit } },
      digest: '0'.repeat(64),
    };
    const index = server.log.append(entry);
    const logged = {
      ...shown.forDepositary?.logged,
      proof: await server.log.inclusion(shown.forDepositary?.logged.index ?? 0),
      checkpoint: server.log.checkpoint(),
    };
    const text = Buffer.from(encodeEntry(entry)).toString();
    const resealed = [{ index, entry: text, proof: await server.log.inclusion(index) }];
    return {
      ...shown,
      forDepositary: { ...shown.forDepositary, logged, shares: [rest], resealed },
    } as RecoveryReply;
  }

  test('what is true gets the secret', async () => {
    expect(await attempt(await reshown())).toEqual({ code: 'approved', sent: 1 });
  });

  test.each<[name: string, code: string, said: Partial<Said>]>([
    ['another share', 'share-mismatch', { share: hexOf(Buffer.from('another')) }],
    ['another generation', 'entry-mismatch', { generation: 3 }],
    ['another act', 'entry-mismatch', { act: 'recovery.release' }],
    ['of another owner', 'entry-mismatch', { owner: 'oscar' }],
    ['of another key', 'deposit-missing', { of: OTHER_KEY }],
  ])('%s', async (_name, code, said) => {
    expect(await attempt(await reshown(said))).toEqual({ code, sent: 0 });
  });

  test('who has opened a share of a newer deposit is shown none of this one', async () => {
    const generations = rememberedGenerations();
    await generations.opened(new Map([[KEY, 3]]));
    await expect(believe(await reshown(), logView(), generations)).rejects.toMatchObject({
      code: 'generation-old',
    });
  });

  test('what has opened is remembered, and what has not is not', async () => {
    const generations = rememberedGenerations();
    const believed = await believe(await reshown(), logView(), generations);
    expect(await generations.highest(KEY)).toBeUndefined();
    await approve(believed, dana, watchedKey().key, NOW);
    expect(await generations.highest(KEY)).toBe(2);
  });
});
