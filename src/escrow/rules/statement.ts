import { isForLog } from '../../log/note/audience.js';
import { encodeBase64 } from '../../log/note/base64.js';
import { type Json, canonicalJson } from '../../log/entry/canonical.js';
import { isPlainText } from '../../log/entry/plainText.js';
import { askedAsJson, repliesDigest, sha256Hex } from '../records/digests.js';
import { EscrowError } from '../records/errors.js';
import { isBlank, isPlain } from '../records/freeText.js';
import type { StatementVerifier } from '../ports/statements.js';
import type { Clock } from '../ports/clock.js';
import type { LogReader } from '../ports/log.js';
import type { Principal } from '../records/principals.js';
import type { Recovery, Reply } from '../records/recovery.js';
import { STATEMENT_TYPE, INTENT_TYPE } from '../records/statementTypes.js';

/** How far a statement's clock may run ahead of ours. */
export const CLOCK_SKEW_SECONDS = 60;

export interface StatementCheck {
  readonly statements: Pick<StatementVerifier, 'verify'>;
  readonly clock: Clock;
  /** The log's verifier key, which statements are for. */
  readonly logKey: string;
}

/** What a statement says beside what it must say. */
export interface Said {
  /** From then on it counts no more. */
  readonly expiresAt: Date;
  /** Of a denial; empty for the others. */
  readonly reason: string;
  /** The tree of the log that the depositary has seen; see {@link requireOwnTree}. */
  readonly tree: StatedTree;
}

/** A tree as a statement names it: its root in base64, of any length up to 64. */
export interface StatedTree {
  readonly size: number;
  readonly root: string;
}

/**
 * Checks that `jws` is this depositary's own statement about exactly this request, and still holds.
 *
 * @throws EscrowError `approval-signature-invalid`, `approval-mismatch`, `approval-expired`, `approval-too-long`.
 */
export async function checkStatement(
  check: StatementCheck,
  depositary: Principal,
  recovery: Recovery,
  jws: string,
  decision: { readonly approve: readonly Reply[] } | 'intend' | 'deny',
): Promise<Said> {
  const type = decision === 'intend' ? INTENT_TYPE : STATEMENT_TYPE;
  const verified = await check.statements.verify(jws, type, depositary.keys);
  if (verified === undefined) throw new EscrowError('approval-signature-invalid');
  const { aud, iat, exp, reason, checkpoint, ...about } = verified.payload;
  const expected: Readonly<Record<string, Json>> = {
    iss: depositary.id,
    recovery: recovery.id,
    requestHash: recovery.requestHash,
    keys: recovery.keys,
    ...askedAsJson(recovery.asked),
    transport: sha256Hex(recovery.transportKey),
    ...(typeof decision === 'string'
      ? { decision }
      : { decision: 'approve', replies: repliesDigest(decision.approve) }),
  };
  if (!isForLog(aud, check.logKey) || !isStatement(about, expected) || !isStatedTree(checkpoint)) {
    throw new EscrowError('approval-mismatch');
  }
  if (typeof iat !== 'number' || typeof exp !== 'number') throw new EscrowError('approval-mismatch');
  const now = check.clock.now().getTime() / 1000;
  if (now >= exp || iat > now + CLOCK_SKEW_SECONDS) throw new EscrowError('approval-expired');
  const expiresAt = new Date(Math.floor(exp * 1000));
  if (decision !== 'deny') {
    // `iat` is at most the skew ahead of our clock, so this bounds how long it counts from now on as well
    if ((exp - iat) * 1000 > recovery.approvalsHoldMs) throw new EscrowError('approval-too-long');
    return { expiresAt, reason: '', tree: checkpoint };
  }
  const isText = typeof reason === 'string' && reason.length <= 1000 && isPlainText(reason);
  if (!isText || isBlank(reason) || !isPlain(reason)) {
    throw new EscrowError(
      'approval-mismatch',
      'A denial gives a reason of at most 1,000 characters, in Unicode NFC, all of which are seen.',
    );
  }
  return { expiresAt, reason, tree: checkpoint };
}

/**
 * Checks that the tree which a depositary has seen, and names in their statement, is one that this log went through.
 *
 * @throws EscrowError `approval-mismatch`
 */
export async function requireOwnTree(
  log: Pick<LogReader, 'rootAt'>,
  { size, root }: StatedTree,
): Promise<void> {
  const own = await log.rootAt(size);
  if (own !== undefined && encodeBase64(own) === root) return;
  throw new EscrowError('approval-mismatch', 'The statement names a tree that this log does not have.');
}

/** Whether what a statement says is exactly this. */
export function isStatement(
  found: Readonly<Record<string, unknown>>,
  expected: Readonly<Record<string, Json>>,
): boolean {
  try {
    return canonicalJson(found) === canonicalJson(expected);
  } catch {
    return false; // not even canonical JSON: certainly not what was expected
  }
}

/** Whether this is a tree as statements name it. */
export function isStatedTree(value: unknown): value is StatedTree {
  if (typeof value !== 'object' || value === null) return false;
  const { size, root, ...rest } = value as Readonly<Record<string, unknown>>;
  return (
    Number.isSafeInteger(size) &&
    Number(size) > 0 &&
    typeof root === 'string' &&
    root.length <= 64 &&
    Object.keys(rest).length === 0
  );
}
