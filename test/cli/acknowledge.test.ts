import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';

import { parseJws } from '../../src/jose/jws.js';
import { problem } from '../client/fakeServer.js';
import { escrowctl, jsonOf } from './commandLine.js';
import { type Office, openOffice } from './office.js';

const NOW = new Date('2026-03-01T12:00:00.000Z');
const DUTIES = 'You bring back keys of others.\nYou tell nobody of them.\n';
const SHA256 = createHash('sha256').update(DUTIES).digest('hex');

let office: Office;
beforeAll(async () => {
  office = await openOffice();
  writeFileSync(office.path('duties.txt'), DUTIES);
});
afterAll(() => office.close());
beforeEach(() => {
  const { routes, received } = office.server;
  received.length = 0;
  routes.set('GET /v1/policy/warnings', () => ({ json: { warnings: [], policyVersion: 7 } }));
  routes.set('POST /v1/acknowledgements', () => ({
    json: { result: { role: 'depositary', text: SHA256, policyVersion: 7 }, entry: 41 },
  }));
});

const acknowledge = (...more: readonly string[]): readonly string[] => [
  ...['depositary', 'acknowledge', office.path('duties.txt'), '--as', office.dana],
  ...more,
];

test('shows the text, asks, and sends a statement of just that', async () => {
  const ran = await escrowctl(acknowledge('--json'), { now: NOW, answers: ['yes'] });
  expect(ran.exit).toBe(0);
  expect(ran.err).toContain('You tell nobody of them.');
  expect(ran.err).toContain(SHA256);
  const [sent] = office.server.posted;
  const { statement } = JSON.parse(String(sent?.body)) as { statement: string };
  const jws = parseJws(statement);
  expect(jws?.header['typ']).toBe('escrowd-acknowledgement+jwt');
  expect(jws?.payload).toEqual({
    ...{ iss: 'dana', aud: office.server.record.logKey, iat: NOW.getTime() / 1000 },
    ...{ exp: NOW.getTime() / 1000 + 600, role: 'depositary', text: SHA256, policyVersion: 7 },
  });
  expect(jsonOf(ran)).toMatchObject({ entry: 41, text: SHA256 });
});

test.each<[string, readonly string[], readonly string[] | undefined]>([
  ['a no', [], ['no']],
  ['nobody there to be asked', [], undefined],
])('%s signs and sends nothing', async (_what, more, answers) => {
  const ran = await escrowctl(acknowledge(...more), {
    now: NOW,
    ...(answers === undefined ? {} : { answers }),
  });
  expect(ran.exit).toBe(2);
  expect(office.server.posted).toEqual([]);
});

test.each([
  ['an empty text', Buffer.from(' \n')],
  ['a text in another encoding', Buffer.from('Pflichten f\xfcr alle', 'latin1')],
  ['a text that nobody reads', Buffer.alloc(65_537, 'a')],
])('%s is refused before anything is asked or sent', async (_what, bytes) => {
  writeFileSync(office.path('other.txt'), bytes);
  const argv = ['depositary', 'acknowledge', office.path('other.txt'), '--yes', '--as', office.dana];
  expect((await escrowctl(argv, { now: NOW })).exit).toBe(2);
  expect(office.server.received).toEqual([]);
});

test('a server of before, and one that refuses, are told of as what they are', async () => {
  office.server.routes.set('GET /v1/policy/warnings', () => ({ json: { warnings: [] } }));
  expect((await escrowctl(acknowledge('--yes'), { now: NOW })).exit).toBe(2);
  expect(office.server.posted).toEqual([]);
  office.server.routes.set('GET /v1/policy/warnings', () => ({ json: { warnings: [], policyVersion: 7 } }));
  office.server.routes.set('POST /v1/acknowledgements', () => problem(409, 'policy-stale'));
  const ran = await escrowctl(acknowledge('--yes'), { now: NOW });
  expect(ran.exit).toBe(3);
});
