import { readCertificate, type SshCertificate } from './certificates.js';
import { SshReader, SshWireError } from './wire.js';

/** What a program wants an SSH key to sign: the forms that OpenSSH has. */
export type SignedData =
  | {
      /** PROTOCOL.sshsig: a file, a commit, a tag. */
      readonly kind: 'file';
      readonly namespace: string;
      readonly hash: string;
      readonly digest: Buffer;
    }
  | {
      /** RFC 4252 section 7, and publickey-hostbound-v00@openssh.com: a login. */
      readonly kind: 'login';
      readonly session: Buffer;
      readonly user: string;
      readonly algorithm: string;
      readonly publicKey: Buffer;
      /** Of the server, where the login names it. */
      readonly hostKey: Buffer | undefined;
    }
  /** A certificate, signed as an authority. */
  | ({ readonly kind: 'certificate' } & SshCertificate);

const MAGIC = Buffer.from('SSHSIG');
const SSH_MSG_USERAUTH_REQUEST = 50;

/** What the bytes say that are to be signed; undefined when they are none of the forms. Every byte must belong to the form. */
export function readSignedData(data: Buffer): SignedData | undefined {
  for (const read of [readFile, readLogin, readAuthority]) {
    try {
      const found = read(data);
      if (found !== undefined) return found;
    } catch (error) {
      if (!(error instanceof SshWireError)) throw error;
    }
  }
  return undefined;
}

function readFile(data: Buffer): SignedData | undefined {
  if (!data.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  const reader = new SshReader(data.subarray(MAGIC.length));
  const namespace = reader.text();
  reader.string(); // reserved
  const [hash, digest] = [reader.text(), reader.string()];
  reader.end();
  // PROTOCOL.sshsig: the namespace must not be empty
  return namespace === '' ? undefined : { kind: 'file', namespace, hash, digest };
}

function readLogin(data: Buffer): SignedData | undefined {
  const reader = new SshReader(data);
  const session = reader.string();
  if (session.length === 0 || reader.byte() !== SSH_MSG_USERAUTH_REQUEST) return undefined;
  const [user, service, method] = [reader.text(), reader.text(), reader.text()];
  const isBound = method === 'publickey-hostbound-v00@openssh.com';
  if (service !== 'ssh-connection' || (method !== 'publickey' && !isBound) || !reader.boolean())
    return undefined;
  const [algorithm, publicKey] = [reader.text(), reader.string()];
  const hostKey = isBound ? reader.string() : undefined;
  reader.end();
  return { kind: 'login', session, user, algorithm, publicKey, hostKey };
}

function readAuthority(data: Buffer): SignedData | undefined {
  const found = readCertificate(data);
  return found === undefined ? undefined : { kind: 'certificate', ...found };
}
