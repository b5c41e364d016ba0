import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';

import { MAX_INPUT_BYTES, namedKeyPath } from '../../api/orders.js';
import { decodeBase64url } from '../../log/note/base64.js';
import { ecdsaToDer } from '../../system/der.js';
import { codeOf } from '../../system/errors.js';
import { quoted } from '../../escrow/records/freeText.js';
import { type Mechanism, MECHANISM_NAMES, MECHANISMS, signs } from '../../escrow/records/mechanisms.js';
import type { CommandRow, OptionRow, Result } from '../command.js';
import { UsageError } from '../failures.js';
import { FORCE, type Outputs, withOutputs } from '../files/outputs.js';
import type { CommandArguments } from '../commandArguments.js';
import type { Session } from '../session.js';

const SIGNING = MECHANISM_NAMES.filter(signs);
const DECRYPTING = MECHANISM_NAMES.filter((name) => !signs(name));
const FORMATS = ['jose', 'der'] as const;

/** For an app that the policy binds to a client certificate. */
export const CLIENT_CERTIFICATE: readonly OptionRow[] = [
  {
    flags: '--client-cert <file>',
    about: 'ask by this TLS client certificate, not by a signed request (ESCROWCTL_CLIENT_CERT)',
  },
  { flags: '--client-key <file>', about: 'the key of the client certificate (ESCROWCTL_CLIENT_KEY)' },
];

/** Either of them. */
const NAMED_GRANT: readonly OptionRow[] = [
  { flags: '--grant <id>', about: 'the grant' },
  {
    flags: '--key <id or label>',
    about:
      'in place of --grant: whichever of your grants for this key allows it; of two, the one that ends first',
  },
];

const CONTEXT: OptionRow = {
  flags: '--context <text>',
  about: 'what it is for, such as an invoice number: in the log, and told the owner (at most 200 characters)',
};

/** Using a recovered key, as the app that it was granted to. */
export const useCommands: readonly CommandRow[] = [
  {
    usage: 'sign <file>',
    summary: "signs a file with somebody's key, under a grant",
    about:
      'FILE may be - for standard input. The signature goes to --out as bytes, else to standard output in base64url.\n' +
      'jose is r || s for ECDSA (RFC 7518); der is what openssl verifies. For RSA and EdDSA both are the same.',
    options: [
      ...NAMED_GRANT,
      { flags: '--mechanism <name>', about: 'how, by JOSE name', required: true, choices: SIGNING },
      { flags: '--format <format>', about: 'form of the signature', choices: FORMATS, default: 'jose' },
      { flags: '--digest', about: 'hash here and send only the digest, where the grant allows it' },
      { flags: '--out <file>', about: 'where the signature goes (- for standard output, as bytes)' },
      CONTEXT,
      FORCE,
      ...CLIENT_CERTIFICATE,
    ],
    examples: [
      'sign letter.txt --grant GRANT --mechanism ES256 --format der --out letter.sig --context "invoice 4711"',
      'sign letter.txt --key invoices-2026 --mechanism ES256',
      'sign - --grant GRANT --mechanism RS256 < letter.txt > letter.sig.b64u',
      'sign - --grant GRANT --mechanism RS256 --client-cert app.crt --client-key app.key < letter.txt',
    ],
    run: sign,
  },
  {
    usage: 'decrypt <file>',
    summary: "decrypts a file with somebody's key, under a grant",
    about: 'FILE is the ciphertext (- for standard input), of A256GCM with its tag at the end.',
    options: [
      ...NAMED_GRANT,
      { flags: '--mechanism <name>', about: 'how, by JOSE name', required: true, choices: DECRYPTING },
      { flags: '--iv <base64url>', about: 'A256GCM: the 96-bit IV' },
      { flags: '--aad <base64url>', about: 'A256GCM: the associated data' },
      { flags: '--out <file>', about: 'where the plaintext goes (default: standard output)' },
      CONTEXT,
      FORCE,
      ...CLIENT_CERTIFICATE,
    ],
    examples: ['decrypt session-key.bin --grant GRANT --mechanism RSA-OAEP --out session-key'],
    run: decrypt,
  },
];

async function sign(session: Session, given: CommandArguments): Promise<Result> {
  const mechanism = mechanismOf(given, SIGNING);
  const by = grantOf(given);
  const inputs = given.flag('digest')
    ? { digests: [(await digestOf(session, given, mechanism)).toString('base64url')] }
    : { messages: [(await messageOf(session, given)).toString('base64url')] };
  const out = given.find('out');
  return withResult(session, given, { out, isSecret: false, bytes: SIGNATURE_BYTES }, async (outputs) => {
    const { client } = await session.connect({ signsAll: false });
    const { result, entry } = await session.busy('signing', () => {
      const order = { mechanism, ...inputs, ...contextOf(given) };
      return 'grant' in by ? client.sign(by.grant, order) : client.signWithKey(by.key, order);
    });
    const signature = Buffer.from(only(result.signatures), 'base64url');
    const isDer = given.oneOf('format', FORMATS) === 'der' && MECHANISMS[mechanism].kind === 'EC';
    const formed = isDer ? ecdsaToDer(signature) : signature;
    await outputs?.writeOrKeep(formed, { name: 'signature', isSecret: false });
    const text = formed.toString('base64url');
    const { remaining } = result;
    const json = { ...by, ...grantIn(result), mechanism, signature: text, remaining, entry };
    if (outputs !== undefined)
      return {
        json: { ...json, out },
        lines: [`The signature is in ${out ?? ''} (log entry ${entry}). ${left(remaining)}`],
      };
    return {
      json,
      lines: [text],
      ...(out === STDOUT ? { raw: formed } : {}),
      precious: { name: 'signature', content: formed, isSecret: false },
    };
  });
}

async function decrypt(session: Session, given: CommandArguments): Promise<Result> {
  const mechanism = mechanismOf(given, DECRYPTING);
  const by = grantOf(given);
  const ciphertext = await messageOf(session, given);
  const input = { ciphertext: ciphertext.toString('base64url'), ...gcmOf(given, mechanism) };
  const out = given.find('out');
  return withResult(session, given, { out, isSecret: true, bytes: ciphertext.length }, async (outputs) => {
    const { client } = await session.connect({ signsAll: false });
    const { result, entry } = await session.busy('decrypting', () => {
      const order = { mechanism, ciphertexts: [input], ...contextOf(given) };
      return 'grant' in by ? client.decrypt(by.grant, order) : client.decryptWithKey(by.key, order);
    });
    const plaintext = Buffer.from(only(result.plaintexts), 'base64url');
    await outputs?.writeOrKeep(plaintext, { name: 'plaintext', isSecret: true });
    const json = { ...by, ...grantIn(result), mechanism, remaining: result.remaining, entry };
    if (outputs !== undefined)
      return {
        json: { ...json, out },
        lines: [`The plaintext is in ${out ?? ''} (log entry ${entry}). ${left(result.remaining)}`],
      };
    const precious = { name: 'plaintext', content: plaintext, isSecret: true };
    return given.flag('json') && out !== STDOUT
      ? { json: { ...json, plaintext: plaintext.toString('base64url') }, lines: [], precious }
      : { json, lines: [], raw: plaintext, precious };
  });
}

/** @throws UsageError unless one of the two is there; as {@link namedKey} */
function grantOf(given: CommandArguments): { readonly grant: string } | { readonly key: string } {
  const [grant, key] = [given.find('grant'), given.find('key')];
  if ((grant === undefined) === (key === undefined))
    throw new UsageError(
      grant === undefined ? 'by which grant?' : '--grant and --key say the same: give one of them',
      '--grant GRANT, or --key KEY for whichever of your grants for that key allows it',
    );
  return grant === undefined ? namedKey(key ?? '') : { grant };
}

/** @throws UsageError where a label cannot stand in a path */
export function namedKey(key: string): { readonly key: string } {
  const named = namedKeyPath.safeParse({ key });
  if (named.success) return named.data;
  throw new UsageError(
    `${quoted(key)} cannot name a key here`,
    'a label of letters, digits, hyphen, underscore and dots, though none at its beginning, or the id of the key',
  );
}

/** By which it was; older servers do not say. */
function grantIn({ grant }: { readonly grant?: string | undefined }): { readonly grant?: string } {
  return grant === undefined ? {} : { grant };
}

function contextOf(given: CommandArguments): { readonly context?: string } {
  const context = given.find('context');
  return context === undefined ? {} : { context };
}

const STDOUT = '-';
const SIGNATURE_BYTES = 1024;

/** The one result of a use: it has a place before the use is spent. Standard output is looked at only when it is written to. */
function withResult<T>(
  session: Session,
  given: CommandArguments,
  place: { readonly out: string | undefined; readonly isSecret: boolean; readonly bytes: number },
  work: (outputs: Outputs | undefined) => Promise<T>,
): Promise<T> {
  const { out: path, isSecret, bytes } = place;
  if (path === undefined || path === STDOUT) return work(undefined);
  return withOutputs(session, given, [{ path, isSecret, bytes }], work);
}

/** IV and associated data, where the mechanism has them. @throws UsageError */
function gcmOf(
  given: CommandArguments,
  mechanism: Mechanism,
): { readonly iv?: string; readonly aad?: string } {
  const [iv, aad] = [given.find('iv'), given.find('aad')];
  if (mechanism !== 'A256GCM') {
    if (iv !== undefined || aad !== undefined)
      throw new UsageError(`${mechanism} has neither --iv nor --aad`);
    return {};
  }
  if (iv === undefined)
    throw new UsageError('--iv is missing: A256GCM needs it', 'the 12 bytes, in base64url');
  for (const [name, text] of Object.entries({ iv, aad }))
    if (text !== undefined && decodeBase64url(text) === undefined)
      throw new UsageError(`--${name} is not base64url`, 'A-Z a-z 0-9 - _ and no = at the end');
  if (decodeBase64url(iv)?.length !== GCM_IV_BYTES)
    throw new UsageError('--iv does not have the 12 bytes that A256GCM needs');
  return aad === undefined ? { iv } : { iv, aad };
}
const GCM_IV_BYTES = 12;

function mechanismOf(given: CommandArguments, choices: readonly Mechanism[]): Mechanism {
  const mechanism = given.oneOf('mechanism', choices);
  if (mechanism === undefined) throw new UsageError('--mechanism is missing');
  return mechanism;
}

/** What is sent whole: one request has room for so much, and no use is spent to learn that. @throws UsageError */
async function messageOf(session: Session, given: CommandArguments): Promise<Buffer> {
  const file = given.argument(0);
  const bytes =
    file === STDIN
      ? await session.terminal.readInput()
      : await session.readInput(file, MAX_INPUT_BYTES).catch(tooLong(file));
  if (bytes.length <= MAX_INPUT_BYTES) return bytes;
  throw tooLarge(file, bytes.length);
}

function tooLong(file: string): (error: unknown) => Promise<never> {
  return async (error) => {
    if (codeOf(error) !== 'EFBIG') throw error;
    const { size } = await stat(file);
    throw tooLarge(file, size);
  };
}

/** @param bytes 0 where it is not known */
function tooLarge(file: string, bytes: number): UsageError {
  const name = file === STDIN ? 'standard input' : file;
  return new UsageError(
    `${name} has ${bytes === 0 ? 'too many' : bytes} bytes: one use takes ${MAX_INPUT_BYTES} at most`,
    'sign --digest sends only the hash, under a grant that allows it (recovery request --digest); of what is encrypted, decrypt the content key alone',
  );
}

const STDIN = '-';

/** The digest of a file of any length, made here. @throws UsageError where the mechanism takes none */
async function digestOf(session: Session, given: CommandArguments, mechanism: Mechanism): Promise<Buffer> {
  const { digest } = MECHANISMS[mechanism];
  if (digest === undefined) throw new UsageError(`${mechanism} signs messages only, not digests`);
  const hash = createHash(digest);
  const file = given.argument(0);
  if (file === STDIN) return hash.update(await session.terminal.readInput()).digest();
  session.noteInput(file);
  for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>) hash.update(chunk);
  return hash.digest();
}

function only(items: readonly string[]): string {
  const [item, ...more] = items;
  if (item === undefined || more.length > 0)
    throw new Error('the server answered another number of results than asked');
  return item;
}

function left(remaining: number): string {
  return `The grant has ${remaining} use${remaining === 1 ? '' : 's'} left.`;
}
