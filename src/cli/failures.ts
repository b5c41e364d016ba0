import { types } from 'node:util';

import { AgentFileError } from '../agent/agentFile.js';
import { SocketRefused } from '../agent/listener.js';
import { codeOf } from '../system/errors.js';
import type { End } from '../client/errors.js';
import {
  IdentityError,
  NotBelieved,
  NotProven,
  NotYet,
  PolicyDocumentError,
  ServerProblem,
  ServerUnreachable,
} from '../client/errors.js';
import { KeyFileError } from '../client/import/keyFileError.js';
import { SecretError } from '../client/import/secretFrame.js';
import { type WitnessFaultCode, WitnessFault } from '../witness/errors.js';
import { NoteError } from '../log/note/noteKey.js';
import { TextError } from '../log/entry/plainText.js';
import type { ExitName } from './exitCodes.js';

/** The command as typed cannot be carried out; nothing was sent. `next` says what to type instead. */
export class UsageError extends Error {
  override readonly name = 'UsageError';

  constructor(
    message: string,
    readonly next?: string,
  ) {
    super(message);
  }
}

/** How a failure is told: one sentence, what to do next, a stable code, and the exit. */
export interface Failure {
  readonly exit: ExitName;
  readonly code: string;
  readonly sentence: string;
  readonly next: string | undefined;
}

/** Codes with which the server says that it cannot, rather than that it will not. */
const UNAVAILABLE: ReadonlySet<string> = new Set([
  'token-unavailable',
  'clock-differs',
  'log-unavailable',
  'store-unavailable',
  'shutting-down',
  'busy',
  'interrupted',
  'idempotency-in-progress',
]);

/** What helps, by the server's code; where nothing is said, the sentence says enough. */
const NEXT: Readonly<Record<string, string>> = {
  'request-expired': "compare this machine's clock with the server's",
  'caller-unknown': 'an administrator adds your public.json to the policy document: escrowctl policy --help',
  forbidden: 'see who may: escrowctl key show KEY, escrowctl recovery show ID',
  'policy-signatures-missing': 'let another administrator run: escrowctl plan -f FILE --sign NAME.jws',
  'stop-signatures-missing':
    'let another administrator run: escrowctl recovery stop ID --sign NAME.jws --reason TEXT',
  'policy-stale': 'look at the plan again, and let all sign it again: escrowctl plan -f FILE --sign NAME.jws',
  'unrecoverable-not-accepted':
    'see which keys they are: escrowctl plan -f FILE; then give that number: --accept-unrecoverable N',
  'notice-unknown': 'see what was given up: escrowctl notifications list',
  'policy-invalid': 'correct the file; its form alone is checked by: escrowctl policy check FILE',
  'import-key-gone': 'import the file anew; a wrapped blob: escrowctl key prepare-import --out FILE',
  'import-malformed': 'wrap the key anew: escrowctl key prepare-import --out FILE',
  'import-mismatch': 'give the public key of this very private key, under another import key',
  'imports-too-many': 'use those that there are, or wait until they are too old',
  'import-not-allowed': 'see which rules there are: escrowctl policy show',
  'rule-missing': 'see which rules there are: escrowctl policy show',
  'depositary-not-enrolled': 'the security officer enrols them in the token; see the ceremony',
  'kek-missing': 'see which keys lie under what: escrowctl coverage',
  'quorum-impossible': 'see who can agree still: escrowctl key show KEY',
  'intents-incomplete': 'see who has said so: escrowctl recovery show ID',
  'quorum-incomplete': 'see who is still needed: escrowctl recovery show ID',
  'quorum-complete': 'see what came of it: escrowctl recovery show ID',
  'delay-running': 'see when it is over: escrowctl recovery show ID',
  'recovery-ended':
    'see how it ended: escrowctl recovery show ID; or file a new one: escrowctl recovery request',
  'recovery-expired': 'file a new one: escrowctl recovery request KEY',
  'recovery-superseded': 'file a new one: escrowctl recovery request KEY',
  'reseal-open': 'see the request: escrowctl recovery list --open',
  'policy-changed': 'have it cancelled, and ask again: escrowctl reseal --help',
  'approval-duplicate': 'see where it stands: escrowctl recovery show ID',
  'grant-expired': 'a depositary files a new request: escrowctl recovery request KEY',
  'grant-exhausted': 'a depositary files a new request: escrowctl recovery request KEY',
  'grant-revoked': 'ask the owner, or see: escrowctl grant show GRANT',
  'operation-not-granted': 'see what is granted: escrowctl grant show GRANT',
  'scope-not-allowed': 'see what the rule allows: escrowctl key show KEY',
  'purpose-not-allowed': 'see what the rule allows: escrowctl key show KEY',
};

/** What to do about a server that does not answer, by reason. */
const UNREACHABLE_NEXT = {
  refused: 'see whether the daemon runs, and the address: escrowctl identity show',
  tls: 'the CA file may be of another server: escrowctl identity show',
  timeout: 'it may have been done: look before you repeat it',
  broken: 'it may have been done: look before you repeat it',
  'not-escrowd': 'check the address: escrowctl identity show',
} as const satisfies Record<ServerUnreachable['reason'], string>;

const IDENTITY_NEXT = {
  'identity-missing': 'make one: escrowctl identity new DIR --id ID; or name yours: --as DIR',
  'identity-malformed': undefined,
  'identity-exists': 'choose another directory',
  'server-not-pinned':
    'pin it: escrowctl identity pin DIR --server URL --ca FILE --record FILE --origin NAME',
  'server-already-pinned': 'make another identity for another server: escrowctl identity new DIR --id ID',
  'key-missing': undefined,
  'key-malformed': undefined,
  'key-exposed': undefined,
  'key-locked': 'give it when asked, or: --passphrase-file FILE (ESCROWCTL_PASSPHRASE_FILE)',
  'record-malformed': undefined,
  'identity-exposed': undefined,
  'state-busy': 'see which other escrowctl runs with this identity, and try again',
} as const satisfies Record<IdentityError['code'], string | undefined>;

const WITNESS_NEXT = {
  'witness-exists': 'choose other places: a key and its state stay together for good',
  'witness-key': 'make one: escrowctl witness init --key FILE --state DIR --name NAME',
  'witness-state':
    'do not make a new state for this key: bring the latest one back, or retire the key and make a new witness',
  'witness-in-use': 'one witness, one state: see which process serves from it',
  'witness-log': 'give the log key of the ceremony record: --log VKEY',
} as const satisfies Record<WitnessFaultCode, string>;

const DISBELIEF_NEXT = 'do not go on; tell the security team, and keep what you have been shown';

/** It may be an outage, and it may be a log that honest witnesses refuse: only they can say. */
const WITNESSES_NEXT =
  'ask those who run the witnesses whether they refuse this log, or are away; try again when they cosign';

const CALL_DEPOSITARIES = 'call the depositaries, so that none of them approves';

/** Who hides an act cannot keep people from telling each other. */
const NOT_PROVEN_NEXT: Readonly<Record<End, string>> = {
  vetoed: `${CALL_DEPOSITARIES}; then see what the log has: escrowctl history --act recovery.veto`,
  denied: 'call the other depositaries, so that none of them approves without knowing, and the owner',
  cancelled: CALL_DEPOSITARIES,
  stopped: CALL_DEPOSITARIES,
  revoked:
    'take it that the app can still use the key: call the security team, and have the app itself stopped',
};

export function failureOf(error: unknown): Failure {
  if (error instanceof UsageError) {
    return { exit: 'usage', code: 'usage', sentence: error.message, next: error.next };
  }
  if (error instanceof ServerProblem) return problemFailure(error);
  if (error instanceof ServerUnreachable) {
    const { reason, message } = error;
    return {
      exit: 'unreachable',
      code: `server-${reason}`,
      sentence: message,
      next: UNREACHABLE_NEXT[reason],
    };
  }
  if (error instanceof NotBelieved) {
    const next = error.code === 'witnesses-missing' ? WITNESSES_NEXT : DISBELIEF_NEXT;
    return { exit: 'disbelieved', code: error.code, sentence: error.detail, next };
  }
  if (error instanceof NotProven) return notProven(error);
  if (error instanceof NotYet) {
    const { code, detail } = error;
    return { exit: 'refused', code, sentence: `not yet (${code}): ${detail}`, next: nextFor(code) };
  }
  if (error instanceof IdentityError) {
    const { code, message } = error;
    return { exit: 'usage', code, sentence: message, next: IDENTITY_NEXT[code] };
  }
  if (error instanceof WitnessFault) {
    const { code, message } = error;
    return { exit: 'usage', code, sentence: message, next: WITNESS_NEXT[code] };
  }
  if (error instanceof SecretError) {
    return { exit: 'usage', code: error.code, sentence: error.message, next: undefined };
  }
  if (error instanceof AgentFileError) {
    return { exit: 'usage', code: 'agent-file', sentence: error.message, next: 'see docs/agent.md' };
  }
  if (error instanceof SocketRefused) {
    return { exit: 'usage', code: 'agent-socket', sentence: error.message, next: undefined };
  }
  if (error instanceof KeyFileError) {
    return { exit: 'usage', code: error.code, sentence: error.detail, next: error.mendedBy };
  }
  if (error instanceof TextError) {
    return {
      exit: 'usage',
      code: error.code,
      sentence: error.message,
      next: 'for instance: iconv -f latin1 -t utf-8 FILE | uconv -x nfc',
    };
  }
  if (error instanceof PolicyDocumentError) {
    return { exit: 'usage', code: 'policy-invalid', sentence: error.message, next: undefined };
  }
  if (error instanceof NoteError) {
    return {
      exit: 'usage',
      code: 'log-key',
      sentence: `the key of the log or of a witness cannot be used: ${error.message}`,
      next: undefined,
    };
  }
  return fileFailure(error) ?? unexpected(error);
}

/** A refusal may be what it seems: what helps then is said as well. */
function notProven({ end, message, cause }: NotProven): Failure {
  const more = cause instanceof ServerProblem ? nextFor(cause.code) : undefined;
  const next = NOT_PROVEN_NEXT[end] + (more === undefined ? '' : `; if it is as the server says: ${more}`);
  return { exit: 'notProven', code: `not-${end}`, sentence: `not ${end}: ${message}`, next };
}

/** The code is the server's word, and may be any. */
function nextFor(code: string): string | undefined {
  return Object.hasOwn(NEXT, code) ? NEXT[code] : undefined;
}

function problemFailure({ code, status, detail, requestId }: ServerProblem): Failure {
  if (UNAVAILABLE.has(code)) {
    const sentence = `the server cannot do it now (${code}): ${detail}`;
    return { exit: 'unavailable', code, sentence, next: 'try again later; see: escrowctl status' };
  }
  if (status >= 500) {
    const sentence = `the server failed (${code}): ${detail}`;
    const named = requestId === undefined ? '' : `; the operators find it by ${requestId}`;
    const next = `it may have been done: look before you repeat it${named}`;
    return { exit: 'unexpected', code, sentence, next };
  }
  const exit = code === 'unrecoverable-not-accepted' ? 'unrecoverable' : 'refused';
  return { exit, code, sentence: `refused (${code}): ${detail}`, next: nextFor(code) };
}

/** Files that the caller named. */
function fileFailure(error: unknown): Failure | undefined {
  const code = codeOf(error);
  if (code === undefined || !types.isNativeError(error) || !('syscall' in error) || !('path' in error)) {
    return undefined;
  }
  const path = String(error.path);
  const why = FILE_REASONS[code] ?? code;
  return { exit: 'usage', code: 'file', sentence: `${path}: ${why}`, next: undefined };
}

const FILE_REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or directory',
  EEXIST: 'it exists already, and is not overwritten',
  EACCES: 'no permission',
  EISDIR: 'it is a directory',
  ENOTDIR: 'a part of the path is not a directory',
  ENOSPC: 'the disk is full',
};

function unexpected(error: unknown): Failure {
  const message = types.isNativeError(error) ? error.message : String(error);
  return { exit: 'unexpected', code: 'unexpected', sentence: `unexpected: ${message}`, next: undefined };
}
