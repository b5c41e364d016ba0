import type { KeyObject } from 'node:crypto';

import type { SignMechanism } from '../../escrow/records/mechanisms.js';
import { mechanismOfCurve, sshCurve } from './publicKeys.js';
import { sshMpint, sshString } from './wire.js';

/** Flags of SSH_AGENTC_SIGN_REQUEST (draft-ietf-sshm-ssh-agent section 3.6.1). */
const SSH_AGENT_RSA_SHA2_256 = 2;
const SSH_AGENT_RSA_SHA2_512 = 4;

/** How a key signs for SSH. */
export interface SshAlgorithm {
  /** Its SSH name. */
  readonly name: string;
  readonly mechanism: SignMechanism;
}

/** By what a key signs, given the flags of the request; undefined for RSA with SHA-1, and for a key that SSH does not have. */
export function algorithmFor(key: KeyObject, flags: number): SshAlgorithm | undefined {
  if (key.asymmetricKeyType === 'rsa') {
    if ((flags & SSH_AGENT_RSA_SHA2_512) !== 0) return { name: 'rsa-sha2-512', mechanism: 'RS512' };
    if ((flags & SSH_AGENT_RSA_SHA2_256) !== 0) return { name: 'rsa-sha2-256', mechanism: 'RS256' };
    return undefined;
  }
  if (key.asymmetricKeyType === 'ed25519') return { name: 'ssh-ed25519', mechanism: 'EdDSA' };
  const curve = sshCurve(key);
  return curve === undefined
    ? undefined
    : { name: `ecdsa-sha2-${curve}`, mechanism: mechanismOfCurve(curve) };
}

/** A signature in SSH form (RFC 4253 section 6.6, RFC 5656 section 3.1.2) of one in JOSE form. */
export function sshSignature({ name }: SshAlgorithm, jose: Buffer): Buffer {
  const half = jose.length / 2;
  const value = name.startsWith('ecdsa-')
    ? Buffer.concat([sshMpint(jose.subarray(0, half)), sshMpint(jose.subarray(half))])
    : jose;
  return Buffer.concat([sshString(name), sshString(value)]);
}
