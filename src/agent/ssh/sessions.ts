import { createHash } from 'node:crypto';

import { quoted } from '../../escrow/records/freeText.js';
import { isSignedBy } from './publicKeys.js';
import type { SignedData } from './signedData.js';
import { SshReader } from './wire.js';

/** An SSH session to which the program has bound its connection, proven by the host. */
interface Bound {
  readonly hostKey: Buffer;
  readonly session: Buffer;
  readonly isForwarded: boolean;
}

/** Sessions of one connection: a hop of a jump host each. */
const MOST_SESSIONS = 16;

/**
 * The sessions that a connection is for, by extension `session-bind@openssh.com` (PROTOCOL.agent section 1). A login is signed
 * for a session that is bound, and not over a connection that was forwarded to another host: who is root there could log in as this
 * user elsewhere.
 */
export class BoundSessions {
  readonly #bound: Bound[] = [];

  /**
   * Takes the contents of the extension. Answers whether it holds: the host has signed the session with the key that is shown, and
   * the same session is not bound twice.
   * @throws SshWireError
   */
  bind(contents: Buffer): boolean {
    const reader = new SshReader(contents);
    const [hostKey, session, signature] = [reader.string(), reader.string(), reader.string()];
    const isForwarded = reader.boolean();
    reader.end();
    if (this.#bound.length === MOST_SESSIONS || session.length === 0) return false;
    // PROTOCOL.agent: nothing follows a session for authentication
    if (this.#bound.some((bound) => !bound.isForwarded || bound.session.equals(session))) return false;
    if (!isSignedBy(hostKey, signature, session)) return false;
    this.#bound.push({ hostKey, session, isForwarded });
    return true;
  }

  /** Why a login is not signed; undefined when it may be. */
  refusal(login: Extract<SignedData, { kind: 'login' }>): string | undefined {
    if (this.#bound.some(({ isForwarded }) => isForwarded))
      return 'The agent was forwarded to another host: no login is signed from there.';
    const [bound] = this.#bound;
    if (bound === undefined) return undefined;
    if (!bound.session.equals(login.session))
      return 'The login is for another session than the one that the host has signed.';
    if (login.hostKey?.equals(bound.hostKey) === false)
      return 'The login names another host than the one that has signed the session.';
    return undefined;
  }

  /** What is signed, in words. */
  inWords(data: SignedData): string {
    switch (data.kind) {
      case 'file':
        return `a file or commit for ${quoted(data.namespace)} (${data.hash} ${data.digest.toString('hex').slice(0, 16)}...)`;
      case 'login': {
        const [bound] = this.#bound;
        const host =
          bound === undefined
            ? 'a host that the program has not proven'
            : `the host ${fingerprint(bound.hostKey)}`;
        return `a login as ${quoted(data.user)} to ${host}`;
      }
      case 'certificate':
        return `an SSH certificate of a ${data.certifies}, serial ${data.serial}, id ${quoted(data.id)}, for ${data.principals.length === 0 ? 'anybody' : data.principals.map(quoted).join(', ')}`;
    }
  }
}

/** As `ssh-keygen -l` shows it. */
function fingerprint(publicKey: Buffer): string {
  return `SHA256:${createHash('sha256').update(publicKey).digest('base64').replace(/=+$/, '')}`;
}
