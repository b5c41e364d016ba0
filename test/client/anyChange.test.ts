import fc from 'fast-check';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { verifyExport } from '../../src/audit/verifyExport.js';
import type { Json } from '../../src/log/entry/canonical.js';
import { canonicalJson } from '../../src/log/entry/canonical.js';
import type { Entry } from '../../src/log/entry/entry.js';
import { checkpointLine, headerLine, parseCheckpointLine } from '../../src/log/export/format.js';
import type { Verdict } from '../../src/log/export/verifier.js';
import { fixedPrivateKey, testKeyOf } from '../log/noteKeys.js';
import {
  administrators,
  at,
  GRANT,
  goldenEntries,
  hashOf,
  KEY,
  logKey,
  ORIGIN,
  OTHER_KEY,
  people,
  policySignatures,
  request,
  sealed,
  sealedLines,
  statement,
  unsigned,
} from './goldenLog.js';

const NO_KEY = `key_${'9'.repeat(32)}`;
let directory: string;
let path: string;
let entries: readonly Entry[];
let honest: Buffer;
/** The lines of the honest export, without their line feeds. */
let lines: readonly string[];
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'escrowctl-'));
  path = join(directory, 'log.ndjson');
  entries = await goldenEntries();
  honest = sealed(entries);
  lines = honest.toString().split('\n').slice(0, -1);
});
afterAll(() => {
  rmSync(directory, { recursive: true });
});

async function verdictOn(bytes: Uint8Array): Promise<Verdict> {
  writeFileSync(path, bytes);
  const { verdict } = await verifyExport({ path, logKey: logKey.vkey, bootstrap: administrators });
  return verdict;
}

const joined = (all: readonly string[]): Buffer => Buffer.from(all.map((line) => `${line}\n`).join(''));
const place = fc.nat().map((n) => n % honest.length);
const line = fc.nat().map((n) => n % lines.length);

test('the honest export is believed', async () => {
  expect(await verdictOn(honest)).toMatchObject({ ok: true, size: entries.length });
});

describe('any single change anywhere in an export is found', () => {
  const byte = fc.integer({ min: 0, max: 255 });
  const spliced = (start: number, length: number, ...insert: readonly number[]): Buffer =>
    Buffer.concat([honest.subarray(0, start), Buffer.from(insert), honest.subarray(start + length)]);
  const kinds: Readonly<Record<string, () => fc.Arbitrary<Buffer>>> = {
    'a byte changed': () => fc.tuple(place, byte).map(([start, value]) => spliced(start, 1, value)),
    'a bit flipped': () =>
      fc.tuple(place, fc.nat(7)).map(([start, bit]) => spliced(start, 1, (honest[start] ?? 0) ^ (1 << bit))),
    'bytes inserted': () =>
      fc
        .tuple(fc.nat(), fc.array(byte, { minLength: 1, maxLength: 8 }))
        .map(([start, bytes]) => spliced(start % (honest.length + 1), 0, ...bytes)),
    'bytes taken out': () =>
      fc.tuple(place, fc.integer({ min: 1, max: 2000 })).map(([start, length]) => spliced(start, length)),
    'bytes repeated': () =>
      fc
        .tuple(place, fc.integer({ min: 1, max: 2000 }))
        .map(([start, length]) => spliced(start, 0, ...Array.from(honest.subarray(start, start + length)))),
    'the end cut off': () => place.map((length) => honest.subarray(0, length)),
    'a line left out': () => line.map((index) => joined(lines.toSpliced(index, 1))),
    'a line repeated somewhere': () =>
      fc.tuple(line, line).map(([from, to]) => joined(lines.toSpliced(to, 0, lines[from] ?? ''))),
    'two lines in each other\u2019s place': () =>
      fc.tuple(line, line).map(([a, b]) => joined(lines.with(a, lines[b] ?? '').with(b, lines[a] ?? ''))),
  };

  test.each(Object.keys(kinds))('%s', async (kind) => {
    await fc.assert(
      fc.asyncProperty(kinds[kind]?.() ?? fc.constant(honest), async (changed) => {
        fc.pre(!changed.equals(honest));
        expect((await verdictOn(changed)).ok).toBe(false);
      }),
      { numRuns: 100 },
    );
  });
});

/** Where something stands in a JSON value: names of members, and places in arrays. */
type Path = readonly (string | number)[];

function pathsIn(value: Json, from: Path = []): readonly Path[] {
  if (typeof value !== 'object' || value === null) return [from];
  const members: readonly (readonly [string | number, Json])[] = Array.isArray(value)
    ? (value as readonly Json[]).map((item, index) => [index, item] as const)
    : Object.entries(value);
  return [from, ...members.flatMap(([name, item]) => pathsIn(item, [...from, name]))];
}

/** The value with what stands at the path replaced; undefined takes it out. */
function edited(
  value: Json,
  [name, ...rest]: Path,
  change: (old: Json) => Json | undefined,
): Json | undefined {
  if (name === undefined) return change(value);
  if (Array.isArray(value)) {
    const items = value as readonly Json[];
    const next = edited(items[Number(name)] ?? null, rest, change);
    return items.flatMap((item, index) => (index !== name ? [item] : next === undefined ? [] : [next]));
  }
  const object = value as Readonly<Record<string, Json>>;
  const next = edited(object[name] ?? null, rest, change);
  const others = Object.entries(object).filter(([other]) => other !== name);
  return Object.fromEntries(next === undefined ? others : [...others, [String(name), next]]);
}

function isObject(value: Json): value is Readonly<Record<string, Json>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Another value of the same kind where that is possible: what an editor who knows the format would write. */
function another(old: Json): Json {
  if (typeof old === 'string') {
    const last = old.at(-1) ?? '';
    return /[0-9a-f]$/.test(old) ? old.slice(0, -1) + (last === '0' ? '1' : '0') : `${old}a`;
  }
  if (typeof old === 'number') return old + 1;
  if (typeof old === 'boolean') return !old;
  return old === null ? 0 : null;
}

describe('an entry rewritten in canonical form', () => {
  /** An entry's line, with any one member of it changed, taken out, or given another beside it. */
  const rewriting = (): fc.Arbitrary<readonly [index: number, line: string]> => {
    const all = entries.flatMap((entry, index) => {
      const value = JSON.parse(canonicalJson(entry)) as Json;
      return pathsIn(value).flatMap((at) =>
        [
          edited(value, at, another),
          edited(value, at, () => undefined),
          edited(value, at, (old) => (isObject(old) ? { ...old, added: 1 } : [old])),
        ].flatMap((next) => (next === undefined ? [] : [[index, canonicalJson(next)] as const])),
      );
    });
    return fc.constantFrom(...all);
  };
  const others = (): readonly string[] => lines.slice(2, -1);
  const forger = testKeyOf(ORIGIN, fixedPrivateKey('forger'));
  const withLast = (bytes: Buffer, last: (note: string) => string): Buffer => {
    const all = bytes.toString().split('\n').slice(0, -1);
    const note = parseCheckpointLine(all.at(-1) ?? '');
    return joined(all.with(-1, checkpointLine(last(note))));
  };
  /** What somebody without the log's key can do about it. */
  const ways: Readonly<Record<string, (changed: readonly string[]) => Buffer>> = {
    'and nothing else': (changed) => joined([...lines.slice(0, 2), ...changed, ...lines.slice(-1)]),
    'under a tree of its own, with the old signature': (changed) => {
      const old = parseCheckpointLine(lines.at(-1) ?? '');
      return withLast(
        sealedLines(changed),
        (note) => note.slice(0, note.indexOf('\n\n')) + old.slice(old.indexOf('\n\n')),
      );
    },
    'under a signature by another key, said to be the log\u2019s': (changed) => {
      const bytes = sealedLines(changed, { logKey: forger });
      const all = bytes.toString().split('\n').slice(0, -1);
      return joined(all.with(0, headerLine({ origin: ORIGIN, logKey: logKey.vkey })));
    },
    'under a signature by another key with the name and id of the log\u2019s': (changed) => {
      const [name, id] = logKey.vkey.split('+');
      const keyId = Buffer.from(id ?? '', 'hex');
      const bytes = sealedLines(changed, { logKey: forger });
      const all = bytes.toString().split('\n').slice(0, -1);
      return withLast(joined(all.with(0, headerLine({ origin: ORIGIN, logKey: logKey.vkey }))), (note) => {
        const [text = '', signature = ''] = note.split('\n\n');
        const raw = Buffer.from(signature.trim().split(' ').at(-1) ?? '', 'base64').subarray(4);
        return `${text}\n\n\u2014 ${name ?? ''} ${Buffer.concat([keyId, raw]).toString('base64')}\n`;
      });
    },
    'under another key throughout': (changed) => sealedLines(changed, { logKey: forger }),
  };

  test.each(Object.keys(ways))('%s, is refused', async (way) => {
    await fc.assert(
      fc.asyncProperty(rewriting(), async ([index, changed]) => {
        fc.pre(changed !== others()[index]);
        const bytes = ways[way]?.(others().with(index, changed)) ?? honest;
        expect((await verdictOn(bytes)).ok).toBe(false);
      }),
      { numRuns: 100 },
    );
  });

  test('an export that is left as it is, under a signature by another key, is refused as well', async () => {
    for (const way of Object.values(ways).slice(2)) expect((await verdictOn(way(others()))).ok).toBe(false);
  });
});

describe('whoever has the key of the log as well cannot invent what others sign:', () => {
  const signatures = (): readonly (readonly [index: number, path: Path])[] =>
    entries.flatMap((entry, index) =>
      pathsIn(JSON.parse(canonicalJson(entry)) as Json)
        .filter((at) =>
          ['request', 'statement', 'signatures'].includes(String(at.find((x) => x !== 'detail'))),
        )
        .filter((at) => at.at(-1) !== 'signatures')
        .map((at) => [index, at] as const),
    );

  const spoiled = (index: number, at: Path, change: (text: string) => string): string =>
    canonicalJson(
      edited(JSON.parse(canonicalJson(entries[index])) as Json, at, (old) =>
        typeof old === 'string' ? change(old) : old,
      ),
    );

  /** What was refused before any attempt has done nothing: where it can be read, it is reported, and the rest believed. */
  const expectFound = (index: number, verdict: Verdict): void => {
    if (entries[index]?.phase !== 'denied') expect(verdict.ok).toBe(false);
    else if (verdict.ok)
      expect(verdict).toMatchObject({ ok: true, reported: { count: 1, first: [{ index }] } });
  };

  test('a signature that is written in another way is refused, though it says the same', async () => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    for (const [index, at] of signatures()) {
      // the last character of 64 bytes in base64url has four bits that mean nothing
      const changed = spoiled(
        index,
        at,
        (text) => text.slice(0, -1) + (alphabet[alphabet.indexOf(text.at(-1) ?? '') ^ 1] ?? ''),
      );
      expectFound(index, await verdictOn(sealedLines(lines.slice(2, -1).with(index, changed))));
    }
  });

  test('a request, statement or signature with any character changed is refused', async () => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.';
    expect(signatures()).toHaveLength(11 + 3 + 2);
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...signatures()),
        fc.nat(),
        fc.constantFrom(...Array.from(alphabet)),
        async ([index, at], place, character) => {
          const changed = spoiled(index, at, (text) => {
            const start = place % text.length;
            return text.slice(0, start) + character + text.slice(start + 1);
          });
          fc.pre(changed !== lines[2 + index]);
          const verdict = await verdictOn(sealedLines(lines.slice(2, -1).with(index, changed)));
          expectFound(index, verdict);
        },
      ),
      { numRuns: 200 },
    );
  });

  test('a request to recover that says anything else than was approved is refused', async () => {
    const index = entries.findIndex(({ act }) => act === 'recovery.request');
    const value = JSON.parse(canonicalJson(entries[index])) as Json;
    const detail = pathsIn(value).filter(([first, ...rest]) => first === 'detail' && rest.length > 0);
    expect(detail.length).toBeGreaterThan(10);
    for (const at of detail) {
      for (const change of [another, (): undefined => undefined]) {
        const changed = edited(value, at, change) as unknown as Entry;
        const verdict = await verdictOn(sealed(entries.with(index, changed)));
        expect({ at, ok: verdict.ok }).toEqual({ at, ok: false });
      }
    }
  });

  const place = (act: string, phase: Entry['phase'], actor?: string): number =>
    entries.findIndex(
      (entry) => entry.act === act && entry.phase === phase && (actor ?? entry.actor) === entry.actor,
    );
  const changedAt = (index: number, change: (entry: Entry) => Entry): readonly Entry[] =>
    entries.map((entry, at) => (at === index ? change(entry) : entry));
  const withDetail =
    (more: Entry['detail']) =>
    (entry: Entry): Entry => ({ ...entry, detail: { ...entry.detail, ...more } });
  const without = (act: string, actor: string): readonly Entry[] =>
    entries.filter((entry) => entry.act !== act || entry.actor !== actor);
  const uses = `/v1/grants/${GRANT}/sign`;
  const use = (more: Partial<Entry>): Entry => {
    const attempt = entries[place('grant.sign', 'attempted')];
    if (attempt === undefined) throw new Error('the sample has a use');
    return { ...unsigned(attempt), id: 'act_invented', time: at(11), ...more };
  };
  /** Done, in the log, as the use before it was. */
  const inserted = (entry: Entry): readonly Entry[] => {
    const [index, { actor, id, time }] = [place('grant.sign', 'attempted') + 2, entry];
    const done = entries[index - 1];
    if (done?.phase !== 'done') throw new Error('the sample has a use that was done');
    return entries.toSpliced(index, 0, entry, { ...done, actor, id, time });
  };
  const approval = (): number => place('recovery.approve', 'attempted', 'erin');

  test.each<[string, RegExp, () => readonly Entry[] | Promise<readonly Entry[]>]>([
    [
      'an approval without a statement',
      /has signed no statement/,
      () =>
        changedAt(approval(), (entry) => ({
          ...entry,
          detail: { requestHash: entry.detail['requestHash'] ?? '' },
        })),
    ],
    [
      'an approval whose statement somebody else has signed',
      /not signed by erin/,
      async () => {
        const forged = await statement(people.eve, { iss: 'erin' });
        return changedAt(approval(), withDetail({ statement: forged }));
      },
    ],
    ['an approval without a request', /without a signed request/, () => changedAt(approval(), unsigned)],
    [
      'an approval of another scope, by a true statement about it',
      /about something else than was asked/,
      async () => {
        const requestHash = hashOf({ reason: 'small' });
        const other = await statement(people.erin, { requestHash });
        return changedAt(approval(), withDetail({ requestHash, statement: other }));
      },
    ],
    [
      'a key brought back with one approval too few',
      /without the approval of erin/,
      () => without('recovery.approve', 'erin'),
    ],
    [
      'a key brought back by one of its depositaries alone',
      /no quorum of key_1111/,
      () =>
        changedAt(
          place('recovery.activate', 'attempted'),
          withDetail({ quorums: { [KEY]: ['dana'], [OTHER_KEY]: ['dana', 'erin'] } }),
        ),
    ],
    [
      'a grant for more uses than were asked for',
      /were asked for/,
      () => changedAt(place('recovery.activate', 'done'), withDetail({ maxUses: 6 })),
    ],
    [
      'a grant for longer than was asked for',
      /longer than was asked for/,
      () => changedAt(place('recovery.activate', 'done'), withDetail({ expiresAt: at(24 * 60) })),
    ],
    [
      'a grant for another app',
      /was asked for mailer/,
      () => changedAt(place('recovery.activate', 'done'), withDetail({ app: 'eve' })),
    ],
    ['a request to recover that was never made', /was not made/, () => without('recovery.request', 'dana')],
    ['a use without a request', /without a signed request/, () => inserted(use({}))],
    [
      'a use by the request of another use',
      /used twice/,
      () =>
        inserted(use({ request: entries[place('grant.sign', 'attempted')]?.request ?? '', time: at(10) })),
    ],
    [
      'a use by a request that somebody else has signed',
      /not signed by a key of mailer/,
      async () => inserted(use({ request: await request(people.eve, 11, uses, { iss: 'mailer' }) })),
    ],
    [
      'a use by somebody else who has signed it',
      /not signed by a key of eve|under a grant of mailer/,
      async () => inserted(use({ actor: 'eve', request: await request(people.eve, 11, uses) })),
    ],
    [
      'a use by another mechanism than was asked for',
      /does not allow/,
      () => changedAt(place('grant.sign', 'attempted'), withDetail({ mechanism: 'ES384' })),
    ],
    [
      'more uses than were approved, by requests that the app has signed',
      /beyond the uses/,
      () =>
        changedAt(place('grant.sign', 'attempted'), withDetail({ inputs: ['a', 'b', 'c', 'd', 'e', 'f'] })),
    ],
    [
      'a policy that one administrator has signed',
      /1 signatures of administrators, and needs 2/,
      async () => {
        const forged = await policySignatures([people.ann]);
        return changedAt(place('policy.apply', 'attempted'), withDetail({ signatures: forged }));
      },
    ],
    [
      'a policy that somebody has signed who is no administrator',
      /1 signatures of administrators, and needs 2/,
      async () => {
        const forged = await policySignatures([people.ann, people.eve]);
        return changedAt(place('policy.apply', 'attempted'), withDetail({ signatures: forged }));
      },
    ],
    [
      'a key that nobody has ordered',
      /without a signed request/,
      () => changedAt(place('key.generate', 'attempted'), unsigned),
    ],
    [
      'the end of a grant that nobody has asked for',
      /without a signed request/,
      () => changedAt(place('grant.revoke', 'attempted'), unsigned),
    ],
    [
      'a refusal of what nobody has asked for',
      /no open attempt/,
      () => changedAt(place('grant.sign', 'denied'), unsigned),
    ],
    [
      'the other key brought back by one of its depositaries alone',
      /dana, which is no quorum of key_4444/,
      () =>
        changedAt(
          place('recovery.activate', 'attempted'),
          withDetail({ quorums: { [KEY]: ['dana', 'erin'], [OTHER_KEY]: ['dana'] } }),
        ),
    ],
    [
      'a key brought back without a quorum beside one that has it',
      /without a quorum for each of its keys/,
      () =>
        changedAt(
          place('recovery.activate', 'attempted'),
          withDetail({ quorums: { [KEY]: ['dana', 'erin'] } }),
        ),
    ],
    ...[
      ['another key in place of one', [OTHER_KEY, NO_KEY]],
      ['a key more', [KEY, OTHER_KEY, NO_KEY]],
      ['a key less', [KEY]],
    ].flatMap(([what, keys]): [string, RegExp, () => readonly Entry[] | Promise<readonly Entry[]>][] => {
      const named = keys as readonly string[];
      const about = (entry: Entry): Entry => ({ ...entry, subject: { ...entry.subject, keys: named } });
      return [
        [
          `${String(what)} brought back by the same approvals`,
          /about other keys than were asked for/,
          () => changedAt(place('recovery.activate', 'attempted'), about),
        ],
        [
          `${String(what)} said to be brought back in the outcome`,
          /about other keys than were asked for/,
          () => changedAt(place('recovery.activate', 'done'), about),
        ],
        [
          `${String(what)} in the entry of an approval`,
          /statement of erin is about something else/,
          () => changedAt(approval(), about),
        ],
        [
          `${String(what)} asked for than the depositaries approved`,
          /hash of the request is of something else/,
          () => entries.map((entry) => (entry.act.startsWith('recovery.') ? about(entry) : entry)),
        ],
        [
          `${String(what)} asked for, with the hash of that, than the depositaries approved`,
          /statement of dana is about something else/,
          () => {
            const asked = entries[place('recovery.request', 'attempted')]?.detail ?? {};
            const { requestHash, ...contents } = asked;
            expect(requestHash).toBe(hashOf(contents));
            const hash = hashOf({ ...contents, keys: named });
            return entries.map((entry) =>
              entry.act.startsWith('recovery.')
                ? withDetail('requestHash' in entry.detail ? { requestHash: hash } : {})(about(entry))
                : entry,
            );
          },
        ],
        [
          `${String(what)} in a statement that its depositary has signed`,
          /statement of erin is about something else/,
          async () => {
            const other = await statement(people.erin, { keys: named });
            return changedAt(approval(), withDetail({ statement: other }));
          },
        ],
        [
          `${String(what)} as a grant`,
          /grants are made for other keys than were asked for/,
          () =>
            changedAt(
              place('recovery.activate', 'done'),
              withDetail({ grants: Object.fromEntries(named.map((key, at) => [key, `grant_${at}`])) }),
            ),
        ],
      ];
    }),
    [
      'a use of another key than the grant is for',
      /another key than the grant is for/,
      () =>
        changedAt(place('grant.sign', 'attempted'), (entry) => ({
          ...entry,
          subject: { ...entry.subject, key: OTHER_KEY },
        })),
    ],
    [
      'one grant for two keys',
      /stands already/,
      () =>
        changedAt(
          place('recovery.activate', 'done'),
          withDetail({ grants: { [KEY]: GRANT, [OTHER_KEY]: GRANT } }),
        ),
    ],
    [
      'a second grant by the same approvals',
      /not made, or has ended/,
      () => {
        const [from, to] = [place('recovery.activate', 'attempted'), place('recovery.activate', 'done')];
        const again = entries.slice(from, to + 1).map((entry) => ({ ...entry, id: 'act_again' }));
        return entries.toSpliced(to + 1, 0, ...again);
      },
    ],
  ])('%s', async (_name, reason, forge) => {
    const verdict = await verdictOn(sealed(await forge()));
    expect(verdict).toMatchObject({ ok: false, reason: expect.stringMatching(reason) as string });
  });
});
