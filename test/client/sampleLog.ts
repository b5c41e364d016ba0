import { generateKeyPairSync } from 'node:crypto';

import type { Signer } from '../../src/client/identity/signingKey.js';
import { signerOf } from '../../src/client/identity/signingKey.js';
import type { Json } from '../../src/log/entry/canonical.js';
import { encodeEntry, type Entry } from '../../src/log/entry/entry.js';
import { documentHash } from '../../src/log/export/format.js';
import { exportLinesOf } from '../log/exportText.js';
import { testKey, type TestKey } from '../log/noteKeys.js';
import { ORIGIN } from './fakeServer.js';
import { at, SignedActs } from './signedActs.js';

export { at };

export const RECOVERY = `rec_${'2'.repeat(32)}`;

/** What is asked for in the sample log, and its hash. */
const asked = {
  purpose: 'operate',
  scope: {
    app: 'mailer',
    operations: ['sign'],
    mechanisms: ['ES256'],
    input: 'message',
    maxUses: 3,
    durationMs: 60_000,
  },
  reason: 'sample',
  expiresAt: '2026-03-02T12:00:00.000Z',
} as const;
export const REQUEST_HASH = documentHash({
  ...asked,
  version: 3,
  recovery: RECOVERY,
  keys: ['key_1'],
  requester: 'dana',
});

const person = (id: string): Signer =>
  signerOf(id, generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);
export const people = { ann: person('ann'), bob: person('bob'), dana: person('dana'), eve: person('eve') };

/** The client certificate of the app `mailer`. */
export const CERTIFICATE = 'A'.repeat(43);

/** The directory: eve has a key, and no place in it. */
export const document = {
  version: 1,
  principals: [
    { id: 'ann', kind: 'person', name: 'Ann', roles: ['admin'], keys: [people.ann.publicJwk] },
    { id: 'bob', kind: 'person', name: 'Bob', roles: ['admin'], keys: [people.bob.publicJwk] },
    { id: 'dana', kind: 'person', name: 'Dana', roles: ['depositary'], keys: [people.dana.publicJwk] },
    { id: 'mailer', kind: 'app', name: 'Mailer', roles: ['app'], keys: [], certificates: [CERTIFICATE] },
  ],
  rules: [],
} as unknown as Json;

/** The first administrators, as they are known outside the log. */
export const administrators = [people.ann, people.bob].map(({ id, publicJwk }) => ({
  id,
  keys: [publicJwk],
}));

const acts = new SignedActs(ORIGIN);

/** A request signed by this person at this minute; `claims` replaces what an honest client says. */
export const request = acts.request.bind(acts);

/** A statement of this person about the sample request. */
export function statement(by: Signer, changes: object = {}): Promise<string> {
  return acts.statement(by, { recovery: RECOVERY, requestHash: REQUEST_HASH, keys: ['key_1'] }, changes);
}

/** What a test changes in an otherwise honest log. */
export interface Forgery {
  readonly policyRequest?: string;
  readonly policySigners?: readonly Signer[];
  readonly policyBase?: number;
  /** Replaces facts of the request. */
  readonly asked?: Entry['detail'];
  /** Replaces members of the attempt to approve. */
  readonly approval?: Partial<Entry>;
  readonly approvalRequest?: string;
  readonly statement?: string;
  readonly more?: readonly Entry[];
}

/** The entries of a small log: two administrators put a policy in force, a depositary asks and approves. */
export async function sampleEntries(forged: Forgery = {}): Promise<readonly Entry[]> {
  const hash = documentHash(document);
  const signers = forged.policySigners ?? [people.ann, people.bob];
  const signatures = await acts.policySignatures(signers, document, { version: forged.policyBase ?? 0 });
  const common = { v: 1, subject: {}, detail: {} } as const;
  const apply = { ...common, act: 'policy.apply', id: 'act_1', actor: 'ann' } as const;
  const subject = { recovery: RECOVERY, keys: ['key_1'], owner: 'olga' };
  const ask = { ...common, act: 'recovery.request', id: 'act_0', actor: 'dana', subject } as const;
  const approve = { ...common, act: 'recovery.approve', id: 'act_2', actor: 'dana', subject } as const;
  return [
    {
      ...apply,
      time: at(1),
      phase: 'attempted',
      request: forged.policyRequest ?? (await request(people.ann, 1, '/v1/policy')),
      detail: { version: 1, policyHash: hash, signatures },
    },
    { ...apply, time: at(1), phase: 'done', detail: { version: 1, policyHash: hash }, digest: hash },
    {
      ...ask,
      time: at(29),
      phase: 'attempted',
      request: await request(people.dana, 29, '/v1/recoveries'),
      detail: { ...asked, requestHash: REQUEST_HASH, ...forged.asked },
    },
    { ...ask, time: at(29), phase: 'done', digest: hash },
    {
      ...approve,
      time: at(30),
      phase: 'attempted',
      request:
        forged.approvalRequest ?? (await request(people.dana, 30, `/v1/recoveries/${RECOVERY}/approvals`)),
      detail: { requestHash: REQUEST_HASH, statement: forged.statement ?? (await statement(people.dana)) },
      ...forged.approval,
    },
    { ...approve, time: at(30), phase: 'done', digest: hash, actor: forged.approval?.actor ?? 'dana' },
    ...(forged.more ?? []),
  ];
}

export const logKey: TestKey = testKey(ORIGIN);

/** The same two administrators put another document in force, 40 minutes past. */
export async function removal(next: Json): Promise<readonly Entry[]> {
  const hash = documentHash(next);
  const before = { version: 1, hash: documentHash(document) };
  const signatures = await acts.policySignatures([people.ann, people.bob], next, before);
  const common = { v: 1, time: at(40), act: 'policy.apply', id: 'act_4', actor: 'ann', subject: {} } as const;
  const detail = { version: 2, policyHash: hash };
  const signed = await request(people.ann, 40, '/v1/policy');
  return [
    { ...common, phase: 'attempted', request: signed, detail: { ...detail, signatures } },
    { ...common, phase: 'done', detail, digest: hash },
  ];
}

/** The lines of an export of these entries, signed by the log. */
export function exportOf(entries: readonly Entry[], more: readonly Json[] = []): readonly string[] {
  const lines = entries.map((entry) => Buffer.from(encodeEntry(entry)).toString());
  return exportLinesOf({ origin: ORIGIN, logKey, documents: [document, ...more], lines });
}
