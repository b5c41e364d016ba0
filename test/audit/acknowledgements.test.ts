import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { verifyExport } from '../../src/audit/verifyExport.js';
import type { Entry } from '../../src/log/entry/entry.js';
import type { Verdict } from '../../src/log/export/verifier.js';
import {
  ORIGIN,
  administrators,
  at,
  goldenEntries,
  logKey,
  people,
  request,
  sealed,
} from '../client/goldenLog.js';

/*
 * What whoever runs the server, and holds the log's own key, might write about duties that depositaries are to know.
 */
let directory: string;
let golden: readonly Entry[];
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'escrowctl-'));
  golden = await goldenEntries();
});
afterAll(() => {
  rmSync(directory, { recursive: true });
});

const SAID = { role: 'depositary', text: 'ab'.repeat(32), policyVersion: 1 };
const MINUTE = 200;

interface Said {
  readonly by?: keyof typeof people;
  readonly typ?: string;
  readonly claims?: object;
  readonly told?: object;
  /** When it stands in the log. */
  readonly minute?: number;
}

async function verdictOn({
  by = 'dana',
  typ = 'escrowd-acknowledgement+jwt',
  claims = {},
  told = {},
  minute = MINUTE,
}: Said): Promise<Verdict> {
  const iat = Date.parse(at(MINUTE)) / 1000 - 0.5;
  const signed = { iss: 'dana', aud: ORIGIN, iat, exp: iat + 600, ...SAID, ...claims };
  const statement = await people[by].sign(typ, signed);
  const attempt: Entry = {
    ...{
      v: 1,
      time: at(minute),
      act: 'depositary.acknowledge',
      id: `act_${'f'.repeat(32)}`,
      phase: 'attempted',
    },
    ...{ actor: 'dana', subject: {}, request: await request(people.dana, minute, '/v1/acknowledgements') },
    detail: { ...SAID, ...told, statement },
  };
  const { request: asked, ...rest } = attempt;
  expect(asked).toBeDefined();
  const done: Entry = { ...rest, phase: 'done', detail: SAID, digest: '77'.repeat(32) };
  const path = join(directory, 'log.ndjson');
  writeFileSync(path, sealed([...golden, attempt, done]));
  return (await verifyExport({ path, logKey: logKey.vkey, bootstrap: administrators })).verdict;
}

test('an honest acknowledgement is no ground to refuse the log', async () => {
  expect(await verdictOn({})).toMatchObject({ ok: true });
});

test.each<[string, RegExp, Said]>([
  ['forged by whoever has another key', /not signed by dana/, { by: 'eve' }],
  ['of another depositary', /somebody else's/, { by: 'erin', claims: { iss: 'erin' } }],
  ['another kind of statement', /signed no acknowledgement/, { typ: 'escrowd-approval+jwt' }],
  ['of another log', /somebody else's/, { claims: { aud: 'elsewhere' } }],
  ['of another text than is told', /something else/, { told: { text: 'cd'.repeat(32) } }],
  ['in another role than is told', /something else/, { told: { role: 'admin' } }],
  ['under another policy', /of another policy/, { claims: { policyVersion: 2 }, told: { policyVersion: 2 } }],
  ['with something more', /signed no acknowledgement/, { claims: { waiver: true } }],
  ['replayed an hour later', /of another time/, { minute: MINUTE + 60 }],
])('an acknowledgement %s is found', async (_what, reason, said) => {
  expect(await verdictOn(said)).toMatchObject({ ok: false, reason: expect.stringMatching(reason) as string });
});
