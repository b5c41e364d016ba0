import { type ErrorCode, ERROR_CODES, EscrowError } from '../escrow/records/errors.js';
import type { Problem } from '../api/replies.js';
import { SCHEME } from './caller/signed.js';

/**
 * HTTP statuses (RFC 9110 section 15) of everything that escrowd refuses: 401 who are you, 403 not you, 404 no such
 * thing, 405 not so, 409 not now, 422 not so, 429 not so often, 503 not at the moment.
 */
export const STATUS = {
  'request-unsigned': 401,
  'request-malformed': 400,
  'request-target-malformed': 400,
  'request-too-large': 413,
  'request-signature-invalid': 401,
  'request-expired': 401,
  'request-replayed': 401,
  'idempotency-key-reused': 422,
  'idempotency-in-progress': 409,
  'caller-unknown': 401,
  'certificate-expired': 401,
  forbidden: 403,
  'route-unknown': 404,
  'method-not-allowed': 405,
  'rate-limited': 429,
  'deadline-exceeded': 503,
  'policy-invalid': 422,
  'policy-signatures-missing': 422,
  'unrecoverable-not-accepted': 422,
  'policy-stale': 409,
  'owner-unknown': 422,
  'rule-missing': 422,
  'depositary-unknown': 422,
  'depositary-not-enrolled': 422,
  'depositary-retired': 422,
  'quorum-impossible': 422,
  'kek-missing': 422,
  'quorum-too-large': 422,
  'key-spec-unsupported': 422,
  'key-use-unsupported': 422,
  'secret-release-only': 422,
  'key-unknown': 404,
  'owners-differ': 422,
  'delivery-not-allowed': 403,
  'delivery-key-missing': 422,
  'import-not-allowed': 403,
  'imports-too-many': 409,
  'import-key-gone': 409,
  'import-malformed': 422,
  'import-mismatch': 422,
  'recovery-unknown': 404,
  'recovery-ended': 409,
  'recovery-expired': 409,
  'recoveries-too-many': 409,
  'purpose-not-allowed': 403,
  'scope-not-allowed': 403,
  'app-unknown': 422,
  'approval-mismatch': 422,
  'approval-signature-invalid': 422,
  'approval-expired': 422,
  'approval-too-long': 422,
  'approval-duplicate': 409,
  'drill-signature-invalid': 422,
  'drill-expired': 422,
  'drill-mismatch': 422,
  'drill-out-of-turn': 409,
  'stop-signature-invalid': 422,
  'stop-signatures-missing': 422,
  'share-malformed': 422,
  'share-wrong-key': 422,
  'share-mismatch': 422,
  'quorum-incomplete': 409,
  'quorum-complete': 409,
  'recovery-superseded': 409,
  'reseal-open': 409,
  'policy-changed': 409,
  'recovery-failed': 500,
  'record-mismatch': 500,
  'release-gone': 409,
  'intent-not-needed': 409,
  'intents-incomplete': 409,
  'delay-running': 409,
  'veto-not-allowed': 403,
  'grant-unknown': 404,
  'key-ambiguous': 409,
  'notice-unknown': 404,
  'grant-expired': 403,
  'grant-not-started': 403,
  'grant-revoked': 403,
  'grant-exhausted': 403,
  'grant-rate-exceeded': 429,
  'operation-not-granted': 403,
  'mechanism-unsupported': 422,
  'ciphertext-invalid': 422,
  'history-incomplete': 500,
  'checkpoint-unwitnessed': 404,
  busy: 503,
  'token-unavailable': 503,
  'token-full': 409,
  'token-object-missing': 500,
  'clock-differs': 503,
  'log-unavailable': 503,
  'store-unavailable': 503,
  'shutting-down': 503,
  interrupted: 500,
  internal: 500,
} as const satisfies Record<ErrorCode, number>;

/** After how many seconds another try may succeed (Retry-After, RFC 9110 section 10.2.3), where nothing better is known. */
export const RETRY_AFTER_SECONDS: Partial<Readonly<Record<ErrorCode, number>>> = {
  'rate-limited': 1,
  'idempotency-in-progress': 1,
  'deadline-exceeded': 5,
  'checkpoint-unwitnessed': 1,
  'grant-rate-exceeded': 1,
  busy: 1,
  'token-unavailable': 5,
  'log-unavailable': 5,
  'store-unavailable': 5,
  'shutting-down': 5,
};

/** An error as it goes over the wire. */
export interface ProblemReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Problem;
}

/**
 * What the caller is told (RFC 9457). Whatever is not an EscrowError is `internal`, and nothing of it is told.
 *
 * @param requestId the UUID that the operator's log knows the request by
 */
export function problemOf(error: unknown, requestId: string): ProblemReply {
  const code = codeOf(error);
  const status = STATUS[code];
  const retryAfter = retryAfterSeconds(error);
  return {
    status,
    headers: {
      ...(status === 401 ? { 'WWW-Authenticate': SCHEME } : {}),
      ...(retryAfter === undefined ? {} : { 'Retry-After': String(retryAfter) }),
    },
    body: {
      type: `urn:escrowd:problem:${code}`,
      title: ERROR_CODES[code],
      status,
      detail: error instanceof EscrowError && status < 500 ? error.detail : ERROR_CODES[code],
      instance: `urn:uuid:${requestId}`,
    },
  };
}

/** Whether something is broken, which the operator should hear about. */
export function isFault(error: unknown): boolean {
  const code = codeOf(error);
  return STATUS[code] >= 500 && code !== 'busy' && code !== 'shutting-down';
}

/** The code that a caller is told: whatever is not an EscrowError is `internal`. */
export function codeOf(error: unknown): ErrorCode {
  return error instanceof EscrowError ? error.code : 'internal';
}

function retryAfterSeconds(error: unknown): number | undefined {
  const ms = error instanceof EscrowError ? error.retryAfterMs : undefined;
  if (ms === undefined) return RETRY_AFTER_SECONDS[codeOf(error)];
  return Number.isFinite(ms) ? Math.ceil(ms / 1000) : undefined;
}
