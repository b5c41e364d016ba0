import type { PrincipalId } from './ids.js';

/** The daemon itself, as the log names it. No principal has this id. */
export const DAEMON_ID = 'escrowd';

/** What a principal may be in the API. Any other role name is a group that rules can refer to. */
export const API_ROLES = ['admin', 'depositary', 'owner', 'app', 'auditor'] as const;
/** A role that the API knows. */
export type ApiRole = (typeof API_ROLES)[number];

/** A public key that signs requests and statements (RFC 7517), and the one algorithm it may be used with. */
export interface SigningKey {
  readonly jwk: Readonly<Record<string, string>>;
  readonly alg: 'ES256' | 'ES384' | 'EdDSA' | 'PS256';
  /** RFC 7638 thumbprint (SHA-256, base64url): the `kid` of what the key signs. */
  readonly thumbprint: string;
}

/** A person or an app. */
export interface Principal {
  readonly id: PrincipalId;
  readonly kind: 'person' | 'app';
  readonly name: string;
  readonly roles: readonly string[];
  readonly attributes: Readonly<Record<string, string>>;
  readonly keys: readonly SigningKey[];
  /**
   * Of an app: the client certificates by which it may sign and decrypt without signing its requests, each as
   * base64url SHA-256 of its DER (`x5t#S256`, RFC 8705 section 3.1). Empty for people.
   */
  readonly certificates: readonly string[];
  /**
   * SHA-256 (hex) of the DER SubjectPublicKeyInfo that shares are encrypted to. The key itself stands in the token; it is
   * used when its fingerprint is this one. Undefined: no share is made for this principal.
   */
  readonly depositaryKey: string | undefined;
  /** RSA public key (DER SubjectPublicKeyInfo) for the owner's own copies. */
  readonly deliveryKey: Uint8Array | undefined;
  /** A retired depositary gets no new deposits; what it holds stays as it is. */
  readonly retired: boolean;
  /** Of an id that had left the directory: the last version that listed it. Says that it is the same person or app. */
  readonly returns: number | undefined;
}

export function hasRole(principal: Principal, role: string): boolean {
  return principal.roles.includes(role);
}

/** Whether this person sees everything. */
export function seesAll(caller: Principal): boolean {
  return hasRole(caller, 'admin') || hasRole(caller, 'auditor');
}
