import type { GrantReply, RecoveryReply } from '../../src/api/replies.js';
import { honestScene, KEY, NOW, OTHER_KEY } from '../client/scene.js';
import { escrowctl, jsonOf } from './commandLine.js';
import type { Office } from './office.js';
import { openOffice } from './office.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.commands);

let office: Office;
beforeAll(async () => {
  office = await openOffice();
});
afterAll(() => office.close());

const id = (digit: string): string => `rec_${digit.repeat(32)}`;
const VETO = `escrowctl recovery veto ${id('1')} --reason TEXT`;

/** The server shows these requests, changed so; `quorums` are those of their one key. */
function serve(
  ...changes: readonly (Partial<RecoveryReply> & { quorums: readonly (readonly string[])[] })[]
): void {
  const { recovery } = honestScene();
  const items = changes.map(({ quorums, ...change }, index) => ({
    ...recovery,
    recovery: id(String(index + 1)),
    keys: recovery.keys.map((key) => ({ ...key, quorums })),
    ...change,
  }));
  office.server.routes.set('GET /v1/recoveries', () => ({ json: { items } }));
  runs();
}

/** The server shows these grants. */
function runs(...items: readonly GrantReply[]): void {
  office.server.routes.set('GET /v1/grants', () => ({ json: { items } }));
}

const inbox = (...more: string[]): ReturnType<typeof escrowctl> =>
  escrowctl(['inbox', '--as', office.dana, ...more], { now: NOW });

test('shows what waits for a depositary: who asks, for what, until when; and what comes next', async () => {
  serve({ quorums: [['dana', 'dave']], approvedBy: ['dave'], reason: 'letters must go out' });
  const { exit, out } = await inbox();
  expect(exit).toBe(0);
  const { requester, owner } = honestScene().recovery;
  expect(out).toContain(`${id('1')}  waits for your decision`);
  for (const word of [requester, owner, 'letters must go out', 'the app mailer may sign', 'until', 'dave'])
    expect(out).toContain(word);
  expect(out).toContain(`Next: escrowctl recovery approve ${id('1')}, or deny --reason TEXT`);
});

test('shows a request for several keys to who is a depositary of one of them, with who suffices for each', async () => {
  const keys = honestScene([KEY, OTHER_KEY]).recovery.keys;
  const [first, second] = [
    { ...keys[0], quorums: [['dave', 'erin']] },
    { ...keys[1], quorums: [['dana', 'erin']] },
  ] as readonly RecoveryReply['keys'][number][];
  if (first === undefined || second === undefined) throw new Error('the scene has two keys');
  serve({ quorums: [], keys: [first, second] });
  const { out } = await inbox();
  for (const word of [KEY, OTHER_KEY, 'dave and erin', 'dana and erin', 'as much with each of the keys'])
    expect(out).toContain(word);
});

test('leaves out what waits for others, what was decided already, and what has ended', async () => {
  serve(
    { quorums: [['dave', 'erin']] },
    { quorums: [['dana', 'dave']], approvedBy: ['dana'] },
    { quorums: [['dana', 'dave']], deniedBy: [{ depositary: 'dana', reason: 'no' }] },
    { quorums: [['dana', 'dave']], status: 'expired' },
    { quorums: [['dana', 'dave']], status: 'active' },
  );
  const { out } = await inbox();
  expect(out).toBe('Nothing waits for dana.\n');
});

test('shows an owner the requests for their own keys, and asks for no approval of them', async () => {
  serve({ owner: 'dana', status: 'approved', quorums: [['dave', 'erin']] });
  const ran = await inbox('--json');
  expect(jsonOf(ran)).toMatchObject({
    items: [{ part: 'own key', recovery: { recovery: id('1') } }],
    hasMore: false,
  });
  expect((await inbox()).out).not.toContain('Next:');
});

test.each([
  [
    'a veto, where the rules give one',
    { ownerMayVeto: true },
    `veto it until it is carried out: ${VETO}`,
    true,
  ],
  ['none, where they do not', { ownerMayVeto: false }, 'not veto it by the rules of your keys', false],
  ['nothing, where the server does not say', {}, undefined, false],
])('tells an owner of the means against a request: %s', async (_what, change, said, isNext) => {
  serve({ owner: 'dana', quorums: [['dave', 'erin']], ...change });
  const out = (await inbox()).out.replace(/\s+/g, ' ');
  if (said === undefined) expect(out).not.toContain('you may');
  else expect(out).toContain(said);
  expect(out.includes(`Next: unless it is as you want it: ${VETO}`)).toBe(isNext);
});

test('a depositary is told nothing of the veto, which is not theirs', async () => {
  serve({ quorums: [['dana', 'dave']], ownerMayVeto: true });
  expect((await inbox()).out).not.toContain('veto');
});

test('shows an owner who uses their keys, and how to end that; nobody else’s grants, and none that has ended', async () => {
  const scope = {
    ...{ app: 'mailer', operations: ['sign'], mechanisms: ['ES256'], input: 'message', maxUses: 10 },
    duration: 'PT1H',
  } as unknown as GrantReply['scope'];
  const grant = (digit: string, change: Partial<GrantReply> = {}): GrantReply => ({
    ...{ grant: `grant_${digit.repeat(32)}`, recovery: id('1'), key: KEY, owner: 'dana', spec: 'ec-p256' },
    ...{ scope, used: 3, status: 'active' },
    startsAt: NOW.toISOString(),
    expiresAt: new Date(NOW.getTime() + 60_000).toISOString(),
    ...change,
  });
  serve();
  runs(grant('1'), grant('2', { owner: 'olga' }), grant('3', { status: 'revoked' }));
  const { out } = await inbox();
  for (const word of ['mailer', KEY, '3 of 10', `escrowctl grant revoke ${grant('1').grant} --reason TEXT`])
    expect(out.replace(/\s+/g, ' ')).toContain(word);
  for (const hidden of ['2', '3']) expect(out).not.toContain(grant(hidden).grant);
  expect(jsonOf(await inbox('--json'))['grants']).toEqual([grant('1')]);
});

test('after an intent nothing waits until the delay is over; then the approval does', async () => {
  const said = { quorums: [['dana', 'dave']], replies: 'afterDelay' } as const;
  const from = (ms: number): string => new Date(NOW.getTime() + ms).toISOString();
  serve(
    { ...said, intendedBy: ['dave'] },
    { ...said, intendedBy: ['dana'] },
    { ...said, intendedBy: ['dana', 'dave'], repliesFrom: from(1000) },
    { ...said, intendedBy: ['dana', 'dave'], repliesFrom: from(0) },
  );
  const { out } = await inbox();
  expect(out).toContain(`${id('1')}  waits for your decision`);
  for (const waits of ['2', '3']) expect(out).not.toContain(id(waits));
  expect(out).toContain(`${id('4')}  waits for your approval`);
  expect(out).toContain('intend to approve');
});
