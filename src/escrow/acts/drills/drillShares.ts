import type { Call, Escrow } from '../../escrow.js';
import { actorOf } from '../../escrow.js';
import { type LoggedDeposit, loggedDeposits } from '../../checks/loggedDeposit.js';
import type { Recorded } from '../../ledger/act.js';
import type { AsOf } from '../../logged/logFacts.js';
import { isAsDeposited } from '../../lookUp.js';
import type { TokenVerbs } from '../../ports/token.js';
import type { Deposit, ServerForVersion, Share } from '../../records/deposit.js';
import { canonicalHash, sha256Hex } from '../../records/digests.js';
import {
  type Drill,
  type DrillOutcome,
  type DrillResult,
  DRILLS,
  drillsInShort,
  isBefore,
} from '../../records/drills/drilling.js';
import { EscrowError } from '../../records/errors.js';
import type { KeyId, PrincipalId } from '../../records/ids.js';
import { type Purpose, PURPOSES } from '../../records/policy.js';
import { checkDrillStatement } from '../../rules/drillStatement.js';
import { requireOwnTree } from '../../rules/statement.js';

/** What came of one share. */
export interface DrilledShare extends DrillOutcome {
  readonly key: KeyId;
  readonly purpose: Purpose;
  readonly result: DrillResult;
}

/** A share that is drilled, and what the daemon knows of it. */
interface HeldShare {
  readonly drill: Drill;
  /** Undefined: the database has something else of the deposit than was made. */
  readonly share: Share | undefined;
}

/**
 * A depositary says what came of opening their shares of keys of one owner; nothing that opens anything is said. Where a share and its
 * link have opened, the next hash of its chain shows that, if the deposit has one. The daemon checks the rest: the digest of each deposit, and that
 * what is wrapped to the server regarding this depositary comes back. What does not open is recorded as what does, with the reason.
 *
 * @throws EscrowError `key-unknown`, `owners-differ`, `forbidden` of shares that the caller does not have, `request-malformed`,
 *   `drill-signature-invalid`, `drill-mismatch`, `drill-expired`, `drill-out-of-turn`; `record-mismatch` when the log was changed
 */
export function drillShares(
  escrow: Escrow,
  call: Call,
  order: { readonly statement: string; readonly drills: readonly Drill[] },
): Promise<Recorded<readonly DrilledShare[]>> {
  const { drills, statement } = order;
  return escrow.ledger.perform({
    act: 'key.drill',
    actor: actorOf(call),
    decide: async (about) => {
      requireOrder(drills);
      const keys = [...new Set(drills.map(({ key }) => key))];
      about({ keys });
      const deposits = await loggedDeposits(escrow, keys);
      about({ owner: ownerOf(deposits) });
      const tree = await checkDrillStatement(escrow, call.caller, drills, statement);
      await requireOwnTree(escrow.log, tree).catch(mismatch);
      const held = await heldShares(escrow, call.caller.id, drills, deposits);
      return {
        detail: { statement, drills: drillsInShort(drills) },
        claims: [],
        holds: requireInTurn,
        plan: held,
      };
    },
    run: async (lent, held) => {
      const broken = await brokenPairs(lent, call.caller.id, held);
      const results = held.map(({ drill: { key, purpose, generation, result }, share }): DrilledShare => {
        const found =
          share === undefined ? 'record-mismatch' : (broken.get(share.serverFor) ?? ('opened' as const));
        return { key, purpose, generation, result: result === 'opened' ? found : result };
      });
      return {
        detail: { results: results.map((each) => ({ ...each })) },
        digest: canonicalHash(results.map((each) => ({ ...each }))),
        changes: [],
        answer: results,
      };
    },
  });
}

/** Each share once, in the order of keys and purposes: one drill has one spelling. */
function requireOrder(drills: readonly Drill[]): void {
  const names = drills.map(({ key, purpose }) => `${key} ${PURPOSES.indexOf(purpose)}`);
  if (names.every((name, at) => at === 0 || (names[at - 1] ?? '') < name)) return;
  throw new EscrowError('request-malformed', 'Each share is drilled once, in ascending order of keys.');
}

function ownerOf(deposits: readonly LoggedDeposit[]): string {
  const [owner, ...others] = new Set(deposits.map(({ recorded }) => recorded.owner ?? ''));
  if (owner === undefined) throw new EscrowError('internal'); // an order has at least one drill
  if (others.length > 0) throw new EscrowError('owners-differ');
  return owner;
}

async function heldShares(
  escrow: Escrow,
  depositary: PrincipalId,
  drills: readonly Drill[],
  deposits: readonly LoggedDeposit[],
): Promise<readonly HeldShare[]> {
  const logged = new Map(deposits.map((deposit) => [deposit.key, deposit]));
  const rows = new Map(
    (await escrow.store.findDeposits([...logged.keys()])).map((deposit) => [deposit.key, deposit]),
  );
  const held: HeldShare[] = [];
  for (const drill of drills) {
    const deposit = logged.get(drill.key);
    if (deposit === undefined) throw new EscrowError('internal');
    const row = rows.get(drill.key);
    const share = row && (await isAsDeposited(escrow, row)) ? shareOf(row, drill, depositary) : 'unknown';
    requireDrill(escrow, depositary, drill, deposit, share);
    held.push({ drill, share: share === 'unknown' ? undefined : share });
  }
  return held;
}

function shareOf({ purposes }: Deposit, { purpose }: Drill, depositary: PrincipalId): Share | undefined {
  return purposes
    .find((one) => one.purpose === purpose)
    ?.shares.find((share) => share.depositary === depositary);
}

/** Whether the depositary has this share of this deposit, and shows what the log expects next. */
function requireDrill(
  { followed }: Pick<Escrow, 'followed'>,
  depositary: PrincipalId,
  { key, purpose, generation, result, preimage, ...shown }: Drill,
  { recorded }: LoggedDeposit,
  share: Share | undefined | 'unknown',
): void {
  const said = recorded.shares?.get(purpose)?.get(depositary);
  // an entry from before it was said to whom shares go says nothing of it, and the record does
  const isTheirs = recorded.shares === undefined ? typeof share === 'object' : said !== undefined;
  if (!isTheirs) throw new EscrowError('forbidden', `You have no share of ${key} for ${purpose}.`);
  if (generation !== recorded.generation) {
    throw new EscrowError(
      'drill-mismatch',
      `${key} is deposited anew: this is deposit ${recorded.generation}.`,
    );
  }
  if (result !== 'opened') {
    if (preimage === null) return;
    throw new EscrowError('drill-mismatch', `${key} did not open, and a hash of its chain is shown.`);
  }
  const isRecorded = said?.share === undefined || said.share === shown.share;
  const row = typeof share === 'object' ? share : undefined;
  const isKept =
    row === undefined || (sha256Hex(row.share) === shown.share && sha256Hex(row.link) === shown.link);
  if (!isRecorded || !isKept) {
    throw new EscrowError('drill-mismatch', `What was opened is not the share and the link of ${key}.`);
  }
  if (said?.end === undefined) {
    if (preimage === null) return;
    throw new EscrowError('drill-mismatch', `The deposit of ${key} has no chain of hashes.`);
  }
  const known = followed.facts.drill(key, purpose, depositary);
  const last = known === undefined || known.shown === 0 ? said.end : known.last;
  if (preimage !== null && isBefore(preimage, last)) return;
  throw new EscrowError(
    'drill-out-of-turn',
    (known?.shown ?? 0) >= DRILLS
      ? `${key} was drilled as often as it can be: seal it anew.`
      : `The hash shown for ${key} is not the next one of its chain.`,
  );
}

/** What another drill of the same shares, or a reseal, has come before. @throws EscrowError `drill-out-of-turn`, `drill-mismatch` */
function requireInTurn({ drills }: AsOf): void {
  if (drills?.areNewest === false) {
    throw new EscrowError('drill-mismatch', 'A key was sealed anew just now.');
  }
  if (drills?.areInTurn === false) throw new EscrowError('drill-out-of-turn');
}

/** Which pairs of the server regarding this depositary do not give back what is wrapped to them, and why. */
async function brokenPairs(
  lent: Pick<TokenVerbs, 'proveServerFor'>,
  depositary: PrincipalId,
  held: readonly HeldShare[],
): Promise<ReadonlyMap<ServerForVersion, DrillResult>> {
  const versions = new Set(held.flatMap(({ share }) => (share === undefined ? [] : [share.serverFor])));
  const broken = new Map<ServerForVersion, DrillResult>();
  for (const version of versions) {
    try {
      const proven = await lent.proveServerFor({ depositary, version });
      if ('refused' in proven) broken.set(version, 'server-key-mismatch');
    } catch (error) {
      if (!(error instanceof EscrowError) || error.code !== 'token-object-missing') throw error;
      broken.set(version, 'server-key-missing');
    }
  }
  return broken;
}

function mismatch(error: unknown): never {
  if (!(error instanceof EscrowError) || error.code !== 'approval-mismatch') throw error;
  throw new EscrowError('drill-mismatch', error.detail);
}
