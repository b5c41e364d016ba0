import type { Escrow } from '../escrow.js';
import { DAEMON } from '../ledger/act.js';
import type { LogFacts } from '../logged/logFacts.js';
import { sha256Hex } from '../records/digests.js';
import { type GrantId, type ImportId, type RecoveryId, idsOf } from '../records/ids.js';
import type { Settling } from './settling.js';
import { isUnderWay } from './settling.js';

/** For so long an object must have been seen to belong to nothing: the trials of a daemon that starts beside this one are, as a rule, shorter. */
export const STRAY_FOR_MS = 2_000;

/** What was found missing is looked for again so much later, and not only when the token is looked through anyway. */
const MISSING_AGAIN_MS = 60_000;

/** What was in the token when it was last looked through, and what asks to look again. */
export class TokenSeen {
  /** Labels of objects that were strays then, and since when (milliseconds of the epoch). */
  readonly strays = new Map<string, number>();
  readonly #everyMs: number;
  #missing: readonly ExpectedObject[] = [];
  #looked: { readonly atMs: number; readonly reasons: number } | undefined;

  /** @param everyMs how often it is looked through though nothing asks for it; 0: always */
  constructor(everyMs: number) {
    this.#everyMs = everyMs;
  }

  /** The labels of what was missing then, and is not over by the log. */
  get missing(): readonly string[] {
    return this.#missing.filter(({ isExpected }) => isExpected()).map(({ label }) => label);
  }

  /** Whether to look now. `reasons` counts what acts may have left behind or have not found, and the times that the token was opened. */
  isDue(nowMs: number, reasons: number): boolean {
    if (this.#looked === undefined || this.strays.size > 0 || this.#looked.reasons !== reasons) return true;
    const restMs = this.missing.length > 0 ? Math.min(this.#everyMs, MISSING_AGAIN_MS) : this.#everyMs;
    const sinceMs = nowMs - this.#looked.atMs;
    // a clock that was set back begins anew
    return sinceMs >= restMs || sinceMs < 0;
  }

  note(look: { readonly atMs: number; readonly reasons: number }, missing: readonly ExpectedObject[]): void {
    this.#looked = look;
    this.#missing = missing;
  }
}

/** What was found in the token. */
export interface TokenSettled {
  /** One-time keys and grants that were destroyed. */
  readonly strays: number;
  /** One-time keys and grants that the log has and a token that works does not, by their labels. */
  readonly missing: readonly string[];
}

/**
 * Destroys one-time keys and grants in the token that are of no open request, no running grant and no open act, by the log, and
 * were so already {@link STRAY_FOR_MS} ago. The whole token is looked through for it: the first time, when an act of this daemon
 * may have left something in it, was closed by it, or did not find what it needed, when the token was opened anew, as long as something may be a stray, and
 * besides at the pace of `seen`. The token is read first: what it shows then had its attempt recorded before, so an
 * act that is making one now is seen as open. The self-test of a daemon that starts has no attempts; what it makes it destroys
 * at once.
 */
export async function settleToken(
  escrow: Escrow,
  settling: Settling,
  seen: TokenSeen,
): Promise<TokenSettled> {
  const { facts } = escrow.followed;
  const look = {
    atMs: escrow.clock.now().getTime(),
    reasons: escrow.ledger.tokenDoubts + escrow.token.openings,
  };
  if (!seen.isDue(look.atMs, look.reasons)) return { strays: 0, missing: seen.missing };
  // read before the token is: what is made meanwhile stands in both, and is not missed
  const expected = expectedObjects(facts);
  const { transports, grants, imports } = await escrow.token.standing();
  await escrow.followed.caughtUp();
  const standing = new Set([
    ...transports.map(transportLabel),
    ...grants.map(grantLabel),
    ...imports.map(importLabel),
  ]);
  const absent = expected.filter(({ label }) => !standing.has(label));
  // those that did not end while the token was looked through
  seen.note(
    look,
    absent.filter(({ isExpected }) => isExpected()),
  );
  const { missing } = seen;
  const strays: readonly StrayObject[] = [
    ...transports
      .filter((id) => facts.request(id) === undefined && !isUnderWay(facts, id))
      .map((transport) => ({ transport, label: transportLabel(transport) })),
    ...grants
      .filter((id) => facts.grant(id) === undefined && !isUnderWay(facts, id))
      .map((grant) => ({ grant, label: grantLabel(grant) })),
    ...imports
      .filter((id) => facts.importPair(id) === undefined && !isUnderWay(facts, id))
      .map((importPair) => ({ importPair, label: importLabel(importPair) })),
  ];
  const lasting = lastingOf(strays, seen.strays, escrow.clock.now().getTime());
  if (lasting.length === 0) return { strays: 0, missing };
  await escrow.ledger.requireOwnToken();
  const settle = (): Promise<void> => destroyStrays(escrow, lasting);
  const isDone = await settling.settle({ id: 'token', isDue: () => true, settle });
  return { strays: isDone ? lasting.length : 0, missing };
}

type StrayObject = { readonly label: string } & (
  { readonly transport: RecoveryId } | { readonly grant: GrantId } | { readonly importPair: ImportId }
);

/** Those that have been strays for long enough; `seen` has afterwards all that are strays now. */
function lastingOf(
  strays: readonly StrayObject[],
  seen: Map<string, number>,
  nowMs: number,
): readonly StrayObject[] {
  const before = new Map(seen);
  seen.clear();
  return strays.filter(({ label }) => {
    // a clock that was set back begins anew
    const sinceMs = Math.min(before.get(label) ?? nowMs, nowMs);
    seen.set(label, sinceMs);
    return nowMs - sinceMs >= STRAY_FOR_MS;
  });
}

const transportLabel = (id: RecoveryId): string => `transport:${id}`;
const importLabel = (id: ImportId): string => `import:${id}`;
const grantLabel = (id: GrantId): string => `grant:${id}`;

interface ExpectedObject {
  readonly label: string;
  /** Whether the log has it still. */
  readonly isExpected: () => boolean;
}

/** What stands in the token by the log. */
function expectedObjects(facts: LogFacts): readonly ExpectedObject[] {
  const recoveries = idsOf('RecoveryId', facts.openRequestIds()).map((id) => ({
    label: transportLabel(id),
    isExpected: () => facts.request(id) !== undefined,
  }));
  const grants = idsOf('GrantId', facts.runningGrantIds()).map((id) => ({
    label: grantLabel(id),
    isExpected: () => facts.grant(id) !== undefined,
  }));
  const imports = idsOf('ImportId', facts.importPairIds()).map((id) => ({
    label: importLabel(id),
    isExpected: () => facts.importPair(id) !== undefined,
  }));
  return [...recoveries, ...grants, ...imports];
}

async function destroyStrays(escrow: Escrow, strays: readonly StrayObject[]): Promise<void> {
  const objects = strays.map(({ label }) => label);
  await escrow.ledger.perform({
    act: 'token.tidy',
    actor: DAEMON,
    decide: () =>
      Promise.resolve({ detail: { objects: objects.slice(0, 500) }, claims: [], plan: undefined }),
    run: async (lent) => {
      for (const stray of strays) {
        if ('transport' in stray) await lent.destroyTransport(stray.transport);
        else if ('grant' in stray) await lent.destroyGrant(stray.grant);
        else await lent.destroyImportPair(stray.importPair);
      }
      return {
        detail: { destroyed: objects.length },
        digest: sha256Hex(objects.join('\n')),
        changes: [],
        answer: undefined,
      };
    },
  });
}
