import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';

import { replaceFile } from '../../system/files.js';
import { ecdsaToDer } from '../../system/der.js';
import { type Mechanism, MECHANISM_NAMES, MECHANISMS, signs } from '../../escrow/records/mechanisms.js';
import type { CommandRow, OptionRow, Result } from '../command.js';
import { UsageError } from '../failures.js';
import type { CommandArguments } from '../commandArguments.js';
import type { Session } from '../session.js';

const SIGNING = MECHANISM_NAMES.filter(signs);
const DECRYPTING = MECHANISM_NAMES.filter((name) => !signs(name));
const FORMATS = ['jose', 'der'] as const;

/** For an app that the policy binds to a client certificate. */
const CERTIFICATE: readonly OptionRow[] = [
  {
    flags: '--client-cert <file>',
    about: 'ask by this TLS client certificate, not by a signed request (ESCROWCTL_CLIENT_CERT)',
  },
  { flags: '--client-key <file>', about: 'the key of the client certificate (ESCROWCTL_CLIENT_KEY)' },
];

/** Using a recovered key, as the app that it was granted to. */
export const useCommands: readonly CommandRow[] = [
  {
    usage: 'sign <file>',
    summary: "signs a file with somebody's key, under a grant",
    about:
      'FILE may be - for standard input. The signature goes to --out as bytes, else to standard output in base64url.\n' +
      'jose is r || s for ECDSA (RFC 7518); der is what openssl verifies. For RSA and EdDSA both are the same.',
    options: [
      { flags: '--grant <id>', about: 'the grant', required: true },
      { flags: '--mechanism <name>', about: 'how, by JOSE name', required: true, choices: SIGNING },
      { flags: '--format <format>', about: 'form of the signature', choices: FORMATS, default: 'jose' },
      { flags: '--digest', about: 'hash here and send only the digest, where the grant allows it' },
      { flags: '--out <file>', about: 'where the signature goes' },
      ...CERTIFICATE,
    ],
    examples: [
      'sign letter.txt --grant GRANT --mechanism ES256 --format der --out letter.sig',
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
      { flags: '--grant <id>', about: 'the grant', required: true },
      { flags: '--mechanism <name>', about: 'how, by JOSE name', required: true, choices: DECRYPTING },
      { flags: '--iv <base64url>', about: 'A256GCM: the 96-bit IV' },
      { flags: '--aad <base64url>', about: 'A256GCM: the associated data' },
      { flags: '--out <file>', about: 'where the plaintext goes (default: standard output)' },
      ...CERTIFICATE,
    ],
    examples: ['decrypt session-key.bin --grant GRANT --mechanism RSA-OAEP --out session-key'],
    run: decrypt,
  },
];

async function sign(session: Session, given: CommandArguments): Promise<Result> {
  const mechanism = mechanismOf(given, SIGNING);
  const grant = given.text('grant');
  const message = await inputOf(session, given);
  const inputs = given.flag('digest')
    ? { digests: [digestOf(mechanism, message).toString('base64url')] }
    : { messages: [message.toString('base64url')] };
  const { client } = await session.connect({ signsAll: false });
  const { result, entry } = await session.busy('signing', () => client.sign(grant, { mechanism, ...inputs }));
  const signature = Buffer.from(only(result.signatures), 'base64url');
  const isDer = given.oneOf('format', FORMATS) === 'der' && MECHANISMS[mechanism].kind === 'EC';
  const formed = isDer ? ecdsaToDer(signature) : signature;
  const out = given.find('out');
  if (out !== undefined) await replaceFile(out, formed, 0o644);
  const text = formed.toString('base64url');
  return {
    json: {
      grant,
      mechanism,
      signature: text,
      remaining: result.remaining,
      entry,
      ...(out === undefined ? {} : { out }),
    },
    lines:
      out === undefined
        ? [text]
        : [`The signature is in ${out} (log entry ${entry}). ${left(result.remaining)}`],
  };
}

async function decrypt(session: Session, given: CommandArguments): Promise<Result> {
  const mechanism = mechanismOf(given, DECRYPTING);
  const grant = given.text('grant');
  const [iv, aad] = [given.find('iv'), given.find('aad')];
  const input = {
    ciphertext: (await inputOf(session, given)).toString('base64url'),
    ...(iv === undefined ? {} : { iv }),
    ...(aad === undefined ? {} : { aad }),
  };
  const { client } = await session.connect({ signsAll: false });
  const { result, entry } = await session.busy('decrypting', () =>
    client.decrypt(grant, { mechanism, ciphertexts: [input] }),
  );
  const plaintext = Buffer.from(only(result.plaintexts), 'base64url');
  const out = given.find('out');
  if (out !== undefined) await replaceFile(out, plaintext, 0o600);
  const json = { grant, mechanism, remaining: result.remaining, entry };
  if (out !== undefined) {
    return {
      json: { ...json, out },
      lines: [`The plaintext is in ${out} (log entry ${entry}). ${left(result.remaining)}`],
    };
  }
  return given.flag('json')
    ? { json: { ...json, plaintext: plaintext.toString('base64url') }, lines: [] }
    : { json, lines: [], raw: plaintext };
}

function mechanismOf(given: CommandArguments, choices: readonly Mechanism[]): Mechanism {
  const mechanism = given.oneOf('mechanism', choices);
  if (mechanism === undefined) throw new UsageError('--mechanism is missing');
  return mechanism;
}

function inputOf(session: Session, given: CommandArguments): Promise<Buffer> {
  const file = given.argument(0);
  return file === '-' ? session.terminal.readInput() : readFile(file);
}

function digestOf(mechanism: Mechanism, message: Buffer): Buffer {
  const { digest } = MECHANISMS[mechanism];
  if (digest === undefined) throw new UsageError(`${mechanism} signs messages only, not digests`);
  return createHash(digest).update(message).digest();
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
