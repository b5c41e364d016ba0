import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';

import { signPolicy } from '../../src/client/policy/policyDocument.js';
import { planPolicy } from '../../src/client/policy/policyPlan.js';
import { documentInForce } from '../support/policies.js';
import { makeSystem } from '../support/system.js';

/*
 * How long a whole company takes to provision from one file, and a question to its rules to be answered:
 *
 *   npm run bench:company -- --people 1000
 *
 * A daemon on SoftHSM in this process, HTTPS in between; YAML is read, planned by both administrators, signed, applied.
 * Prints one line of JSON, lengths of time in milliseconds.
 */
const { values } = parseArgs({ options: { people: { type: 'string', default: '1000' } } });
const people = Number(values.people);
if (!Number.isSafeInteger(people) || people < 20) throw new Error('--people takes a number, at least 20');

const QUESTIONS = 100;
const system = await makeSystem();
try {
  const file = join(system.directory, 'company.yaml');
  const base = await documentInForce(system);
  const text = companyYaml(base.principals, people);
  writeFileSync(file, text);

  const began = performance.now();
  const plan = await planPolicy(system.client('admin-1'), file);
  const planned = performance.now();
  const seconds = await planPolicy(system.client('admin-2'), file);
  const order = { logKey: system.identity('admin-1').pins.logKey, now: new Date(), lifetimeMs: 600_000 };
  const signatures = [
    await signPolicy(system.identity('admin-1').signer, { ...plan, ...order }),
    await signPolicy(system.identity('admin-2').signer, { ...seconds, ...order }),
  ];
  const signed = performance.now();
  await system.client('admin-1').applyPolicy({ document: plan.document, signatures });
  const applied = performance.now();

  const took: number[] = [];
  for (let at = 0; at < QUESTIONS; at += 1) {
    const before = performance.now();
    const owner = `person-${(at * 7) % (people - base.principals.length)}`;
    const answer = await system.client('admin-1').choice({ owner, spec: 'ec-p256', use: 'sign', app: 'app' });
    if (answer.quorums.length === 0) throw new Error(`nobody for ${owner}`);
    took.push(performance.now() - before);
  }
  took.sort((a, b) => a - b);
  const result = {
    people: plan.next.principals.size,
    fileBytes: text.length,
    changes: plan.changes.length,
    warnings: plan.warnings.length,
    planMs: planned - began,
    secondPlanAndSignaturesMs: signed - planned,
    applyMs: applied - signed,
    provisionMs: applied - began,
    rulesTestMedianMs: took[QUESTIONS / 2],
    rulesTest95thMs: took[Math.floor(QUESTIONS * 0.95)],
    rulesTestSlowestMs: took.at(-1),
  };
  process.stdout.write(`${JSON.stringify(result)}\n`);
} finally {
  await system.remove();
}

/** The tests' own people, and so many more that there are `count`: every tenth manages the nine after them. */
function companyYaml(usual: readonly object[], count: number): string {
  const others = Array.from({ length: count - usual.length }, (_, at) => {
    const jwk = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' });
    const manages = at % 10 === 0;
    return {
      id: `person-${at}`,
      kind: 'person',
      name: `Person ${at}`,
      roles: manages ? ['owner', 'depositary'] : ['owner'],
      attributes: { department: `department-${at % 25}`, manager: 'manager' },
      keys: [{ ...jwk, alg: 'ES256' }],
      ...(manages ? { depositaryKey: at.toString(16).padStart(64, '0') } : {}),
    };
  });
  const depositaries = { atLeast: 2, of: ['manager', 'role:security-officer'] };
  const operate = { operations: ['sign', 'decrypt'], maxUses: 100, maxDuration: 'P1D' };
  const rules = Array.from({ length: 25 }, (_, at) => ({
    name: `department-${at}`,
    when: { 'owner.department': `department-${at}` },
    depositaries,
    operate,
  }));
  return [
    'version: 1',
    'principals:',
    ...[...usual, ...others].map((one) => `  - ${JSON.stringify(one)}`),
    'rules:',
    ...[...rules, { name: 'others', depositaries, operate }].map((one) => `  - ${JSON.stringify(one)}`),
    '',
  ].join('\n');
}
