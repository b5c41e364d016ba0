import { createHash } from 'node:crypto';

import type { Signer } from '../../src/client/identity/signingKey.js';
import { signerOf } from '../../src/client/identity/signingKey.js';
import type { Json } from '../../src/log/entry/canonical.js';
import type { Entry } from '../../src/log/entry/entry.js';
import { encodeEntry } from '../../src/log/entry/entry.js';
import { documentHash } from '../../src/log/export/format.js';
import { bytesOf, exportLinesOf } from '../log/exportText.js';
import type { TestKey } from '../log/noteKeys.js';
import { fixedPrivateKey, testKeyOf } from '../log/noteKeys.js';
import { at, BOOTSTRAP_HASH, sha256Hex, SignedActs } from './signedActs.js';

export { at };

/*
 * A whole small log, the same bytes each time: a policy, two keys, a request for both, two approvals, a grant for each, the
 * uses and the end of one, with every phase that an entry has, and both versions. All keys are made of their names, and sign
 * by Ed25519, whose signatures are fixed.
 */

export const ORIGIN = 'golden.example/log';
export const logKey: TestKey = testKeyOf(ORIGIN, fixedPrivateKey('golden log'));

const person = (id: string): Signer => signerOf(id, fixedPrivateKey(`golden ${id}`));
export const people = {
  ann: person('ann'),
  bob: person('bob'),
  dana: person('dana'),
  erin: person('erin'),
  finn: person('finn'),
  olga: person('olga'),
  mailer: person('mailer'),
  /** Has a key, and no place in the directory. */
  eve: person('eve'),
};

/** The client certificate of the app. */
export const CERTIFICATE = createHash('sha256').update('golden certificate').digest('base64url');

/** SHA-256 of the key that a depositary's shares go to. */
const depositaryKeyOf = (id: string): string => sha256Hex(`depositary key of ${id}`);

export const document = {
  version: 1,
  principals: [
    { id: 'ann', roles: ['admin'] },
    { id: 'bob', roles: ['admin'] },
    { id: 'dana', roles: ['depositary'], depositaryKey: depositaryKeyOf('dana') },
    { id: 'erin', roles: ['depositary'], depositaryKey: depositaryKeyOf('erin') },
    { id: 'finn', roles: ['depositary'], depositaryKey: depositaryKeyOf('finn') },
    { id: 'olga', roles: ['owner'] },
    { id: 'mailer', roles: ['app'], kind: 'app', certificates: [CERTIFICATE] },
  ].map(({ id, ...more }) => ({
    kind: 'person',
    name: `${id} \u00fc\u20ac`,
    keys: [{ ...people[id as keyof typeof people].publicJwk }],
    id,
    ...more,
  })),
  rules: [
    { name: 'others', when: { use: 'decrypt' }, depositaries: 'person:finn', release: {} },
    {
      name: 'all',
      depositaries: { allOf: ['person:dana', { anyOf: ['person:erin', 'person:finn'] }] },
      operate: {
        operations: ['sign'],
        mechanisms: ['ES256'],
        input: 'message',
        maxUses: 10,
        rate: { uses: 5, per: 'PT1H' },
        maxDuration: 'PT2H',
      },
      requests: { maxValidFor: 'P2D', approvalsHold: 'P1D' },
    },
  ],
} as const satisfies Json;

/** The first administrators, as they are known outside the log. */
export const administrators = [people.ann, people.bob].map(({ id, publicJwk }) => ({
  id,
  keys: [publicJwk],
}));

export const KEY = `key_${'1'.repeat(32)}`;
export const OTHER_KEY = `key_${'4'.repeat(32)}`;
export const KEYS = [KEY, OTHER_KEY];
export const RECOVERY = `rec_${'2'.repeat(32)}`;
export const GRANT = `grant_${'3'.repeat(32)}`;
export const OTHER_GRANT = `grant_${'5'.repeat(32)}`;

const asked = {
  purpose: 'operate',
  scope: {
    app: 'mailer',
    operations: ['sign'],
    mechanisms: ['ES256'],
    input: 'message',
    maxUses: 5,
    rate: { uses: 4, perMs: 3_600_000 },
    durationMs: 3_600_000,
    notBefore: null,
    notAfter: null,
  },
  reason: 'mail while olga is away',
  expiresAt: at(24 * 60),
  approvalsHoldMs: 7_200_000,
} as const;

/** What a request with these contents hashes to. */
export function hashOf(contents: Readonly<Record<string, Json>>): string {
  return documentHash({ version: 3, recovery: RECOVERY, keys: KEYS, requester: 'dana', ...contents });
}
export const REQUEST_HASH = hashOf(asked);

const acts = new SignedActs(ORIGIN);

/** A signed request: POST to this target, at this minute. */
export const request = acts.request.bind(acts);

/** A depositary's signed decision. */
export function statement(by: Signer, claims: object = {}): Promise<string> {
  return acts.statement(by, { recovery: RECOVERY, requestHash: REQUEST_HASH, keys: KEYS }, claims);
}

/** Signatures of these under the document, as the log has them. */
export function policySignatures(signers: readonly Signer[]): Promise<readonly string[]> {
  return acts.policySignatures(signers, document);
}

/** The entry without its request or certificate: nobody stands behind it. */
export function unsigned(entry: Entry): Entry {
  const bare: { -readonly [Member in keyof Entry]: Entry[Member] } = { ...entry, v: 1 };
  delete bare.request;
  delete bare.certificate;
  return bare;
}

/** The same, made by whoever connects with this client certificate. */
export function byCertificate(entry: Entry, certificate: string = CERTIFICATE): Entry {
  return { ...unsigned(entry), v: 2, certificate };
}

/** The entries of the log. */
export async function goldenEntries(): Promise<readonly Entry[]> {
  const hash = documentHash(document);
  const recovered = { keys: KEYS, owner: 'olga', recovery: RECOVERY };
  const granted = { key: KEY, owner: 'olga', recovery: RECOVERY, grant: GRANT };
  const grants = { [KEY]: GRANT, [OTHER_KEY]: OTHER_GRANT };
  const quorums = { [KEY]: ['dana', 'erin'], [OTHER_KEY]: ['dana', 'erin'] };
  const { ann, bob, dana, erin, finn, olga, mailer } = people;
  const to = (action: string): string => `/v1/recoveries/${RECOVERY}/${action}`;
  const sign = `/v1/grants/${GRANT}/sign`;
  const begun = (
    minute: number,
    act: string,
    actor: string,
    subject: Entry['subject'],
    detail: Entry['detail'],
    signed?: string,
  ): Entry => ({
    v: 1,
    time: at(minute),
    act,
    id: `act_${String(minute).padStart(32, '0')}`,
    phase: 'attempted',
    actor,
    subject,
    ...(signed === undefined ? {} : { request: signed }),
    detail,
  });
  const done = (attempt: Entry, detail: Entry['detail'], subject = attempt.subject): Entry => ({
    ...unsigned(attempt),
    phase: 'done',
    subject,
    detail,
    digest: sha256Hex(attempt.id),
  });
  const ended = (attempt: Entry, phase: 'denied' | 'failed', error: string): Entry => ({
    ...unsigned(attempt),
    phase,
    detail: {},
    error,
  });
  const approve = async (by: Signer, minute: number): Promise<Entry> =>
    begun(
      minute,
      'recovery.approve',
      by.id,
      recovered,
      { requestHash: REQUEST_HASH, statement: await statement(by) },
      await request(by, minute, to('approvals')),
    );
  const use = async (minute: number, inputs: readonly string[]): Promise<Entry> =>
    begun(
      minute,
      'grant.sign',
      'mailer',
      granted,
      { mechanism: 'ES256', input: 'message', inputs: inputs.map(sha256Hex) },
      await request(mailer, minute, sign),
    );
  const policy = begun(
    1,
    'policy.apply',
    'ann',
    {},
    {
      version: 1,
      policyHash: hash,
      replaces: BOOTSTRAP_HASH,
      signers: ['ann', 'bob'],
      signatures: await policySignatures([ann, bob]),
    },
    await request(ann, 1, '/v1/policy'),
  );
  const generated = async (minute: number, key: string, ik: string): Promise<Entry> =>
    begun(
      minute,
      'key.generate',
      'olga',
      { key, owner: 'olga' },
      {
        spec: 'ec-p256',
        use: 'sign',
        rule: 'all',
        policyVersion: 1,
        policyHash: hash,
        quorums: [
          ['dana', 'erin'],
          ['dana', 'finn'],
        ],
      },
      await request(olga, minute, '/v1/keys', { ik }),
    );
  const generate = await generated(2, KEY, 'order 1');
  const another = await generated(3, OTHER_KEY, 'another order');
  const ask = begun(
    4,
    'recovery.request',
    'dana',
    recovered,
    { ...asked, requestHash: REQUEST_HASH },
    await request(dana, 4, '/v1/recoveries'),
  );
  const byDana = await approve(dana, 6);
  const byFinn = await approve(finn, 7);
  const byErin = await approve(erin, 8);
  const activate = begun(9, 'recovery.activate', 'escrowd', recovered, {
    requestHash: REQUEST_HASH,
    quorums,
    grants,
  });
  const first = await use(10, ['one', 'two']);
  const second = await use(11, ['three']);
  const third = byCertificate({ ...(await use(11, ['four'])), id: `act_${'c'.repeat(32)}` });
  const refused: Entry = {
    ...(await use(12, ['five'])),
    phase: 'denied',
    error: 'grant-exhausted',
    detail: {},
  };
  const refusedToo = byCertificate({ ...refused, id: `act_${'d'.repeat(32)}` });
  const revoke = begun(
    13,
    'grant.revoke',
    'olga',
    granted,
    { reason: 'back' },
    await request(olga, 13, `/v1/grants/${GRANT}/revoke`),
  );
  const deposited = {
    shares: [
      {
        purpose: 'operate',
        kek: 'kek-1',
        recipients: ['dana', 'erin', 'finn'].map((depositary) => ({
          depositary,
          recipient: depositaryKeyOf(depositary),
        })),
      },
    ],
    delivered: false,
  };
  return [
    policy,
    done(policy, { version: 1, policyHash: hash }),
    generate,
    done(generate, deposited),
    another,
    done(another, deposited),
    ask,
    done(ask, { requestHash: REQUEST_HASH, transport: '66'.repeat(32) }),
    byDana,
    // two at once
    byFinn,
    done(byDana, { status: 'pending' }),
    ended(byFinn, 'denied', 'share-wrong-key'),
    byErin,
    done(byErin, { status: 'approved', quorums }),
    activate,
    done(activate, { app: 'mailer', maxUses: 5, startsAt: at(9), expiresAt: at(69), grants }),
    first,
    done(first, { uses: 2 }),
    second,
    ended(second, 'failed', 'token-unavailable'),
    third,
    done(third, { uses: 1 }),
    refused,
    refusedToo,
    revoke,
    done(revoke, { status: 'revoked', used: 4 }),
  ];
}

/** Whoever has a key like the log's: what they sign in its place. */
export interface Resealing {
  readonly logKey?: TestKey;
  readonly documents?: readonly Json[];
}

/** The bytes of the export of these entries, each in canonical form, under a new tree and a new signature. */
export function sealed(entries: readonly Entry[], by: Resealing = {}): Buffer {
  return sealedLines(
    entries.map((entry) => Buffer.from(encodeEntry(entry)).toString()),
    by,
  );
}

export function sealedLines(
  lines: readonly string[],
  { logKey: key = logKey, documents = [document] }: Resealing = {},
): Buffer {
  return bytesOf(exportLinesOf({ origin: ORIGIN, logKey: key, documents, lines }));
}
