import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { verifyExport } from '../../src/audit/verifyExport.js';
import type { PublicPart } from '../../src/client/identity/publicPart.js';
import { DirectoryInForce } from '../../src/audit/directoryInForce.js';
import { OutcomeEvidence } from '../../src/audit/outcomes.js';
import { GrantEvidence } from '../../src/audit/grants.js';
import { QuorumEvidence } from '../../src/audit/quorums.js';
import { RequestEvidence } from '../../src/audit/requests.js';
import { canonicalJson, type Json } from '../../src/log/entry/canonical.js';
import { encodeEntry, type Entry } from '../../src/log/entry/entry.js';
import { documentHash } from '../../src/log/export/format.js';
import { exportLinesOf } from '../log/exportText.js';
import { ORIGIN } from '../client/fakeServer.js';
import type { Forgery } from '../client/sampleLog.js';
import {
  administrators,
  CERTIFICATE,
  document,
  exportOf,
  logKey,
  people,
  at,
  removal,
  RECOVERY,
  REQUEST_HASH,
  request,
  sampleEntries,
  statement,
} from '../client/sampleLog.js';

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'escrowctl-'));
  path = join(directory, 'log.ndjson');
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

/** An attempt, and what came of it: done, where nothing else is said. */
function ended(
  attempt: Entry,
  outcome: Partial<Entry> = { phase: 'done', digest: '77'.repeat(32) },
): Entry[] {
  const { time, act, id, actor, subject } = attempt;
  return [attempt, { v: 1, time, act, id, actor, subject, detail: {}, phase: 'denied', ...outcome }];
}

async function verdictOn(
  entries: readonly Entry[],
  bootstrap: readonly PublicPart[] = administrators,
): Promise<Awaited<ReturnType<typeof verifyExport>>> {
  writeFileSync(path, `${exportOf(entries).join('\n')}\n`);
  return verifyExport({ path, logKey: logKey.vkey, bootstrap });
}

test('an honest log is believed, and every request in it was verified', async () => {
  const { verdict, requests } = await verdictOn(await sampleEntries());
  expect(verdict).toMatchObject({ ok: true, size: 6 });
  expect(requests).toEqual({ verified: 3, certified: 0, unknown: 0, together: 0 });
});

test('without the first administrators, what they signed before the first policy is counted as unknown', async () => {
  const { verdict, requests } = await verdictOn(await sampleEntries(), []);
  expect(verdict).toMatchObject({ ok: true });
  expect(requests).toEqual({ verified: 2, certified: 0, unknown: 1, together: 0 });
});

test('one byte changed anywhere is found', async () => {
  await verdictOn(await sampleEntries());
  const whole = readFileSync(path);
  // every 37th byte: each part of the file is hit, and the test stays short
  for (let place = 0; place < whole.length; place += 37) {
    const spoiled = Buffer.from(whole);
    spoiled[place] = (spoiled[place] ?? 0) ^ 1;
    writeFileSync(path, spoiled);
    const { verdict } = await verifyExport({ path, logKey: logKey.vkey });
    expect({ place, ok: verdict.ok }).toEqual({ place, ok: false });
  }
});

describe('even a log that its key has signed is refused, at the entry, when', () => {
  const approvals = `/v1/recoveries/${RECOVERY}/approvals`;
  const cases: readonly (readonly [name: string, reason: RegExp, forge: () => Promise<Forgery>])[] = [
    [
      'a request is signed by somebody else',
      /not signed by a key of dana/,
      async () => ({ approvalRequest: await request(people.eve, 30, approvals, { iss: 'dana' }) }),
    ],
    [
      'a request says that it is by somebody else',
      /is by ann, not by dana/,
      async () => ({ approvalRequest: await request(people.dana, 30, approvals, { iss: 'ann' }) }),
    ],
    [
      'a request is for another act',
      /for another act/,
      async () => ({ approvalRequest: await request(people.dana, 30, `/v1/recoveries/${RECOVERY}/denials`) }),
    ],
    [
      'a request is about another thing',
      /for another act or another thing/,
      async () => ({ approvalRequest: await request(people.dana, 30, approvals.replace(/2/g, '3')) }),
    ],
    [
      'a request is for another server',
      /for another server/,
      async () => ({ approvalRequest: await request(people.dana, 30, approvals, { aud: 'elsewhere' }) }),
    ],
    [
      'a request is of another time',
      /of another time/,
      async () => ({ approvalRequest: await request(people.dana, 3, approvals) }),
    ],
    [
      'an act has no request at all',
      /without a signed request/,
      async () => {
        const [, , , , attempt] = await sampleEntries();
        if (attempt === undefined) throw new Error('the sample has an attempt');
        const invented: { -readonly [Member in keyof Entry]: Entry[Member] } = { ...attempt, id: 'act_3' };
        delete invented.request;
        return { more: [invented] };
      },
    ],
    [
      'a request stands twice',
      /used twice/,
      async () => {
        const approvalRequest = await request(people.dana, 30, approvals);
        const [, , , , attempt] = await sampleEntries({ approvalRequest });
        return { approvalRequest, more: attempt === undefined ? [] : ended({ ...attempt, id: 'act_3' }) };
      },
    ],
    [
      'an administrator who is none applies a policy',
      /not signed by a key of ann/,
      async () => ({ policyRequest: await request(people.eve, 1, '/v1/policy', { iss: 'ann' }) }),
    ],
    [
      'a policy has one signature',
      /1 signatures of administrators/,
      () => Promise.resolve({ policySigners: [people.ann, people.ann] }),
    ],
    [
      'a policy is signed by somebody who is no administrator',
      /1 signatures of administrators/,
      () => Promise.resolve({ policySigners: [people.ann, people.eve] }),
    ],
    [
      'a policy was signed on top of another version',
      /0 signatures/,
      () => Promise.resolve({ policyBase: 7 }),
    ],
    [
      'an approval is not signed by the depositary',
      /statement is not signed by dana/,
      async () => ({ statement: await statement(people.eve, { iss: 'dana' }) }),
    ],
    [
      'an approval is about another request',
      /about something else/,
      async () => ({ statement: await statement(people.dana, { requestHash: 'cd'.repeat(32) }) }),
    ],
    [
      'a denial is recorded as an approval',
      /about something else/,
      async () => ({ statement: await statement(people.dana, { decision: 'deny' }) }),
    ],
    [
      'another scope was asked for than was approved',
      /hash of the request is of something else/,
      () => Promise.resolve({ asked: { reason: 'another' } }),
    ],
    [
      'approvals of one request are recorded under another',
      /about something else than was asked/,
      async () => {
        const requestHash = 'cd'.repeat(32);
        const approved = await statement(people.dana, { requestHash });
        return { approval: { detail: { requestHash, statement: approved } } };
      },
    ],
    [
      'a request is made of an id that stands already',
      /asked for again/,
      async () => {
        const [, , ask] = await sampleEntries();
        const again = await request(people.dana, 31, '/v1/recoveries');
        return { more: ask === undefined ? [] : [{ ...ask, id: 'act_3', time: at(31), request: again }] };
      },
    ],
    [
      'a request is approved that nobody has made',
      /was not made/,
      async () => {
        const other = `rec_${'3'.repeat(32)}`;
        return {
          approval: {
            subject: { recovery: other, keys: ['key_1'], owner: 'olga' },
            detail: {
              requestHash: REQUEST_HASH,
              statement: await statement(people.dana, { recovery: other }),
            },
          },
          approvalRequest: await request(people.dana, 30, approvals.replace(RECOVERY, other)),
        };
      },
    ],
    ['there is no statement', /has signed no statement/, () => Promise.resolve({ statement: 'none' })],
  ];
  test.each(cases)('%s', async (_name, reason, forge) => {
    const { verdict } = await verdictOn(await sampleEntries(await forge()));
    expect(verdict).toMatchObject({ ok: false, reason: expect.stringMatching(reason) as string });
  });
});

test('a request that was refused before any attempt is no evidence against the log, whatever it says', async () => {
  const refused: Entry = {
    v: 1,
    time: '2026-03-01T12:31:00.000Z',
    act: 'recovery.approve',
    id: 'act_3',
    phase: 'denied',
    actor: 'dana',
    subject: {},
    request: await request(people.dana, 31, '/v1/elsewhere', { aud: 'elsewhere' }),
    error: 'request-signature-invalid',
    detail: {},
  };
  expect((await verdictOn(await sampleEntries({ more: [refused] }))).verdict).toMatchObject({ ok: true });
  const byEve = { ...refused, request: await request(people.eve, 31, '/v1/elsewhere', { iss: 'dana' }) };
  expect((await verdictOn(await sampleEntries({ more: [byEve] }))).verdict).toMatchObject({
    ok: true,
    reported: { count: 1, first: [{ index: 6, reason: 'its request is not signed by a key of dana' }] },
  });
});

describe('an app that was known by its client certificate', () => {
  const denied = (changes: Partial<Entry> = {}): Entry => ({
    v: 2,
    time: '2026-03-01T12:31:00.000Z',
    act: 'grant.sign',
    id: 'act_3',
    phase: 'denied',
    actor: 'mailer',
    subject: { grant: 'grant_1' },
    certificate: CERTIFICATE,
    error: 'grant-unknown',
    detail: {},
    ...changes,
  });
  const attempted = (changes: Partial<Entry> = {}): Entry => {
    const entry: { -readonly [Member in keyof Entry]: Entry[Member] } = denied({
      phase: 'attempted',
      ...changes,
    });
    delete entry.error;
    return entry;
  };
  const other = 'B'.repeat(42).concat('A');

  test.each(['grant.sign', 'grant.read', 'key.read'])(
    'is believed as far as its grants go, and counted apart: %s',
    async (act) => {
      const { verdict, requests } = await verdictOn(await sampleEntries({ more: [denied({ act })] }));
      expect(verdict).toMatchObject({ ok: true });
      expect(requests).toEqual({ verified: 3, certified: 1, unknown: 0, together: 0 });
    },
  );

  test.each<[string, RegExp, Entry]>([
    [
      'by a certificate that is not its own',
      /certificate is not one of mailer/,
      attempted({ certificate: other }),
    ],
    ['in a refusal, by a certificate not its own', /not one of mailer/, denied({ certificate: other })],
    ['when it is another principal', /certificate is not one of dana/, attempted({ actor: 'dana' })],
    ['for another act', /grant.revoke by mailer with a certificate/, attempted({ act: 'grant.revoke' })],
    ['for reading else', /recovery.read by mailer with a certificate/, denied({ act: 'recovery.read' })],
    ['for a read that was begun', /grant.read by mailer with a cert/, attempted({ act: 'grant.read' })],
    ['under a grant that was not made', /under a grant that was not made/, attempted()],
  ])('is refused %s', async (_name, reason, entry) => {
    const more = entry.phase === 'denied' ? [entry] : ended(entry);
    const { verdict } = await verdictOn(await sampleEntries({ more }));
    const found = { index: 6, reason: expect.stringMatching(reason) as string };
    expect(verdict).toMatchObject(
      entry.phase === 'denied'
        ? { ok: true, reported: { count: 1, first: [found] } }
        : { ok: false, ...found },
    );
  });

  test('is refused before there is a policy', async () => {
    const entries = await sampleEntries();
    const time = '2026-03-01T11:00:00.000Z';
    expect((await verdictOn([attempted({ time }), ...entries])).verdict).toMatchObject({
      ok: false,
      index: 0,
    });
    expect((await verdictOn([denied({ time }), ...entries])).verdict).toMatchObject({
      ok: true,
      reported: { count: 1, first: [{ index: 0 }] },
    });
  });

  test('uses nothing behind the entry that unbinds its certificate; a refusal may still come in', () => {
    const directory = new DirectoryInForce([]);
    const evidence = new RequestEvidence('origin', directory, { labelOf: () => undefined });
    const put = (inForce: Json, time: string): void => {
      directory.follow({ inForce, find: () => undefined });
      directory.changed(time);
    };
    const without = { ...(document as object), principals: [] } as unknown as Json;
    put(document, '2026-03-01T12:00:00.000Z');
    expect(evidence.check(attempted())).toBeUndefined();
    put(without, '2026-03-01T12:30:59.000Z');
    // it was one: a daemon from which its database hides the newest policy may have attempted that
    expect(evidence.check(attempted())).toMatch(/not one of mailer/);
    expect(evidence.check(attempted({ certificate: other }))).toEqual({
      invented: 'its certificate is not one of mailer',
    });
    expect(evidence.check(denied())).toBeUndefined();
    expect(evidence.check(denied({ time: '2026-03-01T12:45:00.000Z' }))).toMatch(/not one of mailer/);
  });
});

describe('an attempt that should not have been made', () => {
  const approvals = `/v1/recoveries/${RECOVERY}/approvals`;
  const removed = { ...(document as object), version: 2, principals: [] } as unknown as Json;
  const approval = async (): Promise<Entry> => {
    const [, , , , approve] = await sampleEntries();
    if (approve === undefined) throw new Error('the sample has an approval');
    return approve;
  };
  const attempts: Readonly<Record<string, () => Promise<Entry>>> = {
    'under a grant that has ended, or that the log has not': () =>
      Promise.resolve({
        ...{ v: 2, time: at(31), act: 'grant.sign', id: 'act_3', phase: 'attempted', actor: 'mailer' },
        ...{ subject: { grant: 'grant_1' }, certificate: CERTIFICATE, detail: {} },
      }),
    'of a request that has ended': async () => {
      const approve = await approval();
      const other = `rec_${'3'.repeat(32)}`;
      const about = { recovery: other, keys: ['key_1'], requestHash: REQUEST_HASH };
      const signed = await statement(people.dana, about);
      return {
        ...{ ...approve, id: 'act_3', time: at(31), subject: { ...approve.subject, recovery: other } },
        request: await request(people.dana, 31, approvals.replace(RECOVERY, other)),
        detail: { requestHash: REQUEST_HASH, statement: signed },
      };
    },
    'by a request that stands before': async () => ({ ...(await approval()), id: 'act_3' }),
    'by somebody who was removed': async () => ({
      ...{ ...(await approval()), id: 'act_3', time: at(45) },
      request: await request(people.dana, 45, approvals),
    }),
  };
  const outcomes: readonly (readonly [came: string, outcome: Partial<Entry>])[] = [
    ['denied', { error: 'record-mismatch' }],
    ['undone', { phase: 'failed', error: 'log-unavailable' }],
    ['interrupted', { phase: 'failed', error: 'interrupted' }],
  ];
  const verdictAfter = async (
    what: string,
    came: (attempt: Entry) => readonly Entry[],
  ): Promise<Awaited<ReturnType<typeof verifyExport>>['verdict']> => {
    const attempt = await attempts[what]?.();
    if (attempt === undefined) throw new Error('there is no such attempt');
    const isRemoval = what.endsWith('removed');
    const lines = exportOf(
      await sampleEntries({ more: [...(isRemoval ? await removal(removed) : []), ...came(attempt)] }),
      isRemoval ? [removed] : [],
    );
    writeFileSync(path, `${lines.join('\n')}\n`);
    return (await verifyExport({ path, logKey: logKey.vkey, bootstrap: administrators })).verdict;
  };

  describe.each(Object.keys(attempts))('%s', (what) => {
    const index = what.endsWith('removed') ? 8 : 6;

    test.each(outcomes)('is reported, and the log believed, when it was %s', async (came, outcome) => {
      expect(await verdictAfter(what, (attempt) => ended(attempt, outcome))).toMatchObject({
        ok: true,
        reported: { count: 1, first: [{ index, came }] },
      });
    });

    test('is reported while it has no outcome', async () => {
      expect(await verdictAfter(what, (attempt) => [attempt])).toMatchObject({
        ok: true,
        reported: { count: 1, first: [{ index, came: 'open' }] },
      });
    });

    test.each<[string, Partial<Entry>]>([
      ['done', { phase: 'done', digest: '77'.repeat(32) }],
      ['begun in the token', { phase: 'failed', error: 'token-unavailable' }],
    ])('is why the log is not believed when it was %s', async (_came, outcome) => {
      expect(await verdictAfter(what, (attempt) => ended(attempt, outcome))).toMatchObject({
        ok: false,
        index,
      });
    });
  });

  test('is why the log is not believed when somebody’s word in it was never given, whatever came of it', async () => {
    const byEve = await request(people.eve, 31, approvals, { iss: 'dana' });
    const invented = { ...(await approval()), id: 'act_3', time: at(31), request: byEve };
    for (const [, outcome] of outcomes) {
      const more = ended(invented, outcome);
      expect((await verdictOn(await sampleEntries({ more }))).verdict).toMatchObject({
        ok: false,
        index: 6,
        reason: 'its request is not signed by a key of dana',
      });
    }
  });
});

describe('what was done is what was attempted, or the log is not believed:', () => {
  const other = `rec_${'3'.repeat(32)}`;
  const changed = async (
    index: number,
    change: (entry: Entry) => Partial<Entry>,
    more: readonly Json[] = [],
  ): Promise<Awaited<ReturnType<typeof verifyExport>>['verdict']> => {
    const entries = (await sampleEntries()).map((entry, at) =>
      at === index ? { ...entry, ...change(entry) } : entry,
    );
    writeFileSync(path, `${exportOf(entries, more).join('\n')}\n`);
    return (await verifyExport({ path, logKey: logKey.vkey, bootstrap: administrators })).verdict;
  };

  test('a policy that nobody signed does not come into force by the outcome of one that was', async () => {
    const unsigned = { ...(document as object), rules: [{ name: 'mine' }] } as unknown as Json;
    const policyHash = documentHash(unsigned);
    const lines = async (hash: string, documents: readonly Json[]): Promise<readonly string[]> => {
      const entries = (await sampleEntries()).map((entry, at) =>
        at === 1 ? { ...entry, detail: { version: 1, policyHash: hash } } : entry,
      );
      return exportLinesOf({
        ...{ origin: ORIGIN, logKey, documents },
        lines: entries.map((entry) => Buffer.from(encodeEntry(entry)).toString()),
      });
    };
    writeFileSync(path, `${(await lines(policyHash, [unsigned])).join('\n')}\n`);
    const { verdict } = await verifyExport({ path, logKey: logKey.vkey, bootstrap: administrators });
    expect(verdict).toMatchObject({
      ok: false,
      index: 1,
      reason: expect.stringMatching(/another policy/) as string,
    });
    writeFileSync(path, `${(await lines(documentHash(document), [document])).join('\n')}\n`);
    expect((await verifyExport({ path, logKey: logKey.vkey, bootstrap: administrators })).verdict.ok).toBe(
      true,
    );
  });

  test('a policy does not come into force on top of another than its signers meant', async () => {
    const removed = { ...(document as object), version: 2, principals: [] } as unknown as Json;
    const next = { ...(document as object), version: 3 } as unknown as Json;
    const [attempt, done] = await removal(removed);
    const [second, after] = await removal(next);
    if (!attempt || !done || !second || !after) throw new Error('two attempts, two outcomes');
    const again = { id: 'act_5', time: at(41) } as const;
    const request2 = await request(people.ann, 41, '/v1/policy');
    const more = [attempt, { ...second, ...again, request: request2 }, done, { ...after, ...again }];
    writeFileSync(path, `${exportOf(await sampleEntries({ more }), [removed, next]).join('\n')}\n`);
    const { verdict } = await verifyExport({ path, logKey: logKey.vkey, bootstrap: administrators });
    expect(verdict).toMatchObject({
      ok: false,
      index: 9,
      reason: expect.stringMatching(/on top of version 2/) as string,
    });
  });

  test.each([3, 5])('what entry %i concludes is about what it was attempted about', async (index) => {
    for (const subject of [{ recovery: other, keys: ['key_1'], owner: 'olga' }, { recovery: RECOVERY }, {}]) {
      expect(await changed(index, () => ({ subject }))).toMatchObject({
        ok: false,
        index,
        reason: expect.stringMatching(/attempted about something else|other keys than were asked/) as string,
      });
    }
  });

  test('an approval comes with the replies that its statement names', async () => {
    const statementWith = await statement(people.dana, { replies: 'ab'.repeat(32) });
    for (const digest of ['ab', 'cd']) {
      const entries = (await sampleEntries({ statement: statementWith })).map((entry, at) =>
        at === 5 ? { ...entry, digest: digest.repeat(32) } : entry,
      );
      expect((await verdictOn(entries)).verdict.ok).toBe(digest === 'ab');
    }
  });

  test('grants are those that were named before', () => {
    const evidence = (): OutcomeEvidence => new OutcomeEvidence();
    const begun: Entry = {
      ...{ v: 1, time: at(1), act: 'recovery.activate', id: 'act_1', phase: 'attempted', actor: 'escrowd' },
      ...{ subject: { recovery: RECOVERY }, detail: { grants: { key_1: 'grant_1' } } },
    };
    const made = (grant: string): Entry => ({
      ...begun,
      phase: 'done',
      detail: { grants: { key_1: grant } },
    });
    for (const grant of ['grant_1', 'grant_2']) {
      const outcomes = evidence();
      expect(outcomes.check(begun)).toBeUndefined();
      expect(outcomes.check(made(grant)) === undefined).toBe(grant === 'grant_1');
    }
  });

  test('nothing comes of a request that was attempted and never filed', async () => {
    const unfiled = (await sampleEntries()).filter((_, index) => index !== 3);
    expect((await verdictOn(unfiled)).verdict).toMatchObject({
      ok: false,
      index: 3,
      reason: expect.stringMatching(/not made/) as string,
    });
  });
});

describe('a key that came back', () => {
  const KEY = 'key_1';
  const common = { v: 1, time: '2026-03-01T12:32:00.000Z', actor: 'escrowd' } as const;
  const deposited = (quorums: readonly (readonly string[])[]): readonly Entry[] => {
    const act = { ...common, act: 'key.generate', id: 'act_9', subject: { key: KEY } };
    return [
      { ...act, phase: 'attempted', detail: { quorums } },
      { ...act, phase: 'done', detail: {} },
    ];
  };
  const activated = (quorum: readonly string[], recovery = RECOVERY): Entry => ({
    ...common,
    act: 'recovery.activate',
    id: 'act_10',
    phase: 'attempted',
    subject: { keys: [KEY], recovery },
    detail: { quorums: { [KEY]: quorum } },
  });
  /** The sample log has an approval by dana; what it takes for a key of hers alone is left to be said. */
  const check = (
    entries: readonly Entry[],
    delayMs = 0,
    denials = Infinity,
    lists: (id: string, kid: string) => boolean = () => true,
  ): readonly (string | undefined)[] => {
    const terms = { delayMs: () => delayMs, isAfterDelay: () => false, denialsToEnd: () => denials };
    const evidence = new QuorumEvidence(terms, { lists });
    return entries.map((entry) => evidence.check(entry)).filter((reason) => reason !== undefined);
  };
  const approved = async (): Promise<readonly Entry[]> => sampleEntries();

  test('by a quorum that approved is no ground to refuse the log', async () => {
    expect(
      check([...deposited([['dana'], ['bob', 'eve']]), ...(await approved()), activated(['dana'])]),
    ).toEqual([]);
  });

  test.each<[string, readonly (readonly string[])[], Entry, RegExp]>([
    ['without a quorum', [['dana']], activated([]), /without a quorum/],
    [
      'without an approval of one of them',
      [['dana', 'eve']],
      activated(['dana', 'eve']),
      /without the approval of eve/,
    ],
    [
      'by fewer than it was deposited with',
      [['dana', 'eve']],
      activated(['dana']),
      /dana, which is no quorum/,
    ],
    [
      'by approvals of another request',
      [['dana']],
      activated(['dana'], 'rec_other'),
      /without the approval of dana/,
    ],
  ])('%s is found', async (_name, quorums, entry, reason) => {
    expect(check([...deposited(quorums), ...(await approved()), entry])).toEqual([
      expect.stringMatching(reason),
    ]);
  });

  test('after one of its quorum, or as many as end a request, had denied it is found', async () => {
    const deny = (actor: string): Entry => ({
      ...activated([]),
      ...{ act: 'recovery.deny', id: 'act_8', actor, phase: 'done', detail: { status: 'pending' } },
    });
    const by = async (actor: string, denials?: number): Promise<readonly (string | undefined)[]> => {
      const quorums = deposited([['dana'], ['bob']]);
      return check([...quorums, ...(await approved()), deny(actor), activated(['dana'])], 0, denials);
    };
    expect(await by('dana')).toEqual([expect.stringMatching(/without the approval of dana/)]);
    expect(await by('bob')).toEqual([]);
    expect(await by('bob', 2)).toEqual([]);
    expect(await by('bob', 1)).toEqual([expect.stringMatching(/after bob had denied/)]);
    // it is not a key of hers
    expect(await by('eve', 1)).toEqual([]);
  });

  test('that was never deposited is found', async () => {
    const [ordered, done] = deposited([['dana']]);
    if (ordered === undefined || done === undefined) throw new Error('an order has an outcome');
    for (const before of [[], [ordered], [ordered, { ...done, phase: 'denied', error: 'busy' } as Entry]]) {
      expect(check([...before, ...(await approved()), activated(['dana'])])).toEqual([
        expect.stringMatching(/deposit is not in the log/),
      ]);
    }
  });

  test('of several keys by a quorum of each is no ground to refuse the log, and without one of each is found', async () => {
    const second = deposited([['eve']]).map((entry) => ({ ...entry, subject: { key: 'key_2' } }));
    const both = [...deposited([['dana']]), ...second, ...(await approved())];
    const activation = (quorums: Entry['detail']): Entry => ({
      ...activated([]),
      subject: { keys: [KEY, 'key_2'], recovery: RECOVERY },
      detail: { quorums },
    });
    expect(check([...both, activation({ [KEY]: ['dana'], key_2: ['eve'] })])).toEqual([
      expect.stringMatching(/without the approval of eve/),
    ]);
    expect(check([...both, activation({ [KEY]: ['dana'], key_2: ['dana'] })])).toEqual([
      expect.stringMatching(/dana, which is no quorum of key_2/),
    ]);
    expect(check([...both, activation({ [KEY]: ['dana'] })])).toEqual([
      expect.stringMatching(/without a quorum for each of its keys/),
    ]);
    const shared = deposited([['dana']]).map((entry) => ({ ...entry, subject: { key: 'key_2' } }));
    const entries = [...deposited([['dana']]), ...shared, ...(await approved())];
    expect(check([...entries, activation({ [KEY]: ['dana'], key_2: ['dana'] })])).toEqual([]);
  });

  test('before the delay of its rule was over is found', async () => {
    const sample = await approved();
    const approval = sample.find(({ act, phase }) => act === 'recovery.approve' && phase === 'done');
    const waited = Date.parse(common.time) - Date.parse(approval?.time ?? '');
    const entries = [...deposited([['dana']]), ...sample, activated(['dana'])];
    expect(check(entries, waited)).toEqual([]);
    expect(check(entries, waited + 11_000)).toEqual([
      expect.stringMatching(/before the delay of .* was over/),
    ]);
  });

  test.each<[string, string, string, readonly RegExp[]]>([
    ['to whom the request names, who approved, is no ground to refuse the log', 'dana', 'dana', []],
    ['to another than the request names is found', 'dana', 'eve', [/to another than dana/]],
    ['to somebody who has not approved is found', 'eve', 'eve', [/to eve, who has not approved/]],
  ])('and was released %s', async (_what, named, recipient, reasons) => {
    const released: Entry = {
      ...activated([]),
      act: 'recovery.release',
      phase: 'done',
      detail: { recipient },
    };
    const asked: Entry = {
      ...released,
      act: 'recovery.request',
      phase: 'attempted',
      detail: { purpose: 'release', scope: { recipient: named } },
    };
    expect(check([asked, ...(await approved()), released])).toEqual(
      reasons.map((reason) => expect.stringMatching(reason) as string),
    );
  });

  describe('by an approval whose key the directory does not list when it is attempted', () => {
    const unless = (gone: string) => (id: string) => id !== gone;
    /** A daemon that files such a request counts no such approval. */
    const newer: Entry = {
      ...activated([], 'rec_newer'),
      ...{ act: 'recovery.request', id: 'act_0', detail: { version: 4, scope: {} } },
    };
    const released: Entry = { ...activated(['dana']), act: 'recovery.release', actor: 'bob' };

    test('is found', async () => {
      const entries = [newer, ...deposited([['dana']]), ...(await approved()), activated(['dana'])];
      const reason = expect.stringMatching(
        /by the approval of dana, whose key the directory lists no more/,
      ) as string;
      expect(check(entries, 0, Infinity, unless('dana'))).toEqual([reason]);
      expect(check(entries, 0, Infinity, unless('bob'))).toEqual([]);
    });

    test('is found also where it is the recipient’s, who is in no quorum', async () => {
      const sample = await approved();
      const bobs = sample
        .filter(({ act }) => act === 'recovery.approve')
        .map((entry) => ({ ...entry, actor: 'bob' }));
      const entries = [newer, ...deposited([['dana']]), ...sample, ...bobs, released];
      const reason = expect.stringMatching(/by the approval of bob/) as string;
      expect(check(entries, 0, Infinity, unless('bob'))).toEqual([reason]);
      expect(check(entries, 0, Infinity, unless('eve'))).toEqual([]);
    });

    test('was counted by daemons from before requests of version 4', async () => {
      const entries = [...deposited([['dana']]), ...(await approved()), activated(['dana'])];
      expect(check(entries, 0, Infinity, unless('dana'))).toEqual([]);
    });
  });

  test('twice by one round of approvals is found', async () => {
    const done: Entry = { ...activated(['dana']), phase: 'done', detail: {} };
    const again = { ...activated(['dana']), id: 'act_11' };
    const entries = [...deposited([['dana']]), ...(await approved()), activated(['dana']), done, again];
    expect(check(entries)).toEqual([expect.stringMatching(/without the approval of dana/)]);
  });
});

describe('a grant', () => {
  const { privateKey: identity, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const { privateKey: otherIdentity } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const identityKey = publicKey.export({ format: 'jwk' }) as Readonly<Record<string, string>>;
  const GRANT = 'grant_1';
  const subject = { recovery: RECOVERY, key: 'key_1', grant: GRANT };
  const ofRecovery = { recovery: RECOVERY, keys: ['key_1'] };
  const at = (minute: number): string => new Date(Date.UTC(2026, 2, 1, 12, minute)).toISOString();
  const act = (
    name: string,
    phase: Entry['phase'],
    detail: Entry['detail'],
    more: Partial<Entry> = {},
  ): Entry => ({
    v: 1,
    time: at(0),
    act: name,
    id: 'act_1',
    phase,
    actor: 'mailer',
    subject: name.startsWith('recovery.') ? ofRecovery : subject,
    detail,
    ...more,
  });
  const asked = act('recovery.request', 'attempted', {
    purpose: 'operate',
    scope: { app: 'mailer', operations: ['sign'], mechanisms: ['ES256'], maxUses: 3, durationMs: 3_600_000 },
  });
  const askedWith = (limits: Readonly<Record<string, Json>>): Entry => ({
    ...asked,
    detail: { ...asked.detail, scope: { ...(asked.detail['scope'] as object), ...limits } },
  });
  const made = (detail: Entry['detail'] = {}): Entry =>
    act('recovery.activate', 'done', {
      ...{ app: 'mailer', maxUses: 3, startsAt: at(0), expiresAt: at(60) },
      grants: { key_1: GRANT },
      ...detail,
    });
  const used = (inputs: number, more: Partial<Entry> = {}): Entry =>
    act('grant.sign', 'attempted', { mechanism: 'ES256', inputs: Array<string>(inputs).fill('ab') }, more);
  const check = (entries: readonly Entry[]): readonly (string | undefined)[] => {
    const by = { origin: 'escrow.test', logKey: 'escrow.test+00000000+AQ', identityKey };
    const evidence = new GrantEvidence(by, { has: () => false });
    return entries.map((entry) => evidence.check(entry)).filter((reason) => reason !== undefined);
  };
  const certificate = (
    change: Readonly<Record<string, Json>> = {},
    { typ = 'escrowd-grant+jwt', by = identity }: { typ?: string; by?: KeyObject } = {},
  ): string => {
    const said = {
      ...{
        iss: 'escrow.test',
        aud: 'escrow.test+00000000+AQ',
        iat: 1_772_366_400,
        recovery: ofRecovery.recovery,
      },
      ...{ grants: { key_1: GRANT }, scope: asked.detail['scope'] ?? null, start: at(0), end: at(60) },
      ...change,
    };
    const input = [{ alg: 'ES256', typ }, said]
      .map((part) => Buffer.from(canonicalJson(part)).toString('base64url'))
      .join('.');
    const signature = sign('sha256', Buffer.from(input), { key: by, dsaEncoding: 'ieee-p1363' });
    return `${input}.${signature.toString('base64url')}`;
  };
  const certified = (jws: string): Entry => act('grant.certify', 'done', { certificate: jws }, { subject });
  const revoked = (minute: number): Entry => act('grant.revoke', 'done', {}, { time: at(minute) });

  test('that was used within what it allows is no ground to refuse the log', () => {
    expect(check([asked, made(), used(2), used(1), act('grant.exhaust', 'done', {})])).toEqual([]);
    // an act that was decided before the end may be recorded right after it
    expect(check([asked, made(), revoked(1), used(1, { time: at(1) })])).toEqual([]);
  });

  test('that is certified, at once or later, is no ground to refuse the log', () => {
    expect(check([asked, made({ certificate: certificate() }), used(1)])).toEqual([]);
    expect(check([asked, made(), used(1), certified(certificate())])).toEqual([]);
    // what is not limited is left out by older entries
    const scope = { ...(asked.detail['scope'] as object), rate: null, notAfter: null };
    expect(check([asked, made(), certified(certificate({ scope }))])).toEqual([]);
    // it was over when it was given one
    const late = { ...revoked(90), time: at(90) };
    expect(check([asked, made(), late, certified(certificate())])).toEqual([]);
  });

  test.each<[string, string, RegExp]>([
    ['of another kind', certificate({}, { typ: 'escrowd-attestation+jwt' }), /is none/],
    ['that says more', certificate({ also: 1 }), /is none/],
    ['by another key', certificate({}, { by: otherIdentity }), /not signed by the identity key/],
    ['by another server', certificate({ iss: 'other' }), /of other grants/],
    ['for another log', certificate({ aud: 'other' }), /of other grants/],
    ['of another request', certificate({ recovery: 'rec_9' }), /of other grants/],
    ['of another grant', certificate({ grants: { key_1: 'grant_9' } }), /of other grants/],
    ['of another key', certificate({ grants: { key_9: GRANT } }), /of other grants/],
    ['for another app', certificate({ scope: { app: 'eve' } }), /says something else/],
    ['from an earlier start', certificate({ start: at(-1) }), /says something else/],
    ['to a later end', certificate({ end: at(61) }), /says something else/],
  ])('with a certificate %s is found', (_what, jws, reason) => {
    expect(check([asked, made({ certificate: jws })])).toEqual([expect.stringMatching(reason)]);
    expect(check([asked, made(), certified(jws)])).toEqual([expect.stringMatching(reason)]);
  });

  test.each<[string, readonly Entry[], RegExp]>([
    ['used more often than it allows', [asked, made(), used(2), used(2)], /beyond the uses/],
    ['used for another operation', [asked, made(), used(1, { act: 'grant.decrypt' })], /does not allow/],
    [
      'used by another mechanism',
      [asked, made(), used(1, { detail: { mechanism: 'ES384', inputs: ['ab'] } })],
      /mechanism that its grant does not allow/,
    ],
    ['made for longer than was asked for', [asked, made({ expiresAt: at(66) })], /longer than was asked for/],
    [
      'made to start before what was asked for',
      [askedWith({ notBefore: at(1) }), made()],
      /earlier than was asked for/,
    ],
    [
      'made to last beyond what was asked for',
      [askedWith({ notAfter: at(59) }), made()],
      /longer than was asked for/,
    ],
    ['used by another app', [asked, made(), used(1, { actor: 'eve' })], /by eve under a grant of mailer/],
    ['used long after it expired', [asked, made(), used(1, { time: at(66) })], /after its grant had ended/],
    [
      'used long after it was revoked',
      [asked, made(), revoked(1), used(1, { time: at(7) })],
      /after its grant/,
    ],
    ['never made, and used', [asked, used(1)], /not made/],
    ['made for more uses than were asked for', [asked, made({ maxUses: 4 })], /4 uses, and 3 were asked for/],
    ['made for another app', [asked, made({ app: 'eve' })], /for eve, and was asked for mailer/],
    ['made without a request', [made()], /nobody has asked/],
    ['made twice of one request', [asked, made(), made()], /nobody has asked/],
    ['made without terms', [asked, act('recovery.activate', 'done', {})], /without saying/],
    ['made for another key', [asked, made({ grants: { key_2: GRANT } })], /other keys than were asked for/],
    [
      'made for a key more',
      [asked, made({ grants: { key_1: GRANT, key_2: 'grant_2' } })],
      /other keys than were asked for/,
    ],
    [
      'used with another key',
      [asked, made(), used(1, { subject: { ...subject, key: 'key_2' } })],
      /another key than the grant is for/,
    ],
    ['used for nothing', [asked, made(), used(0)], /does not say of what/],
  ])('%s is found', (_name, entries, reason) => {
    expect(check(entries)).toEqual([expect.stringMatching(reason)]);
  });
});
