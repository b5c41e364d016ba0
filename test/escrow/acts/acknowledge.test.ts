import { acknowledge } from '../../../src/escrow/acts/duties/acknowledge.js';
import type { ErrorCode } from '../../../src/escrow/records/errors.js';
import { ORIGIN, type SymbolicWorld } from '../symbolicWorld.js';
import { callOf, worldOf } from '../symbolicPeople.js';
import { expectDone, expectRefused } from './actCases.js';

const ACT = 'depositary.acknowledge';
const TEXT = 'ab'.repeat(32);

interface Signed {
  readonly by?: string;
  readonly typ?: string;
  readonly claims?: Readonly<Record<string, unknown>>;
}

/** What dana signs, where nothing else is said. */
function signed(
  { now, escrow }: SymbolicWorld,
  version: number,
  { by = 'dana', typ = ACT_TYPE, claims = {} }: Signed = {},
): string {
  expect(escrow.origin).toBe(ORIGIN);
  const iat = now.getTime() / 1000;
  const said = { role: 'depositary', text: TEXT, policyVersion: version };
  return JSON.stringify({
    typ,
    by,
    payload: { iss: 'dana', aud: ORIGIN, iat, exp: iat + 600, ...said, ...claims },
  });
}
const ACT_TYPE = 'escrowd-acknowledgement+jwt';

async function world(): Promise<{ readonly world: SymbolicWorld; readonly version: number }> {
  const { world: made } = await worldOf();
  return { world: made, version: callOf('dana').policy.version };
}

test('a depositary acknowledges their duties, and the statement stands in the log', async () => {
  const { world: here, version } = await world();
  const statement = signed(here, version);
  const [attempted, done] = await expectDone(here, ACT, () =>
    acknowledge(here.escrow, callOf('dana'), { statement }),
  );
  const said = { role: 'depositary', text: TEXT, policyVersion: version };
  expect(attempted).toMatchObject({ actor: 'dana', detail: { ...said, statement } });
  expect(done).toMatchObject({ detail: said });
});

const seconds = 1000;
test.each<[string, ErrorCode, Signed, string?]>([
  ['signed by somebody else', 'approval-signature-invalid', { by: 'dave' }],
  ['of another kind', 'approval-signature-invalid', { typ: 'escrowd-approval+jwt' }],
  ['in the name of another', 'approval-mismatch', { claims: { iss: 'dave' } }],
  [
    'another person\u2019s, handed in by this one',
    'approval-signature-invalid',
    { by: 'dave', claims: { iss: 'dave' } },
  ],
  ['for another log', 'approval-mismatch', { claims: { aud: 'elsewhere' } }],
  ['with something more', 'approval-mismatch', { claims: { waiver: true } }],
  ['without a text', 'approval-mismatch', { claims: { text: undefined } }],
  ['of a text by anything but its hash', 'approval-mismatch', { claims: { text: 'I will' } }],
  ['without an end', 'approval-mismatch', { claims: { exp: undefined } }],
  ['replayed when it has expired', 'approval-expired', { claims: { iat: seconds, exp: seconds + 600 } }],
  ['that would count for long', 'approval-expired', { claims: { exp: 9_999_999_999 } }],
  ['in a role that they do not have', 'forbidden', { claims: { role: 'admin' } }],
  ['replayed from another policy', 'policy-stale', { claims: { policyVersion: 99 } }],
])('an acknowledgement %s is refused', async (_what, code, how) => {
  const { world: here, version } = await world();
  const statement = signed(here, version, how);
  await expectRefused(here, ACT, code, () => acknowledge(here.escrow, callOf('dana'), { statement }));
});
