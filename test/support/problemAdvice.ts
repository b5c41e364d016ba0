import type { ErrorCode } from '../../src/escrow/records/errors.js';

const SIGN_AGAIN = 'Sign the request anew, exactly as it is sent, and send it once.';
const ASK_SECURITY = 'Ask the security team: directory, rules or enrolments are to be changed.';
const LOOK_AGAIN = 'Read the request again; what it says now decides what can be done.';
const LATER = 'Try again after Retry-After.';
const LATER_AND_LOOK = 'Try again after Retry-After; look first whether what was to be made is there.';
const GIVE_UP = 'Do not try again with this grant; another needs another recovery request.';

/** What a caller can do about each problem. docs/errors.md shows it. */
export const ADVICE = {
  'request-unsigned': 'Send one Authorization field with the scheme Escrowd-JWS; see docs/api.md.',
  'request-malformed': 'Correct the request; `detail` says what is wrong and where.',
  'request-target-malformed':
    'Ask for the path as openapi.json has it: no scheme and host, no percent signs in the path, no fragment.',
  'request-too-large': 'Send less at once.',
  'request-signature-invalid': SIGN_AGAIN,
  'request-expired': `Set the clock. ${SIGN_AGAIN}`,
  'request-replayed': SIGN_AGAIN,
  'idempotency-key-reused': 'Take a new key for another request; send this one again exactly as it was.',
  'idempotency-in-progress':
    'Send the same request, signed anew, with the same key after Retry-After: what was made is the answer then.',
  'caller-unknown': 'Sign with a key, or connect with a certificate, that the directory in force has.',
  'certificate-expired': 'Have a certificate that is valid bound to the app.',
  forbidden: 'Ask somebody whose role or part in the matter allows it.',
  'route-unknown': 'Look the route up in openapi.json.',
  'method-not-allowed': 'Take a method that Allow names.',
  'rate-limited': LATER,
  'deadline-exceeded': `It may still be done, or have been done: look before doing it again. ${LATER_AND_LOOK}`,
  'policy-invalid': 'Correct the document; `detail` says where.',
  'policy-signatures-missing': 'Have as many different administrators as are needed sign this very plan.',
  'unrecoverable-not-accepted':
    'Look at which keys they are (POST /v1/policy/plan); then change the document, or send that number as `acceptUnrecoverable`.',
  'policy-stale': 'Sign again on top of the policy in force.',
  'owner-unknown': ASK_SECURITY,
  'rule-missing': ASK_SECURITY,
  'depositary-unknown': ASK_SECURITY,
  'depositary-not-enrolled': ASK_SECURITY,
  'depositary-retired': ASK_SECURITY,
  'quorum-impossible': ASK_SECURITY,
  'kek-missing':
    'Tell the security team: only a token, or a backup of one, that still holds this key-encryption key brings the key back.',
  'quorum-too-large': ASK_SECURITY,
  'key-spec-unsupported': 'Order a specification that GET /v1/server lists.',
  'key-use-unsupported': 'Order a specification that can be used this way.',
  'secret-release-only': ASK_SECURITY,
  'key-unknown': 'Check the id.',
  'owners-differ': 'File one request for the keys of each owner.',
  'delivery-not-allowed': 'Order without a copy.',
  'delivery-key-missing': ASK_SECURITY,
  'import-not-allowed': 'Ask the administrators for a rule with `import: true`, or have the key generated.',
  'imports-too-many': 'Use the import keys that there are, or wait until they are too old.',
  'import-key-gone': 'Ask for another import key, and wrap the private key to that one.',
  'import-malformed':
    'Check the file with `escrowctl key import --check`, ask for another import key, and wrap it anew.',
  'import-mismatch': 'Give the public key of this private key, under another import key.',
  'recovery-unknown': 'Check the id.',
  'recovery-ended': 'File another recovery request, if it is still needed.',
  'recovery-expired': 'File another recovery request, if it is still needed.',
  'recoveries-too-many': 'Cancel requests that are not needed any more, or wait until some have ended.',
  'purpose-not-allowed': 'Ask for the other purpose, where the rule allows that.',
  'scope-not-allowed': 'Ask for less; `detail` says what the rule allows.',
  'app-unknown': 'Name an app of the directory.',
  'approval-mismatch': 'Read the request again, and sign what it says now.',
  'approval-signature-invalid': 'Sign the statement with the key that the directory has for the caller.',
  'approval-expired': 'Sign the statement anew.',
  'approval-too-long': 'Sign a statement that ends sooner; `approvalsHold` says how long it may count.',
  'approval-duplicate': 'Nothing: the decision stands.',
  'drill-signature-invalid': 'Sign the statement with the key that the directory has for the caller.',
  'drill-expired': 'Drill again, and sign what is found then; check the clock.',
  'drill-mismatch': 'Read GET /v1/drills again, and drill the shares that it shows now.',
  'drill-out-of-turn':
    'Read GET /v1/drills again: `shown` says how many hashes of the chain stand in the log. When all do, have the key sealed anew.',
  'stop-signature-invalid': 'Have an administrator of the policy in force sign the statement.',
  'stop-signatures-missing':
    'Have as many different administrators as are needed sign such a statement about this very request.',
  'share-malformed': 'Read the request again, and re-encrypt the share to its transport key.',
  'share-wrong-key': 'Read the request again, and re-encrypt the share to its transport key.',
  'share-mismatch': 'Re-encrypt what the share of this depositary opens to, and nothing else.',
  'intent-not-needed': 'Send an approval.',
  'intents-incomplete':
    'Send an intent, if there is none of the caller yet; then wait for those of the others.',
  'quorum-incomplete': 'Wait until enough depositaries have approved.',
  'quorum-complete': LOOK_AGAIN,
  'recovery-superseded': 'File the request again: the key is sealed to other people now.',
  'reseal-open': 'Have the open request decided, or have it cancelled first.',
  'policy-changed': 'File the request again, by the policy that is in force.',
  'recovery-failed':
    'Tell the operator: the deposit or a reply is damaged. Another request may help, if it was a reply.',
  'record-mismatch':
    'Do not try again. Somebody has changed the database, or it is damaged: have the operator look, and verify the log.',
  'release-gone': 'Look for the file that the keys were written to; if it is lost, file a new request.',
  'delay-running': 'Wait until `releasableAt`; with an approval, where there is `repliesFrom`, until then.',
  'veto-not-allowed': 'Ask the requester to cancel, or the depositaries to deny.',
  'grant-unknown': 'Check the id; by a key, ask for a grant (POST /v1/recoveries).',
  'key-ambiguous': 'Name the key by its id.',
  'notice-unknown': 'Look at GET /v1/notifications/given-up: it may have been delivered since.',
  'grant-expired': GIVE_UP,
  'grant-not-started': 'Wait until `startsAt`.',
  'grant-revoked': GIVE_UP,
  'grant-exhausted': GIVE_UP,
  'grant-rate-exceeded':
    'Try again after Retry-After, with no more inputs at once than the scope allows in its time; without one, it allows never so many.',
  'operation-not-granted': 'Use the key as the scope of the grant says.',
  'mechanism-unsupported': 'Take a mechanism that GET /v1/server lists.',
  'ciphertext-invalid':
    'Nothing: this was not encrypted to this key, or was changed on its way. The use is counted.',
  'history-incomplete':
    'Tell the operator and an auditor: the database hides or has changed entries; an export of the log has them all.',
  'checkpoint-unwitnessed':
    'Ask again in a second or so; the witnesses follow the log. Ask for fewer, or for the newest without them.',
  busy: LATER_AND_LOOK,
  'token-unavailable': LATER_AND_LOOK,
  'token-full':
    'Wait until grants have ended, or have some revoked that nobody needs; the operator may know whether the token can hold more.',
  'token-object-missing':
    'Tell the operator: what was approved has to be asked for again, unless the object comes back with a copy of the token.',
  'clock-differs': LATER,
  'log-unavailable': LATER_AND_LOOK,
  'store-unavailable': LATER_AND_LOOK,
  'shutting-down': LATER_AND_LOOK,
  interrupted: 'Look whether it was done before doing it again.',
  internal: 'Tell the operator, with the X-Request-Id of the answer.',
} as const satisfies Record<ErrorCode, string>;
