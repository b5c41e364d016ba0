import type { WireRecovery } from '../../src/escrow/wire.js';
import { honestScene, NOW } from '../client/scene.js';
import { escrowctl, jsonOf } from './commandLine.js';
import type { Office } from './office.js';
import { openOffice } from './office.js';

let office: Office;
beforeAll(async () => {
  office = await openOffice();
});
afterAll(() => office.close());

const id = (digit: string): string => `rec_${digit.repeat(32)}`;

/** The server shows these requests, changed so. */
function serve(...changes: readonly Partial<WireRecovery>[]): void {
  const { recovery } = honestScene();
  const items = changes.map((change, index) => ({ ...recovery, recovery: id(String(index + 1)), ...change }));
  office.server.routes.set('GET /v1/recoveries', () => ({ json: { items } }));
}

const inbox = (...more: string[]): ReturnType<typeof escrowctl> =>
  escrowctl(['inbox', '--as', office.dana, ...more], { now: NOW });

test('shows what waits for a depositary: who asks, for what, until when; and what comes next', async () => {
  serve({ quorums: [['dana', 'dave']], approvedBy: ['dave'], reason: 'letters must go out' });
  const { exit, out } = await inbox();
  expect(exit).toBe(0);
  const { requester, key } = honestScene().recovery;
  expect(out).toContain(`${id('1')}  waits for your decision`);
  for (const word of [
    requester,
    key.owner,
    'letters must go out',
    'the app mailer may sign',
    'until',
    'dave',
  ])
    expect(out).toContain(word);
  expect(out).toContain(`Next: escrowctl recovery approve ${id('1')}, or deny --reason TEXT`);
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
  const { key } = honestScene().recovery;
  serve({ key: { ...key, owner: 'dana' }, status: 'approved', quorums: [['dave', 'erin']] });
  const ran = await inbox('--json');
  expect(jsonOf(ran)).toMatchObject({
    items: [{ part: 'own key', recovery: { recovery: id('1') } }],
    hasMore: false,
  });
  expect((await inbox()).out).not.toContain('Next:');
});
