import { parsePolicy } from '../../../src/http/policyDocument.js';
import { checkPolicyDocument } from '../../../src/client/policy/policyDocument.js';
import { policyWarnings } from '../../../src/escrow/rules/warnings.js';
import { problemCode } from '../../http/apiClient.js';
import { PEOPLE, policyDocument } from '../../http/people.js';
import type { Running } from '../../http/runningServer.js';
import { startServer } from '../../http/runningServer.js';
import { KEY } from '../../http/world.js';

let running: Running;
beforeAll(async () => {
  running = await startServer();
});
afterAll(() => running.stop());

const { ann, olga, dana } = PEOPLE;
const nfd = 'B\u00fcro'.normalize('NFD');

/** The usual policy, with the first owner's attributes, and the first app's id, changed. */
function document(attributes: object, id = 'mailer'): Readonly<Record<string, unknown>> {
  const usual = policyDocument();
  const principals = usual.principals.map((each) => ({
    ...each,
    ...(each['id'] === 'olga' ? { attributes } : {}),
    ...(each['id'] === 'mailer' ? { id } : {}),
  }));
  return { ...usual, principals };
}

const bad: readonly (readonly [string, object, string])[] = [
  ['a text in NFD', document({ department: nfd }), 'attributes'],
  ['a text of which a decoder lost something', document({ department: 'B\uFFFDro' }), 'attributes'],
  ['a principal with the id of the daemon', document({}, 'escrowd'), 'escrowd'],
];

describe.each(bad)('a policy with %s', (_what, changed, named) => {
  test('is refused by the server and by the client before anybody signs it', async () => {
    const answer = await running.client.call(ann, 'POST', '/v1/policy/plan', { document: changed });
    expect(problemCode(answer)).toBe('policy-invalid');
    expect(answer.json?.['detail']).toContain(named);
    expect(() => checkPolicyDocument(changed)).toThrow(named);
  });

  test('goes on when it is in force already, and is warned of', () => {
    const policy = parsePolicy(JSON.stringify(changed), 1);
    const warnings = policyWarnings(policy, { enrolled: undefined, deposits: undefined });
    expect(warnings.filter((text) => /NFC|daemon itself/.test(text))).toHaveLength(1);
  });
});

test.each([
  ['turns what follows', 'B\u202euro'],
  ['is not seen', 'Bu\u200bro'],
])('a policy with a character that %s is refused by both as well', async (_what, department) => {
  const changed = document({ department });
  const answer = await running.client.call(ann, 'POST', '/v1/policy/plan', { document: changed });
  expect(problemCode(answer)).toBe('policy-invalid');
  expect(answer.json?.['detail']).toContain('characters that are not seen');
  expect(() => checkPolicyDocument(changed)).toThrow('characters that are not seen');
});

test('the same policy without it is taken', async () => {
  const good = document({ department: 'B\u00fcro' });
  const answer = await running.client.call(ann, 'POST', '/v1/policy/plan', { document: good });
  expect(answer.status).toBe(200);
  expect(() => checkPolicyDocument(good)).not.toThrow();
});

test.each([
  ['the reason of a request', dana, '/v1/recoveries', { keys: [KEY], purpose: 'release', reason: nfd }],
  ['a label', olga, '/v1/keys', { owner: 'olga', spec: 'ec-p256', use: 'sign', label: nfd }],
] as const)('%s is in NFC, or refused', async (_what, by, target, order) => {
  const answer = await running.client.call(by, 'POST', target, order);
  expect(problemCode(answer)).toBe('request-malformed');
  expect(answer.json?.['detail']).toContain('NFC');
});
