import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Entry } from '../../../src/log/entry/entry.js';
import { routesOf } from '../../../src/http/routes/index.js';
import type { Answer } from '../../http/apiClient.js';
import { problemCode } from '../../http/apiClient.js';
import { NOW, signedRequest } from '../../http/identities.js';
import { PEOPLE } from '../../http/people.js';
import { GRANT, KEY, RECOVERY } from '../../http/world.js';
import { chance } from '../../support/chance.js';
import type { ListeningWorld } from './listeningWorld.js';
import { listeningWorld } from './listeningWorld.js';

/*
 * Anybody whom the directory lists sends whatever they like. Whatever is refused, and whatever is done, the log can be
 * verified from its first entry to its last.
 */

const { ann, olga, dana, dave, mailer, zed, gus } = PEOPLE;
const CALLERS = [ann, olga, dana, dave, mailer, zed, gus] as const;
/** Those who are taken out of the directory now and then; those whom its rules name stay. */
const REMOVABLE = [olga, mailer, zed, gus].map(({ id }) => id);
const OTHER = `rec_${'6'.repeat(32)}`;
const UNKNOWN = `key_${'7'.repeat(32)}`;

/** One spelling, and others that a server might take for the same. */
const SPELLINGS: Readonly<Record<string, (target: string) => string>> = {
  'as it is': (target) => target,
  'a letter behind a percent sign': (target) => target.replace('/v', '/%76'),
  'all behind percent signs': (target) =>
    target.replace(/[a-z0-9]/g, (letter) => `%${letter.charCodeAt(0).toString(16)}`),
  'a fragment': (target) => `${target}#x`,
  'the absolute form': (target) => `https://127.0.0.1${target}`,
  'the absolute form of another host': (target) => `http://elsewhere.example${target}`,
  'a query': (target) => `${target}?x=1`,
  'an empty query': (target) => `${target}?`,
  'a slash too many': (target) => `/${target}`,
  'a slash at the end': (target) => `${target}/`,
  'a step up': (target) => `/v1/x/../${target.slice(4)}`,
  'capital letters': (target) => target.toUpperCase(),
};

/** Members that a body has beside those that the route knows, or in their place. */
const BODIES: readonly object[] = [
  {},
  { recovery: RECOVERY, reason: 'r' },
  { recovery: OTHER, grant: GRANT, key: UNKNOWN, keys: [UNKNOWN], owner: 'oscar' },
  { recovery: RECOVERY, keys: [KEY, UNKNOWN], owner: 'nobody' },
  { owner: 'olga', spec: 'ec-p256', use: 'sign' },
  { keys: [KEY], reason: 'r', validFor: 'PT1H', purpose: 'release', recovery: RECOVERY },
  { keys: ['x', KEY, KEY, 7], key: { a: 1 }, recovery: [RECOVERY], owner: null },
  { mechanism: 'ES256', messages: ['aGVsbG8'], recovery: RECOVERY, key: KEY },
  { statement: 'a.b.c', replies: [], recovery: OTHER },
  { act: 'recovery.request', since: '2026-03-01T12:00:00.000Z' },
];

/** How far ahead a caller's clock is, in seconds. */
const SKEWS = [0, 0, 1, 2, 3, 4, 5, -5, 30, -70];

const ROUTES = routesOf({ identityKey: {}, logKey: '' })
  .filter(({ access }) => access !== 'public')
  .map(({ method, path }) => ({
    method,
    target: path
      .replace(':key', KEY)
      .replace(':recovery', RECOVERY)
      .replace(':grant', GRANT)
      .replace('*tile', '000'),
  }));

let directory: string;
let world: ListeningWorld;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'escrowd-principal-'));
  world = await listeningWorld();
});
afterEach(async () => {
  await world.stop();
  rmSync(directory, { recursive: true });
});
const verdict = async (): Promise<unknown> => (await world.verify(join(directory, 'log'))).verdict;

interface Sent {
  readonly by: (typeof CALLERS)[number];
  readonly method: string;
  readonly target: string;
  readonly content?: object | undefined;
  readonly skew?: number;
}

function send({ by, method, target, content, skew = 0 }: Sent): Promise<Answer> {
  const iat = Math.floor(world.world.now.getTime() / 1000) + skew;
  const body = content === undefined ? '' : JSON.stringify(content);
  const jws = signedRequest(by, { method, target, body }, { claims: { iat, exp: iat + 60 } });
  const json = content === undefined ? {} : { 'content-type': 'application/json' };
  return world.send({ method, target, headers: { authorization: `Escrowd-JWS ${jws}`, ...json }, body });
}
/** olga asks for the statement that her history is complete: an act that is done, and stands in the log. */
const attest = (skew: number): Promise<Answer> =>
  send({ by: olga, method: 'POST', target: '/v1/history/statement', content: {}, skew });

function pass(seconds: number): void {
  world.world.now = new Date(world.world.now.getTime() + seconds * 1000);
}

describe.each(Object.entries(SPELLINGS).slice(1))('a target with %s', (name, spelt) => {
  test('is served nowhere, and nothing is recorded under the act of its route', async () => {
    const before = world.entries.length;
    // a tile has any number of parts: with one more it is another tile
    for (const { method, target } of ROUTES.filter((route) => !route.target.endsWith('/000'))) {
      const answer = await send({
        by: mailer,
        method,
        target: spelt(target),
        content: method === 'GET' ? undefined : {},
      });
      if (!name.endsWith('query'))
        expect(['request-target-malformed', 'route-unknown']).toContain(problemCode(answer));
    }
    // a query is no other spelling of a path: what it asks is refused, and that is recorded
    if (!name.endsWith('query')) expect(world.entries).toHaveLength(before);
    expect(await verdict()).toMatchObject({ ok: true, reported: { count: 0 } });
  });
});

test.each(Array.from({ length: 4 }, (_, round) => round))(
  'whoever sends whatever, by whatever clock, while policies come and go, the log is believed: round %i',
  async (round) => {
    const { below } = chance(`principal ${round}`);
    const one = <T>(items: readonly T[]): T => items[below(items.length)] as T;
    const spellings = Object.values(SPELLINGS);
    for (let at = 0; at < 60; at += 1) {
      const change = (): void => {
        world.apply(REMOVABLE.filter(() => below(3) === 0));
      };
      if (below(8) === 0) change();
      if (below(4) === 0) world.hooks.meanwhile = change;
      const { method, target } = one(ROUTES);
      const spelt = below(3) === 0 ? one(spellings)(target) : target;
      const content = method === 'GET' ? undefined : one(BODIES);
      await send({ by: one(CALLERS), method, target: spelt, content, skew: one(SKEWS) });
      // what is done stands in the log as well
      await attest(one(SKEWS));
      pass(below(3));
    }
    // the end is no chance: everybody is listed again, and heard
    world.hooks.meanwhile = undefined;
    world.apply([]);
    expect((await attest(0)).status).toBe(200);
    expect(await verdict()).toMatchObject({ ok: true });
  },
);

describe('a caller who is removed while their request is under way', () => {
  test('does not finish under the next policy', async () => {
    world.hooks.meanwhile = () => {
      world.apply(['olga']);
    };
    expect(problemCode(await attest(4))).toBe('caller-unknown');
    expect(world.entries.at(-1)).toMatchObject({ phase: 'denied', error: 'caller-unknown', actor: 'olga' });
    expect(await verdict()).toMatchObject({ ok: true, reported: { count: 0 } });
  });

  test('has an attempt behind that policy when the journal does not hold what it claims: the control', async () => {
    world.hooks.claimsHold = false;
    world.hooks.meanwhile = () => {
      world.apply(['olga']);
    };
    expect(problemCode(await attest(4))).toBe('record-mismatch');
    const last = world.entries.slice(-4).map(({ act, phase, error }) => [act, phase, error]);
    expect(last).toEqual([
      ['policy.apply', 'attempted', undefined],
      ['policy.apply', 'done', undefined],
      ['history.attest', 'attempted', undefined],
      // by the entries before it, which the ledger knows as well
      ['history.attest', 'denied', 'record-mismatch'],
    ]);
  });

  test('who stays listed is heard under the next policy, in the same request', async () => {
    world.hooks.meanwhile = () => {
      world.apply(['mailer']);
    };
    expect((await attest(4)).status).toBe(200);
    expect(await verdict()).toMatchObject({ ok: true, reported: { count: 0 } });
  });
});

/** Refusals as versions before wrote them down, each of which made the whole log unbelievable. */
const OLD: Readonly<
  Record<string, { readonly target: string; readonly changes: Partial<Entry>; readonly iat?: number }>
> = {
  'a path spelt with percent signs': { target: '/v1/%67rants/x/sign', changes: { act: 'grant.sign' } },
  'a fragment': {
    target: `/v1/grants/${GRANT}/sign#x`,
    changes: { act: 'grant.sign', subject: { grant: GRANT } },
  },
  'the absolute form': { target: 'https://escrow.example/v1/keys', changes: { act: 'key.generate' } },
  'an id that the route does not have': {
    target: `/v1/grants/${GRANT}/sign`,
    changes: { act: 'grant.sign', subject: { grant: `grant_${'9'.repeat(32)}`, recovery: OTHER } },
  },
  'a clock that is minutes ahead': { target: '/v1/keys', changes: { act: 'key.generate' }, iat: 3600 },
  'a key that nobody has': { target: '/v1/keys', changes: { act: 'key.generate', actor: 'oscar' } },
};

describe.each(Object.entries(OLD))(
  'a refusal of a version before, with %s',
  (_what, { target, changes, iat = 0 }) => {
    const entry = (): Entry => {
      const seconds = NOW.getTime() / 1000 + iat;
      const request = signedRequest(
        mailer,
        { method: 'POST', target },
        { claims: { iat: seconds, exp: seconds + 60 } },
      );
      return {
        v: 1,
        time: NOW.toISOString(),
        act: 'grant.sign',
        id: 'act_old',
        phase: 'denied',
        actor: 'mailer',
        subject: {},
        request,
        error: 'grant-unknown',
        detail: {},
        ...changes,
      };
    };

    test('is reported, and the log believed', async () => {
      const index = world.entries.push(entry()) - 1;
      expect(await verdict()).toMatchObject({ ok: true, reported: { count: 1, first: [{ index }] } });
    });

    test('would not be believed as an attempt: the control', async () => {
      const attempt: { -readonly [Member in keyof Entry]: Entry[Member] } = {
        ...entry(),
        phase: 'attempted',
      };
      delete attempt.error;
      const index = world.entries.push(attempt) - 1;
      expect(await verdict()).toMatchObject({ ok: false, index });
    });
  },
);
