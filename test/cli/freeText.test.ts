import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { printable, quoted } from '../../src/escrow/records/freeText.js';
import { policyDocumentHash } from '../../src/client/policy/policyDocument.js';
import { document } from '../client/goldenLog.js';
import { honestScene, KEY, NOW, RECOVERY, show, userPair } from '../client/scene.js';
import type { Entry } from '../../src/log/entry/entry.js';
import type { FakeLog } from '../client/fakeServer.js';
import { problem } from '../client/fakeServer.js';
import { escrowctl } from './commandLine.js';
import type { Office } from './office.js';
import { openOffice } from './office.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.commands);

/*
 * Everything that a server says is shown so that nobody can hide, repaint or imitate anything by it: each string of each answer
 * is, one after the other, a text that tries.
 */

/** Quotes, spaces and lines that imitate, a character of each kind that is not seen, and one that turns the writing. */
const HOSTILE =
  'x"  \n  approved by  ann\u202e\u200b\u00ad\u2060\ufeff\u3164\u2800\u{e0041}\u001b[2K\u0007\u0085\u2028y';
/** What must not reach a terminal as it is. */
const UNSEEN = /[\p{Cf}\p{Co}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]|[^\P{Cc}\n]/u;

const STATEMENT = join(mkdtempSync(join(tmpdir(), 'escrowctl-')), 'ann.jws');
const GRANT = `grant_${'3'.repeat(32)}`;
const SCOPE = honestScene().recovery.scope;
const publicKeyPem = userPair.publicKey.export({ format: 'pem', type: 'spki' }).toString();

const key = {
  ...{ key: KEY, owner: 'olga', label: 'letters', spec: 'ec-p256', use: 'sign', publicKeyPem },
  createdAt: '2026-03-01T12:00:00.000Z',
  rule: { name: 'finance', policyVersion: 1, policyHash: 'ab'.repeat(32) },
  purposes: [
    {
      purpose: 'operate',
      quorums: [['dana', 'dave']],
      recipients: [{ depositary: 'dana', fingerprint: 'cd'.repeat(32) }],
    },
  ],
  terms: {
    operate: {
      ...{ operations: ['sign'], maxUses: 3, maxDuration: 'PT1H', input: 'message' },
      ...{ delay: 'PT1H', ownerMayVeto: true },
    },
    requests: { maxValidFor: 'P1D', approvalsHold: 'PT2H', distinct: [] },
  },
  digest: 'ef'.repeat(32),
};
const ended = {
  ...honestScene().recovery,
  status: 'denied',
  deniedBy: [{ depositary: 'dave', reason: 'she is here' }],
  ended: { by: 'dave', reason: 'she is here', at: '2026-03-01T13:00:00.000Z' },
};
const grant = {
  ...{ grant: GRANT, recovery: RECOVERY, key: KEY, owner: 'olga', spec: 'ec-p256', scope: SCOPE, used: 1 },
  ...{ startsAt: NOW.toISOString(), expiresAt: NOW.toISOString(), status: 'active' },
};
const givenUp = {
  ...{ notice: `ntc_${'9'.repeat(32)}`, sink: 'mail', entry: 3, to: 'olga', kind: 'asked' },
  ...{ fault: 'It answered 404.', givenUpAt: NOW.toISOString() },
};
const choice = {
  considered: [{ rule: 'others', because: ['it is for decryption'] }],
  ...{ rule: 'finance', quorums: [['dana']], missing: ['somebody'], error: 'quorum-impossible' },
  candidates: [
    { id: 'dana', name: 'Dana', keys: ['thumb'], depositaryKey: 'ab'.repeat(32), problems: ['none'] },
  ],
};
const policy = { version: 1, hash: policyDocumentHash(document), document };

const served = { profile: 'softhsm-2.6', keySpecs: ['ec-p256'], mechanisms: ['ES256'], oaep: 'RSA-OAEP' };

/** An answer that is made of the log that the server has by then. */
type Made = (log: FakeLog) => Promise<object>;

/** An answer with the proof of an act that takes something away. */
const proven =
  (
    { act, subject, status }: Pick<Entry, 'act' | 'subject'> & { readonly status: string },
    result: unknown,
  ): Made =>
  async (log) => {
    const proof = await log.prove({ act, actor: 'dana', subject, detail: { status } });
    return { result, entry: proof.index, proof };
  };

/** Commands that show what a server says, and the answer that they show. */
const COMMANDS: readonly (readonly [argv: readonly string[], route: string, answer: object | Made])[] = [
  [['key', 'list'], 'GET /v1/keys', { items: [key] }],
  [['key', 'show', KEY], `GET /v1/keys/${KEY}`, key],
  [
    ['key', 'generate', '--owner', 'olga', '--spec', 'ec-p256', '--use', 'sign'],
    'POST /v1/keys',
    { result: key, entry: 1 },
  ],
  [['recovery', 'list'], 'GET /v1/recoveries', { items: [ended] }],
  [['recovery', 'show', RECOVERY], `GET /v1/recoveries/${RECOVERY}`, ended],
  [
    ['inbox'],
    'GET /v1/recoveries',
    { items: [{ ...honestScene().recovery, owner: 'dana', ownerMayVeto: true }, honestScene().recovery] },
  ],
  [['inbox'], 'GET /v1/grants', { items: [{ ...grant, owner: 'dana' }] }],
  [
    ['recovery', 'cancel', RECOVERY, '--reason', 'no'],
    `POST /v1/recoveries/${RECOVERY}/cancel`,
    proven({ act: 'recovery.cancel', subject: { recovery: RECOVERY }, status: 'cancelled' }, ended),
  ],
  [
    ['recovery', 'stop', RECOVERY, '--sign', STATEMENT, '--reason', 'no', '--yes'],
    `GET /v1/recoveries/${RECOVERY}`,
    { ...honestScene().recovery, requestHash: 'ab'.repeat(32) },
  ],
  [
    ['recovery', 'activate', RECOVERY],
    `POST /v1/recoveries/${RECOVERY}/activate`,
    { result: { grants: [grant] }, entry: 9 },
  ],
  [['grant', 'list'], 'GET /v1/grants', { items: [grant] }],
  [['grant', 'show', GRANT], `GET /v1/grants/${GRANT}`, grant],
  [
    ['grant', 'revoke', GRANT, '--reason', 'no'],
    `POST /v1/grants/${GRANT}/revoke`,
    proven({ act: 'grant.revoke', subject: { grant: GRANT }, status: 'revoked' }, grant),
  ],
  [['notifications', 'list'], 'GET /v1/notifications/given-up', { items: [givenUp] }],
  [
    ['rules', 'test', '--owner', 'olga', '--spec', 'ec-p256', '--use', 'sign'],
    'POST /v1/policy/choice',
    choice,
  ],
  [['policy', 'show'], 'GET /v1/policy', policy],
  [
    ['policy', 'history'],
    'GET /v1/policy/history',
    { items: [{ version: 1, hash: 'ab'.repeat(32), signers: ['ann'] }] },
  ],
  [['status'], 'GET /v1/policy/warnings', { warnings: ['dana is not enrolled'] }],
];

type Path = readonly (string | number)[];

function texts(value: unknown, path: Path = []): readonly Path[] {
  if (typeof value === 'string') return [path];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, member]) =>
    texts(member, [...path, Array.isArray(value) ? Number(name) : name]),
  );
}

function replacedAt(value: unknown, [step, ...rest]: Path, by: string): unknown {
  if (step === undefined) return by;
  const copy = (Array.isArray(value) ? [...(value as unknown[])] : { ...(value as object) }) as Record<
    string | number,
    unknown
  >;
  copy[step] = replacedAt(copy[step], rest, by);
  return copy;
}

let office: Office;
beforeAll(async () => {
  office = await openOffice();
});
afterAll(() => {
  rmSync(dirname(STATEMENT), { recursive: true });
});
afterAll(() => office.close());
beforeEach(() => {
  const { routes, record, log } = office.server;
  const consistency = routes.get('GET /v1/log/consistency');
  routes.clear();
  if (consistency !== undefined) routes.set('GET /v1/log/consistency', consistency);
  routes.set('GET /v1/checkpoint', () => ({ text: log.checkpoint() }));
  routes.set('GET /v1/server', () => ({ json: { ...record, token: served } }));
  routes.set('GET /readyz', () => ({ json: { status: 'ready', problems: [] } }));
  for (const list of ['recoveries', 'grants']) routes.set(`GET /v1/${list}`, () => ({ json: { items: [] } }));
});

/** Texts that people write: they are shown in quotes, with a backslash before what would end these. */
const WRITTEN = new Set([
  ...[
    'items.label',
    'label',
    'result.label',
    'items.reason',
    'reason',
    'result.reason',
    'candidates.name',
    'document.principals.name',
  ],
  ...['items.keys.label', 'keys.label', 'items.ended.reason', 'ended.reason', 'deniedBy.reason'],
]);

test.each(COMMANDS)(
  '%j shows nothing as it is that a server cannot be trusted to say',
  async (argv, route, made) => {
    const answer: unknown = typeof made === 'function' ? await (made as Made)(office.server.log) : made;
    office.server.routes.set(route, () => ({ json: answer }));
    expect(await escrowctl([...argv, '--as', office.dana], { now: NOW })).toMatchObject({ exit: 0 });
    for (const path of texts(answer)) {
      office.server.routes.set(route, () => ({ json: replacedAt(answer, path, HOSTILE) }));
      for (const more of [[], ['--json']]) {
        const { out, err } = await escrowctl([...argv, '--as', office.dana, ...more], { now: NOW });
        expect([path, UNSEEN.exec(out + err)]).toEqual([path, null]);
        if (more.length > 0) continue;
        // a line of its own is for what the program says
        expect([path, /^ *approved by {2}ann/m.exec(out + err)]).toEqual([path, null]);
        const name = path.filter((step) => typeof step === 'string').join('.');
        if (WRITTEN.has(name)) expect([path, out.includes('x" ')]).toEqual([path, false]);
      }
    }
  },
);

test('a refusal is shown in the same way', async () => {
  office.server.routes.set('GET /v1/keys', () => problem(403, HOSTILE));
  const { err } = await escrowctl(['key', 'list', '--as', office.dana]);
  expect(err).not.toMatch(UNSEEN);
});

test('so is what a depositary reads before they decide, whatever string of it is changed', async () => {
  const honest = await show(office.server);
  const shownTo = async (answer: unknown): Promise<string> => {
    office.server.routes.set(`GET /v1/recoveries/${RECOVERY}`, () => ({ json: answer }));
    const argv = ['recovery', 'approve', RECOVERY, '--as', office.dana];
    const { out, err } = await escrowctl(argv, { now: NOW, answers: ['no'] });
    return out + err;
  };
  for (const path of texts(honest)) {
    expect([path, UNSEEN.exec(await shownTo(replacedAt(honest, path, HOSTILE)))]).toEqual([path, null]);
  }
});

describe('a text that somebody wrote', () => {
  test.each([
    ['a  b\n\tc', '"a b c"'],
    [' a ', '"a"'],
    ['a" b \\', '"a\\" b \\\\"'],
    ['\u00a0\u2003a', '"a"'],
    ['\u0301a', '"\\u{301}a"'],
    ['cafe\u0301', '"cafe\u0301"'],
    ['a\u{e0041}\u200d', '"a\\u{e0041}\\u{200d}"'],
    ['', '""'],
  ])('%j is shown as %s', (text, expected) => {
    expect(quoted(text)).toBe(expected);
    expect(printable(expected)).toBe(expected);
  });
});

test('what goes to a terminal goes through one function', () => {
  const files = readdirSync('src/cli', { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  );
  const direct = files.flatMap((name) =>
    readFileSync(join('src/cli', name), 'utf8')
      .split('\n')
      .filter((line) => /terminal\.(write|writeError|ask)\(/.test(line) && !/printable(Json)?\b/.test(line))
      .map((line) => `${name}: ${line.trim()}`),
  );
  expect(direct.sort()).toEqual([
    // questions, and what the program has to say by itself
    'believing.ts: const answer = await terminal.ask(`${question} Type yes: `);',
    // each sentence is printable, and JSON as well
    'commands/agent.ts: session.terminal.write(isJson ? jsonLine(told) : textLines(told, session.now));',
    'commands/audit/report.ts: session.terminal.writeError(',
    "commands/depositary.ts: const answer = await terminal.ask('Acknowledge this by your signature? Type yes: ');",
    'commands/keysToRecover.ts: const answer = await terminal.ask(`Ask for ${many}? Type yes: `);',
    "commands/plan.ts: const answer = await terminal.ask('Sign this plan? Type yes: ');",
    "commands/recoveryStop.ts: const answer = await terminal.ask('Sign that it is to end? Type yes: ');",
    "commands/reseal/ask.ts: const answer = await terminal.ask('Ask the depositaries? Type yes: ');",
    'commands/witness.ts: terminal.write(`${JSON.stringify(serving)}\\n`);',
    "program.ts: terminal.write(`${exitCodesHelp().join('\\n')}\\n`);",
    // help, and what is wrong with the command line
    'program.ts: terminal.write(text);',
    // bytes that were asked for, and lines that are printable
    'program.ts: terminal.write(textOf(result, isJson, terminal.columns));',
    'program.ts: terminal.writeError(text);',
    "spinner.ts: if (shown.frame >= 0) terminal.writeError('\\r\\u001b[K');",
    "spinner.ts: terminal.writeError(`\\r\\u001b[K${FRAMES[shown.frame] ?? ''} ${shown.text}`);",
  ]);
});
