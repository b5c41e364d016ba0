/**
 * Every way in which escrowd says no: one closed set of stable codes. Each is part of the API (the problem type
 * `urn:escrowd:problem:<code>`), and is what the log records for a refusal.
 */
export const ERROR_CODES = {
  // who is calling
  'request-unsigned': 'The request carries no signature.',
  'request-malformed': 'The request is not what the interface describes.',
  'request-target-malformed': 'The request target is not spelt in the one way that is served.',
  'request-too-large': 'The request is larger than the interface allows.',
  'request-signature-invalid': 'The signature of the request does not verify.',
  'request-expired': 'The request is outside its time window.',
  'request-replayed': 'The request has been seen before.',
  'idempotency-key-reused': 'The Idempotency-Key was used for another request.',
  'idempotency-in-progress': 'The request with this Idempotency-Key is still under way.',
  'caller-unknown': 'The signing key or certificate belongs to nobody in the directory.',
  'certificate-expired': 'The client certificate is outside its period of validity.',
  forbidden: 'The caller may not do this.',
  'route-unknown': 'There is no such resource.',
  'method-not-allowed': 'The resource has no such method; Allow names those that it has.',
  'rate-limited': 'The caller asks more often, or for more at once, than is allowed.',
  'deadline-exceeded': 'The answer took too long; what was asked may still be done.',
  // directory and rules
  'policy-invalid': 'The policy document is not valid.',
  'policy-signatures-missing': 'A policy needs the signatures of several different administrators.',
  'unrecoverable-not-accepted':
    'The policy would leave keys without any live quorum, and another number of them was accepted.',
  'policy-stale': 'The policy has changed since this one was signed.',
  'owner-unknown': 'There is no such owner.',
  'rule-missing': 'No rule matches this owner and use.',
  'depositary-unknown': 'The rule names a depositary that the directory does not have.',
  'depositary-not-enrolled':
    'The rule names a depositary that is not enrolled in the token with the key that the directory lists.',
  'depositary-retired': 'The rule names a depositary that has been retired.',
  'quorum-impossible':
    'Too few depositaries are left for any quorum: of the rule that a key is to be made by, or of a key that is asked for.',
  'kek-missing':
    'The token does not hold the key-encryption key that a key lies under: it was destroyed, and nobody brings the key back by this token.',
  'quorum-too-large': 'The rule yields more quorums, or larger ones, than can be kept.',
  // keys
  'key-spec-unsupported': 'The token cannot make and deposit a key of this specification.',
  'key-use-unsupported': 'Keys of this specification cannot be used this way.',
  'secret-release-only': 'A secret can be released only, and the rule that is for it lets it be operated.',
  'key-unknown': 'There is no such key.',
  'owners-differ': 'The keys are not all of one owner: ask for those of each owner apart.',
  'delivery-not-allowed': 'The rule of this key does not allow its owner a copy.',
  'delivery-key-missing': 'The owner has no delivery key registered.',
  // import
  'import-not-allowed': 'No rule allows such a key to be imported.',
  'imports-too-many': 'There are as many import keys as there may be, of the caller or of all.',
  'import-key-gone': 'There is no such import key: it was used, is too old, or is for somebody else.',
  'import-malformed':
    'What was wrapped does not open with the import key to a whole private key of this specification, or to the frame of a secret. The import key is used up.',
  'import-mismatch':
    'The private key that was wrapped is not that of the public key that was given, or the secret not that of the check value. The import key is used up.',
  // recovery
  'recovery-unknown': 'There is no such recovery request.',
  'recovery-ended': 'The recovery request has ended.',
  'recovery-expired': 'The recovery request has expired.',
  'recovery-superseded':
    'A key of the request was sealed anew since it was filed: nothing comes of it any more. File it again.',
  'reseal-open': 'A request to seal this key anew is open already.',
  'policy-changed':
    'Another policy is in force than the one by which the keys were to be sealed anew. File the request again.',
  'recoveries-too-many': 'The caller has as many open recovery requests as they may have.',
  'purpose-not-allowed': 'The rule of this key does not allow this purpose.',
  'scope-not-allowed': 'The scope asked for exceeds what the rule of this key allows.',
  'app-unknown': 'There is no such app.',
  'approval-mismatch': 'The statement is about another request.',
  'approval-signature-invalid': 'The statement is not signed by the caller.',
  'approval-expired': 'The statement has expired.',
  'approval-too-long': 'The statement is to hold longer than the rule of this key allows.',
  'approval-duplicate': 'This depositary has already decided.',
  'drill-signature-invalid': 'The statement about a drill is not signed by the caller.',
  'drill-expired': 'The statement about a drill has expired, or is not of now.',
  'drill-mismatch':
    'The statement about a drill is not about the shares that the caller has of these keys, as they are deposited now.',
  'drill-out-of-turn':
    'The hash that the drill shows is not the next one of its chain: it was shown before, is of another share, or others come first.',
  'stop-signature-invalid':
    'The statement to end the request is not signed by an administrator whom the directory lists.',
  'stop-signatures-missing': 'To end a request takes the statements of several different administrators.',
  'share-malformed': 'The re-encrypted share is not a ciphertext of the transport key.',
  'share-wrong-key': 'The re-encrypted share does not open with the transport key of this request.',
  'share-mismatch': 'What was re-encrypted is not the recovery information of this depositary.',
  'intent-not-needed': 'The rules of these keys take approvals at once: there is nothing to intend first.',
  'intents-incomplete':
    'The rule of a key takes replies after its delay, which begins when a quorum, the caller among it, has said that it intends to approve.',
  'quorum-incomplete': 'Not enough depositaries have approved.',
  'quorum-complete': 'The quorum is complete already.',
  'recovery-failed':
    'What was approved cannot be carried out: the deposit or a reply does not open. The request has ended.',
  'record-mismatch':
    'What the database says is not what was signed and logged. Nothing was done; tell the operator.',
  'release-gone':
    'The request keeps nothing that was released: nothing was, the recipient has confirmed it, or its day is over.',
  'delay-running': 'The delay that the rule imposes is not over.',
  'veto-not-allowed': 'The rule of this key gives its owner no veto.',
  // grants
  'grant-unknown': 'There is no such grant.',
  'key-ambiguous': 'More than one key is called so.',
  'grant-expired': 'The grant has expired.',
  'grant-not-started': 'The time of the grant has not begun.',
  'grant-revoked': 'The grant has been revoked.',
  'grant-exhausted': 'The grant has no uses left.',
  'grant-rate-exceeded': 'The grant does not allow so many uses in so short a time; wait, and try again.',
  'operation-not-granted': 'The grant does not cover this operation, mechanism or input.',
  'mechanism-unsupported': 'The token does not have this mechanism.',
  'ciphertext-invalid': 'The ciphertext does not decrypt with this key.',
  // notifications
  'notice-unknown': 'No such notice was given up by this sink.',
  // the log
  'history-incomplete':
    'What the database has of this history is not all that the log has of it: nothing is signed, and the operators are told.',
  'checkpoint-unwitnessed': 'No checkpoint has as many cosignatures by these witnesses yet.',
  // the system
  busy: 'Another act on the same thing is under way; try again.',
  'token-unavailable': 'The token does not answer.',
  'token-full': 'The token has no room for another key.',
  'token-object-missing': 'The token works, and does not hold what the records say that it holds.',
  'clock-differs':
    'The clocks of the database and of this daemon are apart: nothing begins and nothing ends until they agree.',
  'log-unavailable': 'The log cannot be written.',
  'store-unavailable': 'The database does not answer.',
  'shutting-down': 'The daemon is shutting down.',
  interrupted: 'The daemon stopped in the middle of this act.',
  internal: 'Something went wrong inside.',
} as const satisfies Record<string, string>;

export type ErrorCode = keyof typeof ERROR_CODES;

/**
 * What a caller can act on. `detail` is a sentence that a stranger may read: no SQL, path, handle, PIN or
 * ciphertext. The reason stays inside, in `cause`.
 */
export class EscrowError extends Error {
  override readonly name = 'EscrowError';
  /** After how many milliseconds the same may be granted, where that is known; Infinity: never. */
  readonly retryAfterMs: number | undefined;
  /** Index of the log's entry of it, once the ledger has recorded it by one. For operators. */
  recordedAt: number | undefined;

  constructor(
    readonly code: ErrorCode,
    readonly detail: string = ERROR_CODES[code],
    options?: ErrorOptions & { readonly retryAfterMs?: number },
  ) {
    super(`${code}: ${detail}`, options);
    this.retryAfterMs = options?.retryAfterMs;
  }
}
