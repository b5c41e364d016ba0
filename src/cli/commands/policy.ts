import { readFile } from 'node:fs/promises';

import { writeFileAtomically } from '../../client/atomicFile.js';
import {
  checkPolicyDocument,
  policyDocumentHash,
  readPolicySignature,
  signPolicy,
} from '../../client/policyDocument.js';
import { readPolicyFile } from '../../client/policyFile.js';
import { policyHints } from '../../client/policyHints.js';
import { ruleInWords } from '../../policy/inWords.js';
import { facts } from '../columns.js';
import type { CommandRow, Result } from '../command.js';
import { UsageError } from '../failures.js';
import type { Given } from '../given.js';
import type { Session } from '../session.js';

/** Directory and rules. */
export const policyCommands: readonly CommandRow[] = [
  {
    usage: 'check <file>',
    summary: 'checks a policy file without asking the server',
    about: 'YAML or JSON. `keysFrom: path/to/public.json` stands for the keys in that file.',
    examples: ['policy check escrow.yaml'],
    run: check,
  },
  {
    usage: 'sign <file>',
    summary: 'signs a policy file, on top of the version now in force',
    about: 'Two different administrators sign the same file; then either of them applies it.',
    options: [
      { flags: '--out <file>', about: 'where the signature goes', required: true },
      { flags: '--valid-for <duration>', about: 'how long the signature stands', default: '1d' },
    ],
    examples: ['policy sign escrow.yaml --as ~/.escrowd --out dana.jws'],
    run: sign,
  },
  {
    usage: 'apply <file>',
    summary: 'puts a policy file in force, with the signatures of two administrators',
    options: [
      { flags: '--signature <file>', about: 'a signature made by `policy sign`; give two', many: true },
    ],
    examples: ['policy apply escrow.yaml --as ~/.escrowd --signature dana.jws --signature eve.jws'],
    run: apply,
  },
  {
    usage: 'show',
    summary: 'shows the policy in force',
    options: [{ flags: '--out <file>', about: 'also write its document to this file, as JSON' }],
    examples: ['policy show --as ~/.escrowd', 'policy show --json | jq .document.rules'],
    run: show,
  },
];

async function check(_session: Session, given: Given): Promise<Result> {
  const document = await readPolicyFile(given.argument(0));
  const checked = checkPolicyDocument(document);
  const hints = policyHints(checked);
  const hash = policyDocumentHash(document);
  const { principals, rules } = checked;
  return {
    json: { ok: true, hash, principals: principals.size, rules: rules.length, hints },
    lines: [
      `The form is right: ${principals.size} principals, ${rules.length} rules.`,
      ...facts([['hash', hash]]),
      ...(hints.length === 0 ? [] : ['', 'Is this meant?', ...hints.map((hint) => `  - ${hint}`)]),
    ],
    next: `escrowctl policy sign ${given.argument(0)} --out sig.jws`,
  };
}

async function sign(session: Session, given: Given): Promise<Result> {
  const file = given.argument(0);
  const document = await readPolicyFile(file);
  const { principals, rules } = checkPolicyDocument(document);
  const hash = policyDocumentHash(document);
  const lifetimeMs = given.duration('validFor');
  const { identity, client } = await session.connect();
  const { version: base, hash: replaces } = await session.busy('asking for the version in force', () =>
    client.policy(),
  );
  const { origin } = identity.pins;
  const jws = await signPolicy(identity.signer, {
    hash,
    base,
    replaces,
    origin,
    now: session.now,
    lifetimeMs,
  });
  const out = given.text('out');
  await writeFileAtomically(out, `${jws}\n`, 0o644);
  return {
    json: { hash, base, signer: identity.id, out },
    lines: [
      `${identity.id} signed ${file}: ${principals.size} principals, ${rules.length} rules.`,
      ...facts([
        ['hash', hash],
        ['on top of', `version ${base}`],
        ['signature', out],
      ]),
    ],
    next: `another administrator signs too; then: escrowctl policy apply ${file} --signature ${out} --signature OTHER`,
  };
}

async function apply(session: Session, given: Given): Promise<Result> {
  const document = await readPolicyFile(given.argument(0));
  checkPolicyDocument(document);
  const hash = policyDocumentHash(document);
  const signatures = await Promise.all(given.list('signature').map((path) => readSignature(path, hash)));
  if (signatures.length === 0)
    throw new UsageError(
      'there is no --signature',
      'let two administrators run: escrowctl policy sign FILE --out sig.jws',
    );
  const { client } = await session.connect();
  const { result, entry } = await session.busy('applying the policy', () =>
    client.applyPolicy({ document, signatures }),
  );
  return {
    json: { result, entry },
    lines: [
      `Policy version ${result.version} is in force (log entry ${entry}).`,
      ...facts([['hash', result.hash]]),
    ],
    next: 'escrowctl rules test --owner ID --use sign',
  };
}

/** A signature under another file is found here, where the file is, rather than refused by the server. */
async function readSignature(path: string, hash: string): Promise<string> {
  const jws = (await readFile(path, 'utf8')).trim();
  const says = readPolicySignature(jws);
  if (says === undefined) throw new UsageError(`${path} is not a signature made by escrowctl policy sign`);
  if (says.hash !== hash) {
    throw new UsageError(`${path} is ${says.iss}'s signature under another document`, 'sign this file again');
  }
  return jws;
}

async function show(session: Session, given: Given): Promise<Result> {
  const { client } = await session.connect();
  const policy = await session.busy('asking for the policy', () => client.policy());
  const out = given.find('out');
  if (out !== undefined) {
    if (policy.document === undefined) throw new UsageError('no document is in force yet');
    await writeFileAtomically(out, `${JSON.stringify(policy.document, undefined, 2)}\n`, 0o644);
  }
  return {
    json: policy,
    lines: [
      ...facts([
        ['version', String(policy.version)],
        ['hash', policy.hash],
      ]),
      ...documentLines(policy.document),
    ],
  };
}

function documentLines(document: unknown): readonly string[] {
  if (document === undefined)
    return ['', 'Only the first administrators are known; no document is in force yet.'];
  const { principals, rules } = checkPolicyDocument(document);
  return [
    '',
    'Principals',
    ...facts(
      [...principals.values()].map(({ id, name, roles, retired }) => [
        id,
        `${name} (${roles.join(', ')})${retired ? ', retired' : ''}`,
      ]),
    ),
    '',
    'Rules, the first that matches holds',
    ...facts(rules.map((rule) => [rule.name, ruleInWords(rule)])),
  ];
}
