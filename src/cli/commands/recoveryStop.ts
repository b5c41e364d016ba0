import { stopProven } from '../../client/ends.js';
import { readStop, signStop } from '../../client/stop.js';
import { printable, quoted } from '../../escrow/records/freeText.js';
import type { RecoveryReply } from '../../api/replies.js';
import { facts } from '../columns.js';
import type { CommandRow, Result } from '../command.js';
import { UsageError } from '../failures.js';
import type { CommandArguments } from '../commandArguments.js';
import { FORCE, withOutputs } from '../files/outputs.js';
import { idOf } from '../ids.js';
import type { Session } from '../session.js';

/** Administrators end a request of whomever. */
export const stopCommand: CommandRow = {
  usage: 'stop <id>',
  summary: 'administrators end a request, whoever filed it',
  about:
    'It takes as many administrators as a policy does. Each signs with --sign and a reason, and one of them hands in all\n' +
    'statements with --statement. Works while the token is out, and for a request that is approved and waits. What was\n' +
    'carried out is not undone by it: grants are ended by `grant revoke`. Says that it ended only when the server has proven\n' +
    'that this is in the log; without that (exit 7) call the depositaries, so that none of them approves.',
  options: [
    { flags: '--reason <text>', about: 'with --sign: why; everyone concerned will read it' },
    { flags: '--sign <out>', about: 'sign that the request is to end, and write the statement to this file' },
    { flags: '--valid-for <duration>', about: 'how long the statement stands', default: '1d' },
    { flags: '--yes', about: 'do not ask before signing (for scripts)' },
    { flags: '--statement <file>', about: 'made by --sign; give as many as are needed', many: true },
    FORCE,
  ],
  examples: [
    'recovery stop rec_0123456789abcdef0123456789abcdef --sign ann.jws --reason "Dave has left"',
    'recovery stop rec_0123456789abcdef0123456789abcdef --statement ann.jws --statement bob.jws',
  ],
  run: (session, given) => {
    const out = given.find('sign');
    const files = given.list('statement');
    if (out !== undefined && files.length > 0)
      throw new UsageError('--sign and --statement are two steps', 'sign first; then hand in all statements');
    return out === undefined ? handIn(session, given.argument(0), files) : sign(session, given, out);
  },
};

async function sign(session: Session, given: CommandArguments, out: string): Promise<Result> {
  const reason = given.words('reason');
  const { identity, client } = await session.connect();
  const id = await idOf(session, client, 'rec', given.argument(0));
  const shown = await session.busy('asking for the request', () => client.recovery(id));
  const { recovery, requestHash } = openOne(shown, id);
  const about = aboutRequest(shown, requestHash, reason);
  const { logKey } = identity.pins;
  const lifetimeMs = given.duration('validFor');
  await withOutputs(session, given, [{ path: out, isSecret: false }], async (outputs) => {
    if (!given.flag('yes')) await confirm(session, about);
    const order = { recovery, requestHash, reason, logKey, now: session.now, lifetimeMs };
    await outputs.write([`${await signStop(identity.signer, order)}\n`]);
  });
  return {
    json: { recovery, requestHash, reason, signer: identity.id, statement: out },
    lines: [
      ...about,
      '',
      `${identity.id} signed that it is to end; nothing was sent.`,
      ...facts([['statement', out]]),
    ],
    next: `when enough administrators have signed: escrowctl recovery stop ${recovery} --statement ${out} --statement OTHER`,
  };
}

async function handIn(session: Session, id: string, files: readonly string[]): Promise<Result> {
  if (files.length === 0)
    throw new UsageError(
      'there is no --statement',
      `let administrators run: escrowctl recovery stop ${id} --sign NAME.jws --reason TEXT`,
    );
  const statements = await Promise.all(files.map((path) => readStatement(session, path, id)));
  const { client, log } = await session.connect();
  const { result, entry } = await session.busy('ending the request', () =>
    stopProven(client, log, id, { statements }),
  );
  return {
    json: { result, entry },
    lines: [`Ended ${result.recovery} (log entry ${entry}).`, ...facts([['status', result.status]])],
  };
}

/** A statement about another request is found here, where the file is, rather than refused by the server. */
async function readStatement(session: Session, path: string, id: string): Promise<string> {
  const jws = (await session.readText(path)).trim();
  const says = readStop(jws);
  if (says === undefined)
    throw new UsageError(`${path} is not a statement made by escrowctl recovery stop --sign`);
  if (says.recovery !== id)
    throw new UsageError(`${path} is ${printable(says.iss)}'s statement about another request`);
  return jws;
}

/** An open request, and its hash. */
function openOne(
  { recovery, status, requestHash }: RecoveryReply,
  asked: string,
): { readonly recovery: string; readonly requestHash: string } {
  if (recovery !== asked) throw new UsageError('the server shows another request than the one asked for');
  if (status !== 'pending' && status !== 'approved')
    throw new UsageError(`the request is not open: it is ${status}`, `escrowctl recovery show ${recovery}`);
  if (requestHash === undefined)
    throw new UsageError('the server does not know this command yet: it is older');
  return { recovery, requestHash };
}

function aboutRequest(shown: RecoveryReply, requestHash: string, reason: string): readonly string[] {
  const { recovery, status, purpose, owner, requester, keys } = shown;
  return [
    `The server says that ${requester} asks for ${keys.length === 1 ? 'a key' : `${keys.length} keys`} of ${owner}:`,
    ...facts([
      ['request', recovery],
      ['hash', requestHash],
      ['status', status],
      ['purpose', purpose],
    ]),
    `It is to end. Your reason: ${quoted(reason)}`,
  ];
}

async function confirm(session: Session, about: readonly string[]): Promise<void> {
  const { terminal } = session;
  if (!terminal.isInteractive)
    throw new UsageError(
      'nobody is there to be asked',
      'add --yes, after reading: escrowctl recovery show ID',
    );
  terminal.writeError(`${about.map(printable).join('\n')}\n\n`);
  const answer = await terminal.ask('Sign that it is to end? Type yes: ');
  if (answer.trim().toLowerCase() !== 'yes') throw new UsageError('not signed; nothing was written');
}
