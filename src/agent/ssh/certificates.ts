import { SshReader, sshString } from './wire.js';

/** What an SSH certificate says (OpenSSH, PROTOCOL.certkeys), without its signature. */
export interface SshCertificate {
  readonly certifies: 'user' | 'host';
  readonly serial: bigint;
  readonly id: string;
  /** None: anybody. */
  readonly principals: readonly string[];
  /** The public key, in SSH form, of who signs it. */
  readonly authority: Buffer;
}

const NAME = /^(ssh-rsa|ssh-ed25519|ecdsa-sha2-nistp(?:256|384|521))-cert-v01@openssh\.com$/;
/** How many fields the public key in a certificate has. */
const KEY_FIELDS: Readonly<Record<string, number>> = { 'ssh-rsa': 2, 'ssh-ed25519': 1 };
const USER = 1;
const HOST = 2;

/**
 * Reads a certificate that is to be signed; undefined when it is none.
 * @throws SshWireError
 */
export function readCertificate(data: Buffer): SshCertificate | undefined {
  const reader = new SshReader(data);
  if (readKey(reader) === undefined) return undefined;
  const serial = reader.uint64();
  const kind = reader.uint32();
  const id = reader.text();
  const principals = readTexts(reader.string());
  reader.uint64(); // valid after
  reader.uint64(); // valid before
  reader.string(); // critical options
  reader.string(); // extensions
  reader.string(); // reserved
  const authority = reader.string();
  reader.end();
  if (kind !== USER && kind !== HOST) return undefined;
  return { certifies: kind === USER ? 'user' : 'host', serial, id, principals, authority };
}

/**
 * The public key itself, in SSH form, of one that may be a certificate.
 * @throws SshWireError
 */
export function plainKeyOf(publicKey: Buffer): Buffer {
  return readKey(new SshReader(publicKey)) ?? publicKey;
}

/** The key in the certificate that begins here; undefined when none does. */
function readKey(reader: SshReader): Buffer | undefined {
  const [, type] = NAME.exec(reader.text()) ?? [];
  if (type === undefined) return undefined;
  reader.string(); // nonce
  const fields = Array.from({ length: KEY_FIELDS[type] ?? 2 }, () => sshString(reader.string()));
  return Buffer.concat([sshString(type), ...fields]);
}

function readTexts(bytes: Buffer): readonly string[] {
  const reader = new SshReader(bytes);
  const texts: string[] = [];
  while (!reader.isAtEnd) texts.push(reader.text());
  return texts;
}
