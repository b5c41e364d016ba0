import type { Call, Escrow } from '../escrow.js';
import { EscrowError } from '../records/errors.js';
import type { Claim } from '../ports/journal.js';
import { NotHeld } from '../ports/journal.js';
import type { Subject } from '../../log/entry/entry.js';
import type { Recorded } from '../ledger/act.js';
import { IDEMPOTENCY_KEY_KEPT_MS } from '../records/creation.js';

/**
 * The answer that was given, or was to be given, for the caller's key: when it stands for an act that is done and asked the
 * same. Undefined when the act is to be performed: there is no key, it is new or forgotten, or what it was used for was
 * refused or failed, and made nothing. The request is used up like one that only reads.
 *
 * @param again reads what was made
 * @throws NotHeld `policy-in-force` when the caller is known by another policy; EscrowError `idempotency-key-reused`,
 *   `idempotency-in-progress`, `request-replayed`, and what `again` throws
 */
export async function repeatOf<R>(
  escrow: Escrow,
  { caller, policy, request, idempotency }: Call,
  again: (about: Subject) => Promise<R>,
): Promise<Recorded<R> | undefined> {
  if (idempotency === undefined) return undefined;
  const { key, fingerprint } = idempotency;
  const found = await escrow.store.findCreation({ principal: caller.id, key }, escrow.clock.now());
  if (found === undefined) return undefined;
  // nothing is appended that would claim it
  if ((await escrow.directory.current()).version !== policy.version) throw new NotHeld('policy-in-force');
  if (found.fingerprint !== fingerprint) throw new EscrowError('idempotency-key-reused');
  if (found.status === 'open') throw new EscrowError('idempotency-in-progress');
  await checkCreation(escrow, caller.id, key, found.about);
  const answer = await again(found.about);
  const { kid, jti, expiresAt } = request;
  if (!(await escrow.store.seeOnce({ kid, jti, expiresAt }))) throw new EscrowError('request-replayed');
  return { answer, index: found.index };
}

/** Checks that what the record says a key stands for is what the log says. */
async function checkCreation(
  { followed }: Escrow,
  principal: string,
  key: string,
  about: Subject,
): Promise<void> {
  await followed.caughtUp();
  const fact = followed.facts.creation(principal, key);
  const isSame =
    fact?.isDone === true && fact.about.key === about.key && fact.about.recovery === about.recovery;
  if (!isSame)
    throw new EscrowError('record-mismatch', 'The log says something else of the Idempotency-Key.');
}

/** What a creation claims for the caller's key, if there is one: looked at before, and held in the attempt's transaction. */
export function keyFree({ clock }: Pick<Escrow, 'clock'>, { caller, idempotency }: Call): readonly Claim[] {
  if (idempotency === undefined) return [];
  const at = clock.now();
  const expiresAt = new Date(at.getTime() + IDEMPOTENCY_KEY_KEPT_MS);
  return [{ claim: 'idempotency-key-free', principal: caller.id, ...idempotency, at, expiresAt }];
}
