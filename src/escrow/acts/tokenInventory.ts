import { checkLoggedGrant } from '../rules/checkedGrant.js';
import type { Escrow } from '../escrow.js';
import { EscrowError } from '../records/errors.js';
import type { GrantFacts } from '../logged/logFacts.js';
import { type GrantId, idsOf } from '../records/ids.js';
import { KEY_SPEC_NAMES, OPERATIONS } from '../records/keySpecs.js';
import { MECHANISM_NAMES } from '../records/mechanisms.js';
import type { RaisedGrant, RecordedObjects, Token, UnaccountedObject } from '../ports/token.js';

/**
 * The objects of the token that nothing accounts for: not the ceremony, no request that is open, no grant that runs, and no act
 * that makes one now and has said so in the log. What ends while it is looked for may be among them. Nothing is destroyed.
 * Throws, and this daemon stops, when the token is used on another copy of these records.
 */
export async function unaccountedObjects({
  escrow,
  token,
}: {
  readonly escrow: Pick<Escrow, 'store' | 'ledger' | 'followed'>;
  readonly token: Pick<Token, 'unaccounted'>;
}): Promise<readonly UnaccountedObject[]> {
  const found = await token.unaccounted(() => recordedObjects(escrow));
  if (found.length > 0) await escrow.ledger.requireOwnToken();
  return found;
}

/** What the log accounts for, as it was followed to its head: the list of the token was made before. */
async function recordedObjects(escrow: Pick<Escrow, 'store' | 'followed'>): Promise<RecordedObjects> {
  const { followed } = escrow;
  await followed.caughtUp();
  const { facts } = followed;
  const attempts = facts.openAttempts();
  const asked = [...facts.openRequestIds(), ...attempts.map(({ subject }) => subject.recovery ?? '')];
  const making = attempts.flatMap(({ subject, grants }) => [...grants, subject.grant ?? '']);
  const transports = new Set(idsOf('RecoveryId', asked));
  const pairs = [...facts.importPairIds(), ...attempts.map(({ importPair }) => importPair ?? '')];
  const imports = new Set(idsOf('ImportId', pairs));
  const grants = new Map<GrantId, RaisedGrant | undefined>();
  for (const id of idsOf('GrantId', making)) grants.set(id, undefined);
  const running = idsOf('GrantId', facts.runningGrantIds());
  for (const id of running) grants.set(id, raisedAs(facts.grant(id)) ?? (await recordedAs(escrow, id)));
  return { transports, grants, imports };
}

/** How a grant was raised, where the log says what its key is: for each that runs nothing is asked of the database. */
function raisedAs(facts: GrantFacts | undefined): RaisedGrant | undefined {
  const spec = KEY_SPEC_NAMES.find((name) => name === facts?.spec);
  if (facts === undefined || spec === undefined) return undefined;
  const { scope } = facts;
  const uses = scope.operations.flatMap((one) => OPERATIONS.find((use) => use === one) ?? []);
  // in their order, in which the token was given them
  const mechanisms = scope.mechanisms.flatMap((one) => MECHANISM_NAMES.find((name) => name === one) ?? []);
  const isKnown = uses.length === scope.operations.length && mechanisms.length === scope.mechanisms.length;
  return isKnown ? { spec, uses, mechanisms } : undefined;
}

/** The same by its record, where that says what the log says; by its name alone where it does not. */
async function recordedAs(
  escrow: Pick<Escrow, 'store' | 'followed'>,
  id: GrantId,
): Promise<RaisedGrant | undefined> {
  try {
    const grant = await escrow.store.findGrant(id);
    if (grant === undefined) return undefined;
    await checkLoggedGrant(escrow, grant);
    return { spec: grant.spec, uses: grant.scope.operations, mechanisms: grant.scope.mechanisms };
  } catch (error) {
    if (error instanceof EscrowError && error.code === 'record-mismatch') return undefined;
    throw error;
  }
}
