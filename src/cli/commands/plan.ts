import { printable } from '../../escrow/records/freeText.js';
import { readPolicySignature, signPolicy } from '../../client/policy/policyDocument.js';
import { type PolicyPlan, planPolicy } from '../../client/policy/policyPlan.js';
import type { EscrowClient } from '../../client/escrowClient.js';
import { facts } from '../columns.js';
import { lossesInWords } from '../keyCoverage/losses.js';
import { bar } from '../spinner.js';
import type { CommandRow, OptionRow, Result } from '../command.js';
import { UsageError } from '../failures.js';
import type { CommandArguments } from '../commandArguments.js';
import { FORCE, withOutputs } from '../files/outputs.js';
import type { Session } from '../session.js';

const FILE: OptionRow = {
  flags: '-f, --file <file>',
  about: 'directory and rules, YAML or JSON',
  default: 'escrow.yaml',
};

/** Shows what a policy file would change. */
export const planCommand: CommandRow = {
  usage: 'plan',
  summary: 'shows what a policy file would change, and signs exactly that',
  about:
    'Compares the file with what runs, in words, and warns of quorums that would be impossible. Lists the keys that it leaves\n' +
    'without any live quorum, with a single one, or with somebody who is in all that are left.\n' +
    'With --sign, an administrator signs what was shown: this document, instead of this very policy.\n' +
    'Others who are to sign run the same command. A policy that has changed meanwhile needs a new plan.',
  options: [
    FILE,
    { flags: '--sign <out>', about: 'sign the plan, and write the signature to this file' },
    { flags: '--valid-for <duration>', about: 'how long the signature stands', default: '1d' },
    { flags: '--yes', about: 'do not ask before signing (for scripts)' },
    FORCE,
  ],
  examples: ['plan -f escrow.yaml --as ~/.escrowd', 'plan -f escrow.yaml --as ~/.escrowd --sign dana.jws'],
  run: plan,
};

/** Puts a policy file in force. */
export const applyCommand: CommandRow = {
  usage: 'apply',
  summary: 'puts a policy file in force, when enough administrators have signed the identical plan',
  about:
    'Shows the plan once more. Who applies it need not have signed. Where it leaves keys without any live quorum, so that nobody\n' +
    'can bring them back, it is applied only with exactly their number, which the server counts too (exit 8 else).',
  options: [
    FILE,
    { flags: '--signature <file>', about: 'made by `plan --sign`; give as many as are needed', many: true },
    {
      flags: '--accept-unrecoverable <n>',
      about: 'leave exactly so many keys without anybody who can bring them back',
    },
  ],
  examples: ['apply -f escrow.yaml --as ~/.escrowd --signature dana.jws --signature eve.jws'],
  run: apply,
};

async function plan(session: Session, given: CommandArguments): Promise<Result> {
  const { identity, client } = await session.connect();
  const file = given.text('file');
  const made = await comparing(session, client, file);
  const out = given.find('sign');
  const json = planJson(made);
  const lines = planLines(made);
  if (out === undefined) {
    const next =
      made.changes.length === 0 ? undefined : `escrowctl plan -f ${file} --sign ${identity.id}.jws`;
    return { json, lines, next };
  }
  const { hash, base, replaces } = made;
  const { logKey } = identity.pins;
  const lifetimeMs = given.duration('validFor');
  session.noteInput(file);
  await withOutputs(session, given, [{ path: out, isSecret: false }], async (outputs) => {
    if (!given.flag('yes')) await confirm(session, lines);
    const order = { hash, base, replaces, logKey, now: session.now, lifetimeMs };
    await outputs.write([`${await signPolicy(identity.signer, order)}\n`]);
  });
  return {
    json: { ...json, signer: identity.id, signature: out },
    lines: [...lines, '', `${identity.id} signed this plan.`, ...facts([['signature', out]])],
    next: `when ${made.signersNeeded} administrators have signed: escrowctl apply -f ${file} --signature ${out} --signature OTHER`,
  };
}

async function confirm(session: Session, lines: readonly string[]): Promise<void> {
  const { terminal } = session;
  if (!terminal.isInteractive)
    throw new UsageError('nobody is there to be asked', 'add --yes, after reading: escrowctl plan');
  terminal.writeError(`${lines.map(printable).join('\n')}\n\n`);
  const answer = await terminal.ask('Sign this plan? Type yes: ');
  if (answer.trim().toLowerCase() !== 'yes') throw new UsageError('not signed; nothing was written');
}

async function apply(session: Session, given: CommandArguments): Promise<Result> {
  const { client } = await session.connect();
  const files = given.list('signature');
  if (files.length === 0)
    throw new UsageError(
      'there is no --signature',
      'let administrators run: escrowctl plan -f FILE --sign NAME.jws',
    );
  const file = given.text('file');
  const accepted = given.findNumber('acceptUnrecoverable') ?? 0;
  const made = await comparing(session, client, file);
  const signatures = await Promise.all(files.map((path) => readSignature(session, path, made)));
  const lost = made.losses?.lost ?? 0;
  if (lost !== accepted) return notAccepted(made, { lost, accepted, file, files });
  const { document } = made;
  const { result, entry } = await session.busy('applying the policy', () =>
    client.applyPolicy({
      ...{ document, signatures },
      ...(accepted === 0 ? {} : { acceptUnrecoverable: accepted }),
    }),
  );
  return {
    json: { ...planJson(made), result, entry },
    lines: [
      ...planLines(made),
      '',
      `Policy version ${result.version} is in force (log entry ${entry}).`,
      ...facts([['hash', result.hash]]),
    ],
    next: lost === 0 ? 'escrowctl rules test --owner ID --use sign' : 'escrowctl coverage',
  };
}

function comparing(session: Session, client: EscrowClient, file: string): Promise<PolicyPlan> {
  return session.busy('comparing with what runs', (progress) =>
    planPolicy(client, file, (done, all) => {
      if (all > done) progress(`listing the keys that are covered worse ${bar(done, all)}`);
    }),
  );
}

/** The plan, and that it was not applied: keys would be lost, and nobody said so, or it is not that many. */
function notAccepted(
  made: PolicyPlan,
  { lost, accepted, file, files }: { lost: number; accepted: number; file: string; files: readonly string[] },
): Result {
  const signatures = files.map((path) => ` --signature ${path}`).join('');
  return {
    json: { ...planJson(made), applied: false, accepted },
    lines: [
      ...planLines(made),
      '',
      lost === 0
        ? `Not applied: no key would be left without a live quorum, and ${accepted} ${accepted === 1 ? 'was' : 'were'} accepted.`
        : `Not applied: nobody could bring ${lost === 1 ? 'this key' : `these ${lost} keys`} back any more.`,
    ],
    next:
      lost === 0
        ? `leave out --accept-unrecoverable: escrowctl apply -f ${file}${signatures}`
        : `change the file; or, to lose them: escrowctl apply -f ${file}${signatures} --accept-unrecoverable ${lost}`,
    exit: 'unrecoverable',
  };
}

/** A signature under another plan is found here, where the file is, rather than refused by the server. */
async function readSignature(
  session: Session,
  path: string,
  { hash, base, replaces }: PolicyPlan,
): Promise<string> {
  const jws = (await session.readText(path)).trim();
  const says = readPolicySignature(jws);
  if (says === undefined) throw new UsageError(`${path} is not a signature made by escrowctl plan --sign`);
  if (says.hash !== hash)
    throw new UsageError(`${path} is ${says.iss}'s signature under another document`, 'sign this plan again');
  if (says.base !== base || says.replaces !== replaces) {
    throw new UsageError(
      `${path} is ${says.iss}'s signature under a plan for version ${says.base}; version ${base} is in force`,
      'look at the plan again, and sign it again',
    );
  }
  return jws;
}

function planJson(made: PolicyPlan): Readonly<Record<string, unknown>> {
  const { hash, base, replaces, signersNeeded, changes, warnings, losses } = made;
  return { hash, base, replaces, signersNeeded, changes, warnings, losses: losses ?? null };
}

function planLines(made: PolicyPlan): readonly string[] {
  const { hash, base, replaces, signersNeeded, changes, warnings, losses, next } = made;
  return [
    `${next.principals.size} principals and ${next.rules.length} rules would replace version ${base}.`,
    ...facts([
      ['document', hash],
      ['replaces', replaces],
      ['signatures needed', String(signersNeeded)],
    ]),
    '',
    ...(changes.length === 0 ? ['Nothing would change.'] : ['Changes', ...changes.map(indented)]),
    ...(losses === undefined ? [] : lossesInWords(losses)),
    ...(warnings.length === 0 ? [] : ['', 'Warnings', ...warnings.map((text) => indented(`! ${text}`))]),
  ];
}

function indented(text: string): string {
  return `  ${printable(text)}`;
}
