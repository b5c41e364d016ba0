import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { ExportCheck } from '../../src/audit/verifyExport.js';
import { verifyExport } from '../../src/audit/verifyExport.js';
import type { Json } from '../../src/log/entry/canonical.js';
import type { Entry } from '../../src/log/entry/entry.js';
import { checkpointLine, documentHash, parseCheckpointLine } from '../../src/log/export/format.js';
import type { Verdict } from '../../src/log/export/verifier.js';
import type { TestWitness } from '../log/witnessKeys.js';
import { testWitness } from '../log/witnessKeys.js';
import {
  administrators,
  at,
  byCertificate,
  document,
  goldenEntries,
  hashOf,
  KEY,
  KEYS,
  logKey,
  ORIGIN,
  people,
  request,
  sealed,
} from '../client/goldenLog.js';

/*
 * What whoever runs the server, and holds the log's own key, might write into the log to have it look right: everything
 * here is signed as it should be, and only what it says is not so.
 */
let directory: string;
let path: string;
let entries: readonly Entry[];
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'escrowctl-'));
  path = join(directory, 'log.ndjson');
  entries = await goldenEntries();
});
afterAll(() => {
  rmSync(directory, { recursive: true });
});

async function verdictOn(bytes: Uint8Array, more: Partial<ExportCheck> = {}): Promise<Verdict> {
  writeFileSync(path, bytes);
  const check = { path, logKey: logKey.vkey, bootstrap: administrators, ...more };
  return (await verifyExport(check)).verdict;
}

const place = (act: string, phase: Entry['phase']): number =>
  entries.findIndex((entry) => entry.act === act && entry.phase === phase);
const entryAt = (index: number): Entry => {
  const entry = entries[index];
  if (entry === undefined) throw new Error('the sample has such an entry');
  return entry;
};
const withDetail = (index: number, more: Entry['detail']): readonly Entry[] => {
  const entry = entryAt(index);
  return entries.with(index, { ...entry, detail: { ...entry.detail, ...more } });
};
const without = (from: Readonly<Record<string, Json>>, ...names: readonly string[]): Record<string, Json> =>
  Object.fromEntries(Object.entries(from).filter(([name]) => !names.includes(name)));

interface Lie {
  readonly reason: RegExp;
  readonly tell: () => readonly Entry[] | Promise<readonly Entry[]>;
  /** How the auditor checks it, where that differs. */
  readonly check?: Partial<ExportCheck>;
}
type Lies = readonly (readonly [claim: string, lie: Lie])[];

function areFound(lies: Lies): void {
  test.each(lies)('%s', async (_claim, { reason, tell, check }) => {
    const verdict = await verdictOn(sealed(await tell()), check);
    expect(verdict).toMatchObject({ ok: false, reason: expect.stringMatching(reason) as string });
  });
}

describe('a key that was not deposited as the policy has it is found:', () => {
  const ordered = (): number => place('key.generate', 'attempted');
  const made = (): number => place('key.generate', 'done');
  const shares = (
    recipients: readonly (readonly [depositary: string, recipient: string])[],
    purposes: readonly string[] = ['operate'],
  ): readonly Json[] =>
    purposes.map((purpose) => ({
      purpose,
      kek: 'kek-1',
      recipients: recipients.map(([depositary, recipient]) => ({ depositary, recipient })),
    }));
  /** To whose keys the shares of the honest log went. */
  const honest = (): readonly (readonly [string, string])[] =>
    document.principals.flatMap((one) =>
      'depositaryKey' in one ? [[one.id, one.depositaryKey] as const] : [],
    );
  const hashed = (id: string): string => documentHash(id);
  /** The golden log, whose key was deposited before shares were recorded, with these. */
  const recorded = (hashOfShare: (id: string) => string | undefined): readonly Entry[] => {
    const recipients = honest().map(([depositary, recipient]) => {
      const share = hashOfShare(depositary);
      return { depositary, recipient, ...(share === undefined ? {} : { share }) };
    });
    return withDetail(made(), { shares: [{ purpose: 'operate', kek: 'kek-1', recipients }] });
  };

  test('a deposit that has recorded each share is no ground to refuse the log', async () => {
    expect(await verdictOn(sealed(recorded(hashed)))).toMatchObject({ ok: true });
  });

  const orderedBy = (owner: string, more: Entry['detail']): readonly Entry[] => {
    const entry = entryAt(ordered());
    return entries.with(ordered(), {
      ...entry,
      subject: { ...entry.subject, owner },
      detail: { ...entry.detail, ...more },
    });
  };

  /** The golden log, whose key is said to have been imported, with this in the attempt. */
  const importedWith = async (detail: Entry['detail']): Promise<readonly Entry[]> => {
    const request1 = await request(people.olga, 2, '/v1/imports/imp_1/key', { ik: 'order 1' });
    const entry = entryAt(ordered());
    return entries
      .with(ordered(), {
        ...entry,
        act: 'key.import',
        request: request1,
        detail: { ...entry.detail, ...detail },
      })
      .with(made(), { ...entryAt(made()), act: 'key.import' });
  };

  areFound([
    [
      'a key made in the token that is said to be born outside',
      {
        reason: /said to be born outside/,
        tell: () => withDetail(ordered(), { bornOutside: true }),
      },
    ],
    [
      'an imported key that is not said to be one',
      {
        reason: /not said to be born outside/,
        tell: () => importedWith({ import: 'imp_1', publicKey: 'ab'.repeat(32) }),
      },
    ],
    [
      'an imported key of which nobody says which public key it is',
      {
        reason: /not of which public key/,
        tell: () => importedWith({ import: 'imp_1', bornOutside: true }),
      },
    ],
    [
      'an imported key with the check value of a secret',
      {
        reason: /not of which public key or check value/,
        tell: () => importedWith({ import: 'imp_1', bornOutside: true, checkValue: 'ab'.repeat(32) }),
      },
    ],
    [
      'a secret by a rule that lets it be used in the token',
      {
        reason: /does not allow \(secret-release-only\)/,
        tell: () => withDetail(ordered(), { spec: 'secret', use: 'keep' }),
      },
    ],
    [
      'a key that is only to be kept',
      { reason: /what kind of key/, tell: () => withDetail(ordered(), { use: 'keep' }) },
    ],
    [
      'an imported key that its rule does not let be',
      {
        reason: /imported that all does not let be/,
        tell: () => importedWith({ import: 'imp_1', bornOutside: true, publicKey: 'ab'.repeat(32) }),
      },
    ],
    [
      'an imported key by a request to another import key',
      {
        reason: /request/,
        tell: () => importedWith({ import: 'imp_2', bornOutside: true, publicKey: 'ab'.repeat(32) }),
      },
    ],
    [
      'a quorum that the rule does not give',
      {
        reason: /quorums other than those that all gives/,
        tell: () =>
          withDetail(ordered(), {
            quorums: [
              ['dana', 'erin'],
              ['dana', 'finn'],
              ['erin', 'finn'],
            ],
          }),
      },
    ],
    [
      'a quorum of fewer people',
      {
        reason: /quorums other than those/,
        tell: () => withDetail(ordered(), { quorums: [['dana'], ['dana', 'finn']] }),
      },
    ],
    [
      'a quorum left out',
      {
        reason: /quorums other than those/,
        tell: () => withDetail(ordered(), { quorums: [['dana', 'erin']] }),
      },
    ],
    [
      'a rule that is not the first for such a key',
      {
        reason: /by a rule other than all/,
        tell: () => withDetail(ordered(), { rule: 'others', quorums: [['finn']] }),
      },
    ],
    [
      'a use that another rule is for',
      {
        reason: /by a rule other than others/,
        tell: () => withDetail(ordered(), { use: 'decrypt', spec: 'rsa-2048' }),
      },
    ],
    [
      'a policy that is not in force',
      { reason: /under another policy/, tell: () => withDetail(ordered(), { policyHash: '77'.repeat(32) }) },
    ],
    [
      'a version of the policy that is not in force',
      { reason: /under another policy/, tell: () => withDetail(ordered(), { policyVersion: 2 }) },
    ],
    [
      'an owner whom the policy does not know as one',
      { reason: /the policy does not allow \(owner-unknown\)/, tell: () => orderedBy('finn', {}) },
    ],
    [
      'a kind of key that there is not',
      { reason: /without saying what kind of key/, tell: () => withDetail(ordered(), { spec: 'ec-p999' }) },
    ],
    [
      'a key from before there was a policy',
      {
        reason: /before there is a policy/,
        check: { bootstrap: [] },
        tell: () => [
          ...entries.slice(ordered(), made() + 1),
          ...entries.slice(0, ordered()),
          ...entries.slice(made() + 1),
        ],
      },
    ],
    [
      'a share to a key that is not the depositary\u2019s',
      {
        reason: /to other keys than theirs/,
        tell: () =>
          withDetail(made(), {
            shares: shares(honest().map(([id, key]) => [id, id === 'erin' ? '88'.repeat(32) : key])),
          }),
      },
    ],
    [
      'a share too many',
      {
        reason: /with others than all gives/,
        tell: () => withDetail(made(), { shares: shares([...honest(), ['gus', '88'.repeat(32)]]) }),
      },
    ],
    [
      'a share too few',
      {
        reason: /with others than all gives/,
        tell: () => withDetail(made(), { shares: shares(honest().slice(1)) }),
      },
    ],
    [
      'a purpose that the rule does not allow',
      {
        reason: /with others than all gives/,
        tell: () => withDetail(made(), { shares: shares(honest(), ['operate', 'release']) }),
      },
    ],
    [
      'no word about shares',
      {
        reason: /with others than all gives/,
        tell: () => {
          const entry = entryAt(made());
          return entries.with(made(), { ...entry, detail: without(entry.detail, 'shares') });
        },
      },
    ],
    ['one share for two', { reason: /one share for two/, tell: () => recorded(() => '99'.repeat(32)) }],
    [
      'shares of which one is not recorded',
      { reason: /not all recorded/, tell: () => recorded((id) => (id === 'erin' ? undefined : hashed(id))) },
    ],
    [
      'a share that is recorded by anything but its hash',
      {
        reason: /with others than all gives/,
        tell: () => recorded((id) => (id === 'erin' ? 'hers' : hashed(id))),
      },
    ],
    [
      'a key that was deposited before under the same id',
      {
        reason: /is ordered a second time/,
        tell: async () => {
          const again = { ...entryAt(ordered()), request: await request(people.olga, 200, '/v1/keys') };
          const id = `act_${'e'.repeat(32)}`;
          return [...entries, ...[again, entryAt(made())].map((entry) => ({ ...entry, id, time: at(200) }))];
        },
      },
    ],
    [
      'a copy for the owner, which the rule does not allow',
      { reason: /a copy of the key was made/, tell: () => withDetail(made(), { delivered: true }) },
    ],
  ]);
});

describe('a confirmation that released keys have come', () => {
  const confirmed = async (
    by: (typeof people)[keyof typeof people],
    claims: object = {},
    typ = 'escrowd-confirmation+jwt',
  ): Promise<readonly Entry[]> => {
    const { subject } = entryAt(place('recovery.request', 'done'));
    const payload = { iss: 'dana', aud: ORIGIN, iat: Date.parse(at(200)) / 1000 - 0.5 };
    const about = { recovery: subject.recovery ?? '', keys: subject.keys ?? [], released: '77'.repeat(32) };
    const attempt: Entry = {
      ...{ v: 1, time: at(200), act: 'recovery.confirm', id: `act_${'f'.repeat(32)}`, phase: 'attempted' },
      ...{ actor: 'dana', subject },
      request: await request(people.dana, 200, `/v1/recoveries/${subject.recovery ?? ''}/confirmation`),
      detail: { statement: await by.sign(typ, { ...payload, ...about, ...claims }) },
    };
    const { request: asked, ...rest } = attempt;
    expect(asked).toBeDefined();
    return [...entries, attempt, { ...rest, phase: 'done', detail: {}, digest: '77'.repeat(32) }];
  };

  test('is no ground to refuse the log', async () => {
    expect(await verdictOn(sealed(await confirmed(people.dana)))).toMatchObject({ ok: true });
  });

  areFound([
    [
      'that somebody else has signed',
      { reason: /confirmation is not signed by dana/, tell: () => confirmed(people.erin) },
    ],
    [
      'in another’s name',
      { reason: /about something else/, tell: () => confirmed(people.dana, { iss: 'erin' }) },
    ],
    [
      'of another request',
      { reason: /about something else/, tell: () => confirmed(people.dana, { recovery: 'rec_x' }) },
    ],
    [
      'of fewer keys',
      { reason: /about something else/, tell: () => confirmed(people.dana, { keys: [KEY] }) },
    ],
    [
      'that is another kind of statement',
      {
        reason: /has signed no confirmation/,
        tell: () => confirmed(people.dana, {}, 'escrowd-approval+jwt'),
      },
    ],
  ]);
});

describe('a request that administrators have ended', () => {
  const stopped = async (
    by: readonly (typeof people)[keyof typeof people][],
    claims: object = {},
    typ = 'escrowd-stop+jwt',
  ): Promise<readonly Entry[]> => {
    const filed = entries.slice(0, place('recovery.request', 'done') + 1);
    const { subject, detail } = entryAt(place('recovery.request', 'attempted'));
    const { requestHash = '' } = detail;
    const recovery = subject.recovery ?? '';
    const iat = Date.parse(at(5)) / 1000 - 0.5;
    const about = { recovery, requestHash, reason: 'nobody knows who asked' };
    const statements = await Promise.all(
      by.map((one) => one.sign(typ, { iss: one.id, aud: ORIGIN, iat, exp: iat + 60, ...about, ...claims })),
    );
    const signers = [...new Set(by.map(({ id }) => id))];
    const common = { v: 1, time: at(5), act: 'recovery.stop', id: `act_${'f'.repeat(32)}` } as const;
    const attempt: Entry = {
      ...{ ...common, phase: 'attempted', actor: 'ann', subject },
      request: await request(people.ann, 5, `/v1/recoveries/${recovery}/stop`),
      detail: { requestHash, reason: about.reason, signers, statements },
    };
    const done = { ...common, phase: 'done', actor: 'ann', subject, digest: '77'.repeat(32) } as const;
    return [...filed, attempt, { ...done, detail: { status: 'cancelled', signers } }];
  };
  const { ann, bob, dana } = people;

  test('is no ground to refuse the log', async () => {
    expect(await verdictOn(sealed(await stopped([ann, bob])))).toMatchObject({ ok: true });
  });

  /** The same, where the entry says something that its statements do not. */
  const misquoted = async (said: object): Promise<readonly Entry[]> =>
    (await stopped([ann, bob])).map((told) =>
      told.act === 'recovery.stop' && told.phase === 'attempted'
        ? { ...told, detail: { ...told.detail, ...said } }
        : told,
    );
  const few = /ended by [01] administrators, and that takes 2/;
  const others = /by others than signed, or for another reason/;
  areFound([
    ['others than signed', { reason: others, tell: () => misquoted({ signers: ['ann', 'dana'] }) }],
    ['more than signed', { reason: others, tell: () => misquoted({ signers: ['ann', 'bob', 'dana'] }) }],
    ['a reason that nobody gave', { reason: others, tell: () => misquoted({ reason: 'olga has left' }) }],
    ['one of them alone', { reason: few, tell: () => stopped([ann]) }],
    ['one of them twice', { reason: few, tell: () => stopped([ann, ann]) }],
    ['one of them and a depositary', { reason: few, tell: () => stopped([ann, dana]) }],
    ['one in the name of another', { reason: few, tell: () => stopped([ann, ann], { iss: 'bob' }) }],
    [
      'by statements about another request',
      { reason: few, tell: () => stopped([ann, bob], { recovery: 'rec_x' }) },
    ],
    [
      'by statements about something else',
      { reason: few, tell: () => stopped([ann, bob], { requestHash: 'ab' }) },
    ],
    ['by statements for another server', { reason: few, tell: () => stopped([ann, bob], { aud: 'x' }) }],
    ['by statements of long ago', { reason: few, tell: () => stopped([ann, bob], { exp: 1 }) }],
    [
      'by another kind of statement',
      { reason: few, tell: () => stopped([ann, bob], {}, 'escrowd-policy+jwt') },
    ],
  ]);

  areFound([
    [
      'is approved by nobody afterwards',
      {
        reason: /request that was not made, or has ended/,
        tell: async () => [
          ...(await stopped([ann, bob])),
          ...entries.slice(place('recovery.approve', 'attempted'), place('recovery.approve', 'done') + 1),
        ],
      },
    ],
  ]);
});

describe('a key that was asked for beyond its rule is found, also when depositaries have signed that:', () => {
  /** The golden log up to the outcome of a request that says this instead, by the hash of what it says. */
  const askedFor = (more: Readonly<Record<string, Json>>): readonly Entry[] => {
    const index = place('recovery.request', 'attempted');
    const asked = { ...without(entryAt(index).detail, 'requestHash'), ...more };
    return withDetail(index, { ...asked, requestHash: hashOf(asked) }).slice(0, index + 2);
  };
  const scopeWith = (more: Readonly<Record<string, Json>>): Readonly<Record<string, Json>> => {
    const { scope } = entryAt(place('recovery.request', 'attempted')).detail;
    return { scope: { ...(scope as Readonly<Record<string, Json>>), ...more } };
  };

  test('the request as it was made is no ground to refuse the log', async () => {
    expect(await verdictOn(sealed(askedFor({})))).toMatchObject({ ok: true });
  });

  describe('a request whose hash is also of what its keys are', () => {
    const descriptions = (label: string): Json =>
      Object.fromEntries(KEYS.map((key) => [key, { label, spec: 'ec-p256', use: 'sign' }]));
    /** Says `said`, and has the hash of `meant`. */
    const asked4 = (said: Json, meant: Json = said, version: Json = 4): readonly Entry[] => {
      const index = place('recovery.request', 'attempted');
      const { requestHash, ...before } = entryAt(index).detail;
      const owner = 'olga';
      const hash = hashOf({ ...before, version: 4, owner, keys: meant });
      expect(hash).not.toBe(requestHash);
      return withDetail(index, { version, descriptions: said, requestHash: hash }).slice(0, index + 2);
    };

    test('is believed', async () => {
      expect(await verdictOn(sealed(asked4(descriptions('letters'))))).toMatchObject({ ok: true });
    });

    const reason = /hash of the request is of something else/;
    areFound([
      ['another label', { reason, tell: () => asked4(descriptions('letters'), descriptions('trash')) }],
      [
        'keys that it is not for',
        { reason, tell: () => asked4({ [KEY]: { label: '', spec: 'ec-p256', use: 'sign' } }) },
      ],
      [
        'a version that there is not',
        { reason, tell: () => asked4(descriptions('letters'), descriptions('letters'), 5) },
      ],
      [
        'the version before, with descriptions',
        { reason, tell: () => asked4(descriptions('letters'), descriptions('letters'), 3) },
      ],
    ]);
  });

  areFound([
    ['more uses', { reason: /at most 10 uses/, tell: () => askedFor(scopeWith({ maxUses: 11 })) }],
    [
      'longer',
      { reason: /at most 7200 seconds/, tell: () => askedFor(scopeWith({ durationMs: 7_200_001 })) },
    ],
    [
      'another operation',
      { reason: /these operations/, tell: () => askedFor(scopeWith({ operations: ['decrypt'] })) },
    ],
    [
      'another mechanism',
      { reason: /allows ES256 only/, tell: () => askedFor(scopeWith({ mechanisms: ['ES384'] })) },
    ],
    ['digests', { reason: /messages only/, tell: () => askedFor(scopeWith({ input: 'digest' })) }],
    [
      'a faster rate',
      {
        reason: /at most 5 uses in/,
        tell: () => askedFor(scopeWith({ rate: { uses: 6, perMs: 3_600_000 } })),
      },
    ],
    ['no rate', { reason: /at most 5 uses in/, tell: () => askedFor(scopeWith({ rate: null })) }],
    [
      'for another purpose',
      {
        reason: /not for release/,
        tell: () => askedFor({ purpose: 'release', scope: { recipient: 'dana' } }),
      },
    ],
    [
      'to be decided for longer',
      { reason: /stands for at most/, tell: () => askedFor({ expiresAt: at(3 * 24 * 60) }) },
    ],
    [
      'with approvals that count for longer',
      { reason: /an approval counts for at most/, tell: () => askedFor({ approvalsHoldMs: 86_400_001 }) },
    ],
  ]);
});

describe('a grant that was not used as was asked for is found:', () => {
  const activated = (): number => place('recovery.activate', 'done');
  const firstUse = (): number => place('grant.sign', 'attempted');

  areFound([
    [
      'a use before its start',
      {
        reason: /before its grant had started/,
        tell: () => withDetail(activated(), { startsAt: at(15) }),
      },
    ],
    [
      'a grant that does not say when it starts',
      {
        reason: /without saying what it allows/,
        tell: () => {
          const entry = entryAt(activated());
          return entries.with(activated(), { ...entry, detail: without(entry.detail, 'startsAt') });
        },
      },
    ],
    [
      'more uses in a stretch of time than the rate allows',
      {
        reason: /faster than its grant allows/,
        tell: () => withDetail(firstUse(), { inputs: ['a', 'b', 'c'] }),
      },
    ],
    [
      'a use by a certificate that the policy does not bind to the app',
      {
        reason: /its certificate is not one of mailer/,
        tell: () => entries.with(firstUse(), byCertificate(entryAt(firstUse()), 'A'.repeat(43))),
      },
    ],
    [
      'a use beyond what was asked for, by certificate',
      {
        reason: /beyond the uses/,
        tell: () => {
          const index = entries.findIndex(({ v, phase }) => v === 2 && phase === 'attempted');
          return withDetail(index, { inputs: ['a', 'b', 'c'] });
        },
      },
    ],
    [
      'the end of a grant by certificate',
      {
        reason: /grant.revoke by mailer with a certificate in place of a signed request/,
        tell: () => {
          const entry = byCertificate(entryAt(place('grant.revoke', 'attempted')));
          return entries
            .with(place('grant.revoke', 'attempted'), { ...entry, actor: 'mailer' })
            .with(place('grant.revoke', 'done'), {
              ...entryAt(place('grant.revoke', 'done')),
              actor: 'mailer',
            });
        },
      },
    ],
  ]);
});

describe('an order that was sent again because its answer was lost', () => {
  /** The golden log up to what became of the first order, and the same order once more. */
  const again = async (became: Entry, minute: number, ik: string): Promise<readonly Entry[]> => {
    const from = place('key.generate', 'attempted');
    const more = {
      id: `act_${'e'.repeat(32)}`,
      time: at(minute),
      subject: { key: KEY.replaceAll('1', '7'), owner: 'olga' },
    };
    const signed = await request(people.olga, minute, '/v1/keys', { ik });
    return [
      ...entries.slice(0, from + 1),
      became,
      { ...entryAt(from), ...more, request: signed },
      { ...made(), ...more },
    ];
  };
  const made = (): Entry => entryAt(place('key.generate', 'done'));
  const cutShort = (): Entry => {
    const { v, time, act, id, actor, subject } = made();
    return { v, time, act, id, actor, subject, phase: 'failed', error: 'interrupted', detail: {} };
  };

  test('and made two things is found', async () => {
    expect(await verdictOn(sealed(await again(made(), 20, 'order 1')))).toMatchObject({
      ok: false,
      index: 4,
      reason: 'its Idempotency-Key stands for what was begun at 2026-03-01T12:02:00.000Z',
    });
  });

  test('is no ground to refuse the log when the first came to nothing, a day is over, or it is another', async () => {
    expect(await verdictOn(sealed(await again(cutShort(), 20, 'order 1')))).toMatchObject({ ok: true });
    expect(await verdictOn(sealed(await again(made(), 24 * 60 + 3, 'order 1')))).toMatchObject({ ok: true });
    expect(await verdictOn(sealed(await again(made(), 20, 'order 2')))).toMatchObject({ ok: true });
  });
});

describe('offline, an export must', () => {
  const noteIn = (bytes: Buffer): string =>
    parseCheckpointLine(bytes.toString().trimEnd().split('\n').at(-1) ?? '');
  const refusal = (reason: RegExp): object => ({
    ok: false,
    reason: expect.stringMatching(reason) as string,
  });

  test('extend the checkpoint that the auditor has kept', async () => {
    const whole = sealed(entries);
    const against = (seen: readonly Entry[]): { readonly against: string } => ({
      against: noteIn(sealed(seen)),
    });
    expect(await verdictOn(whole, against(entries.slice(0, 7)))).toMatchObject({ ok: true });
    const other = [...entries.slice(0, 6), { ...entryAt(6), time: at(5) }];
    expect(await verdictOn(whole, against(other))).toEqual(refusal(/first 7 entries are not those/));
    expect(await verdictOn(sealed(entries.slice(0, 6)), against(entries))).toEqual(refusal(/rolled back/));
  });

  test('be cosigned by as many of the pinned witnesses as are required', async () => {
    const [one, two, stranger] = ['one', 'two', 'stranger'].map((name) => testWitness(`${name}.example`));
    if (one === undefined || two === undefined || stranger === undefined) throw new Error('there are three');
    const cosigned = (by: readonly TestWitness[], of = entries): Buffer => {
      const note = by.reduce((so, witness) => so + witness.line(noteIn(sealed(of))), noteIn(sealed(entries)));
      const lines = sealed(entries).toString().trimEnd().split('\n');
      return Buffer.from([...lines.slice(0, -1), checkpointLine(note), ''].join('\n'));
    };
    const witnesses = { keys: [one.vkey, two.vkey], require: 2 };
    const both = await verdictOn(cosigned([one, two]), { witnesses });
    expect(both).toMatchObject({ ok: true, cosignedBy: ['one.example', 'two.example'] });
    const short = refusal(/cosigned by 1 of the witnesses given, and 2 are required/);
    expect(await verdictOn(cosigned([one]), { witnesses })).toEqual(short);
    expect(await verdictOn(cosigned([one, stranger]), { witnesses })).toEqual(short);
    // what a witness has said of another tree
    expect(await verdictOn(cosigned([one, two], entries.slice(0, 7)), { witnesses })).toMatchObject({
      ok: false,
    });
  });
});
