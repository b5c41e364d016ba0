import type { GrantedUses } from '../grantedUses.js';
import type { AgentConnection, Dialect } from '../listener.js';
import { type OfferedKey, type Told, UseRefused } from '../use.js';
import { plainKeyOf } from './certificates.js';
import { sshPublicKey } from './publicKeys.js';
import { BoundSessions } from './sessions.js';
import { algorithmFor, sshSignature } from './signatures.js';
import { readSignedData, type SignedData } from './signedData.js';
import { SshReader, sshString, sshUint32, SshWireError } from './wire.js';

/** Message numbers of draft-ietf-sshm-ssh-agent section 6.1. */
const MESSAGE = {
  failure: 5,
  success: 6,
  requestIdentities: 11,
  identitiesAnswer: 12,
  signRequest: 13,
  signResponse: 14,
  extension: 27,
  extensionFailure: 28,
} as const;

/** As much as OpenSSH's own agent takes (AGENT_MAX_LEN). */
const LONGEST_MESSAGE = 256 * 1024;
const BY_CERTIFICATE = /-cert-v01@openssh\.com$/;
const FAILURE = Buffer.from([MESSAGE.failure]);

export interface SshAgentParts {
  readonly keys: readonly OfferedKey[];
  readonly uses: Pick<GrantedUses, 'sign'>;
  readonly tell: (told: Told) => void;
}

/** A key in SSH form. */
interface SshKey {
  readonly key: OfferedKey;
  readonly blob: Buffer;
}

/**
 * The SSH agent protocol (draft-ietf-sshm-ssh-agent): lists keys, and signs what can be named: logins, files and commits
 * (SSHSIG), certificates. Keys are neither added nor removed. Messages of one connection are answered in their order.
 */
export function sshAgent({ keys, uses, tell }: SshAgentParts): Dialect {
  const offered = keys.flatMap((key): readonly SshKey[] => {
    const blob = sshPublicKey(key.publicKey);
    return blob === undefined ? [] : [{ key, blob }];
  });
  return (connection) => {
    const conversation = new Conversation(connection, offered, uses, tell);
    framesOf(connection, (message) => conversation.answer(message));
  };
}

/** Calls `answer` for each whole message, one after the other, and writes what it gives. A message too long closes the connection. */
function framesOf({ socket, gone }: AgentConnection, answer: (message: Buffer) => Promise<Buffer>): void {
  let unread = Buffer.alloc(0);
  let isBusy = false;
  const next = async (): Promise<void> => {
    if (isBusy) return;
    isBusy = true;
    try {
      for (;;) {
        if (unread.length < 4) return;
        const length = unread.readUInt32BE(0);
        if (length === 0 || length > LONGEST_MESSAGE) {
          socket.destroy();
          return;
        }
        if (unread.length < 4 + length) return;
        const message = unread.subarray(4, 4 + length);
        unread = unread.subarray(4 + length);
        const reply = await answer(message);
        if (gone.aborted) return;
        socket.write(Buffer.concat([sshUint32(reply.length), reply]));
      }
    } catch {
      socket.destroy();
    } finally {
      isBusy = false;
    }
  };
  socket.on('data', (chunk: Buffer) => {
    unread = Buffer.concat([unread, chunk]);
    // who sends on without waiting for answers is no client of this protocol
    if (unread.length > 2 * (4 + LONGEST_MESSAGE)) socket.destroy();
    else void next();
  });
}

class Conversation {
  readonly #sessions = new BoundSessions();

  constructor(
    private readonly connection: AgentConnection,
    private readonly keys: readonly SshKey[],
    private readonly uses: SshAgentParts['uses'],
    private readonly tell: SshAgentParts['tell'],
  ) {}

  async answer(message: Buffer): Promise<Buffer> {
    const reader = new SshReader(message);
    try {
      switch (reader.byte()) {
        case MESSAGE.requestIdentities:
          reader.end();
          return this.#identities();
        case MESSAGE.signRequest:
          return await this.#sign(reader);
        case MESSAGE.extension:
          return this.#extend(reader);
        default:
          // keys are neither added nor removed, nor is anything locked
          return FAILURE;
      }
    } catch (error) {
      if (error instanceof UseRefused || error instanceof SshWireError) return FAILURE;
      this.tell({
        ...{ event: 'refused', code: 'agent-failed' },
        sentence: `The agent failed for ${this.connection.caller}: ${error instanceof Error ? error.message : 'no error'}`,
      });
      return FAILURE;
    }
  }

  #identities(): Buffer {
    const rows = this.keys.map(({ key, blob }) => Buffer.concat([sshString(blob), sshString(key.name)]));
    return Buffer.concat([Buffer.from([MESSAGE.identitiesAnswer]), sshUint32(rows.length), ...rows]);
  }

  #extend(reader: SshReader): Buffer {
    if (reader.text() !== 'session-bind@openssh.com') return FAILURE;
    const holds = this.#sessions.bind(reader.rest());
    return Buffer.from([holds ? MESSAGE.success : MESSAGE.extensionFailure]);
  }

  async #sign(reader: SshReader): Promise<Buffer> {
    const [blob, data, flags] = [reader.string(), reader.string(), reader.uint32()];
    reader.end();
    const found = this.keys.find((key) => key.blob.equals(blob));
    if (found === undefined) return FAILURE;
    const { key } = found;
    const algorithm = algorithmFor(key.publicKey, flags);
    if (algorithm === undefined)
      return this.#refused(key, 'an RSA signature by SHA-1', 'SHA-1 is not signed.');
    const signed = readSignedData(data);
    if (signed === undefined)
      return this.#refused(key, `${data.length} bytes`, 'They are no login, file, commit or certificate.');
    const what = this.#sessions.inWords(signed);
    const why = this.#refusal(signed, blob, algorithm.name);
    if (why !== undefined) return this.#refused(key, what, why);
    const { caller, gone } = this.connection;
    const input = { kind: 'message', bytes: data } as const;
    const signature = await this.uses.sign({
      ...{ key, what, caller, gone, input },
      mechanism: algorithm.mechanism,
    });
    return Buffer.concat([
      Buffer.from([MESSAGE.signResponse]),
      sshString(sshSignature(algorithm, signature)),
    ]);
  }

  /** Why what could be named is not signed; undefined when it may be. */
  #refusal(signed: SignedData, blob: Buffer, algorithm: string): string | undefined {
    switch (signed.kind) {
      case 'file':
        return undefined;
      case 'login':
        // a login by a certificate names its kind, and is signed by the key in it
        if (
          !plainKeyOf(signed.publicKey).equals(blob) ||
          signed.algorithm.replace(BY_CERTIFICATE, '') !== algorithm
        )
          return 'The login names another key, or another algorithm.';
        return this.#sessions.refusal(signed);
      case 'certificate':
        return signed.authority.equals(blob) ? undefined : 'The certificate names another authority.';
    }
  }

  #refused(key: OfferedKey, what: string, why: string): Buffer {
    this.tell({
      ...{ event: 'refused', key: key.key, code: 'not-signed' },
      sentence: `Refused: ${this.connection.caller} wanted ${key.name} to sign ${what}. ${why}`,
    });
    return FAILURE;
  }
}
