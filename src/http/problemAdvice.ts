import type { ErrorCode } from '../escrow/errors.js';

const SIGN_AGAIN = 'Sign the request anew, exactly as it is sent, and send it once.';
const ASK_SECURITY = 'Ask the security team: directory, rules or enrolments are to be changed.';
const LOOK_AGAIN = 'Read the request again; what it says now decides what can be done.';
const LATER = 'Try again after Retry-After.';
const LATER_WITH_KEY =
  'Try again after Retry-After; a creation with the same Idempotency-Key, so that it is not done twice.';
const GIVE_UP = 'Do not try again with this grant; another needs another recovery request.';

/** What a caller can do about each problem. docs/errors.md shows it. */
export const ADVICE = {
  'request-unsigned': 'Send one Authorization field with the scheme Escrowd-JWS; see docs/api.md.',
  'request-malformed': 'Correct the request; `detail` says what is wrong and where.',
  'request-too-large': 'Send less at once.',
  'request-signature-invalid': SIGN_AGAIN,
  'request-expired': `Set the clock. ${SIGN_AGAIN}`,
  'request-replayed': SIGN_AGAIN,
  'caller-unknown': 'Sign with a key that the directory in force has.',
  forbidden: 'Ask somebody whose role or part in the matter allows it.',
  'route-unknown': 'Look the route up in openapi.json.',
  'rate-limited': LATER,
  'idempotency-key-reused': 'Take a new Idempotency-Key for what is another creation.',
  'idempotency-in-progress':
    'Try again after Retry-After with the same Idempotency-Key: the answer is that of the first.',
  'deadline-exceeded': `It may still be done, or have been done: look before doing it again. ${LATER_WITH_KEY}`,
  'policy-invalid': 'Correct the document; `detail` says where.',
  'policy-signatures-missing': 'Have two different administrators sign this very document.',
  'policy-stale': 'Sign again on top of the policy in force.',
  'owner-unknown': ASK_SECURITY,
  'rule-missing': ASK_SECURITY,
  'depositary-unknown': ASK_SECURITY,
  'depositary-not-enrolled': ASK_SECURITY,
  'depositary-retired': ASK_SECURITY,
  'quorum-impossible': ASK_SECURITY,
  'quorum-too-large': ASK_SECURITY,
  'key-spec-unsupported': 'Order a specification that GET /v1/server lists.',
  'key-use-unsupported': 'Order a specification that can be used this way.',
  'key-unknown': 'Check the id.',
  'delivery-not-allowed': 'Order without a copy.',
  'delivery-key-missing': ASK_SECURITY,
  'recovery-unknown': 'Check the id.',
  'recovery-ended': 'File another recovery request, if it is still needed.',
  'recovery-expired': 'File another recovery request, if it is still needed.',
  'purpose-not-allowed': 'Ask for the other purpose, where the rule allows that.',
  'scope-not-allowed': 'Ask for less; `detail` says what the rule allows.',
  'app-unknown': 'Name an app of the directory.',
  'approval-mismatch': 'Read the request again, and sign what it says now.',
  'approval-signature-invalid': 'Sign the statement with the key that the directory has for the caller.',
  'approval-expired': 'Sign the statement anew.',
  'approval-duplicate': 'Nothing: the decision stands.',
  'share-malformed': 'Read the request again, and re-encrypt the share to its transport key.',
  'share-wrong-key': 'Read the request again, and re-encrypt the share to its transport key.',
  'share-mismatch': 'Re-encrypt what the share of this depositary opens to, and nothing else.',
  'quorum-incomplete': 'Wait until enough depositaries have approved.',
  'quorum-complete': LOOK_AGAIN,
  'delay-running': 'Wait until `releasableAt`.',
  'veto-not-allowed': 'Ask the requester to cancel, or the depositaries to deny.',
  'grant-unknown': 'Check the id.',
  'grant-expired': GIVE_UP,
  'grant-revoked': GIVE_UP,
  'grant-exhausted': GIVE_UP,
  'operation-not-granted': 'Use the key as the scope of the grant says.',
  'mechanism-unsupported': 'Take a mechanism that GET /v1/server lists.',
  'ciphertext-invalid':
    'Nothing: this was not encrypted to this key, or was changed on its way. The use is counted.',
  busy: LATER_WITH_KEY,
  'token-unavailable': LATER_WITH_KEY,
  'log-unavailable': LATER_WITH_KEY,
  'store-unavailable': LATER_WITH_KEY,
  'shutting-down': LATER_WITH_KEY,
  interrupted: 'Look whether it was done before doing it again.',
  internal: 'Tell the operator, with the X-Request-Id of the answer.',
} as const satisfies Record<ErrorCode, string>;
