/** Why something that the server showed is not believed: one closed set of stable codes. */
export const DISBELIEFS = {
  // the attestation, signed by the token's identity key
  'attestation-missing': 'The server shows nothing that a depositary could check.',
  'attestation-malformed': 'The attestation is not a signed statement.',
  'attestation-signature-invalid': 'The attestation is not signed by the pinned identity key.',
  'attestation-expired': 'The attestation has expired.',
  'attestation-issuer-mismatch': 'The attestation is by another server.',
  'recovery-mismatch': 'The attestation is about another recovery request.',
  'request-hash-mismatch': 'The request shown is not the one that was attested.',
  'key-mismatch': 'The attestation is about another key, or another public key is shown.',
  'purpose-mismatch': 'The attestation is for another purpose.',
  'scope-mismatch': 'The scope shown is not the one that was attested.',
  'expiry-mismatch': 'The expiry shown is not the one that was attested.',
  'transport-key-mismatch': 'The one-time key shown is not the one that was attested.',
  'transport-key-weak': 'The one-time key is not an RSA key of at least 3072 bits.',
  'import-key-mismatch': 'The import key shown is not the one that was attested, or is for somebody else.',
  // the log
  'checkpoint-invalid': 'The checkpoint is not signed by the pinned log key, or is of another log.',
  'witnesses-missing': 'Too few of the pinned witnesses have cosigned the log.',
  'cosignature-invalid': 'A cosignature of a pinned witness does not hold.',
  'log-rolled-back': 'The log shown is older than one that was seen before.',
  'log-forked': 'The log shown is not a continuation of the one that was seen before.',
  'entry-mismatch': 'The log entry shown is not about this request.',
  'generation-old':
    'The server shows an older deposit of a key than the one that you have opened a share of.',
  'entry-not-in-log': 'The log entry shown is not in the log.',
  'history-refused': 'The history shown is not all, or not only, what the log has about its owner.',
  'history-statement-invalid': 'The statement that the history is complete does not hold.',
  'export-refused': 'The export is not what the log has signed.',
  'server-keys-mismatch': 'The server says that it has other keys than those pinned.',
  // keys and answers
  'deposit-missing': 'The server does not show how the share was deposited: it is older than this client.',
  'intent-invalid': 'An intent that the server shows is not one: nothing was sent.',
  'share-mismatch': 'The share is not of the deposit that the server shows: nothing was sent.',
  'share-malformed': 'The share does not open to a recovery secret.',
  'release-malformed': 'The released key does not open.',
  'release-mismatch':
    'What was released is not the private half of the public key shown, or not the secret that was deposited.',
  'challenge-mismatch': 'The challenge is not for this depositary key.',
} as const satisfies Record<string, string>;

/** A code of {@link DISBELIEFS}. */
export type Disbelief = keyof typeof DISBELIEFS;

/**
 * What the server, or a file, showed does not hold. Nothing was decrypted, signed or sent because of it. `evidence`
 * holds what contradicts itself, where there is such a thing.
 */
export class NotBelieved extends Error {
  override readonly name = 'NotBelieved';
  readonly evidence: Readonly<Record<string, unknown>> | undefined;

  constructor(
    readonly code: Disbelief,
    readonly detail: string = DISBELIEFS[code],
    options: ErrorOptions & { readonly evidence?: Readonly<Record<string, unknown>> } = {},
  ) {
    super(detail, options);
    this.evidence = options.evidence;
  }
}

/**
 * The caller's own client does not do it yet: a secret that is to leave only after a delay stays until the delay is over by the
 * caller's own clock. Nothing was sent; the server has not refused anything.
 */
export class NotYet extends Error {
  override readonly name = 'NotYet';

  constructor(
    readonly code: 'intents-incomplete' | 'delay-running',
    readonly detail: string,
    /** When it is over, where that is known. */
    readonly from?: Date,
  ) {
    super(detail);
  }
}

/** How something is taken away: a request ends or is spoken against, a grant ends. */
export type End = 'vetoed' | 'denied' | 'cancelled' | 'stopped' | 'revoked';

/**
 * An act that takes something away was sent, and the server did not prove that it is in the log: who sent it must take it that it was
 * not done, and call those who can act on that.
 */
export class NotProven extends Error {
  override readonly name = 'NotProven';

  constructor(
    readonly end: End,
    message: string,
    options: ErrorOptions = {},
  ) {
    super(message, options);
  }
}

/** The server said no: RFC 9457 problem details. `code` is the stable last part of the problem's type. */
export class ServerProblem extends Error {
  override readonly name = 'ServerProblem';

  constructor(
    readonly code: string,
    readonly status: number,
    readonly detail: string,
    /** By which the operator's log knows the request; servers of before say it in a header only. */
    readonly requestId?: string,
  ) {
    super(detail);
  }
}

/** Why no usable answer came. Whether the server acted on the request is unknown, unless it is `tls` or `refused`. */
export type UnreachableReason = 'refused' | 'tls' | 'timeout' | 'broken' | 'not-escrowd';

/** No usable answer came from the server. */
export class ServerUnreachable extends Error {
  override readonly name = 'ServerUnreachable';

  constructor(
    readonly reason: UnreachableReason,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** What is wrong with the files that the caller keeps. */
export type IdentityFault =
  | 'identity-missing'
  | 'identity-malformed'
  | 'identity-exists'
  | 'server-not-pinned'
  | 'server-already-pinned'
  | 'key-missing'
  | 'key-malformed'
  | 'key-exposed'
  | 'key-locked'
  | 'identity-exposed'
  | 'state-busy'
  | 'record-malformed';

/** The identity directory, or a file that is to become part of it, is not as it must be. */
export class IdentityError extends Error {
  override readonly name = 'IdentityError';

  constructor(
    readonly code: IdentityFault,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** A policy document that cannot be one; `problems` says why, each with its place in the document. */
export class PolicyDocumentError extends Error {
  override readonly name = 'PolicyDocumentError';

  constructor(readonly problems: readonly string[]) {
    super(`the policy document is not valid: ${problems.join('; ')}`);
  }
}
