import { canonicalJson } from '../../log/entry/canonical.js';
import type { Json } from '../../log/entry/canonical.js';
import { decodeEntry } from '../../log/entry/entry.js';
import type { Call, Escrow } from '../escrow.js';
import { actorOf } from '../escrow.js';
import { sha256Hex } from '../records/digests.js';
import { EscrowError } from '../records/errors.js';
import { noticesAbout } from '../notices/facts.js';
import type { Notice } from '../records/notice.js';
import type { Recorded } from '../ledger/act.js';
import type { LogReader, StoredEntry } from '../ports/log.js';
import type { Store } from '../ports/store.js';
import { hasRole } from '../records/principals.js';

/** So many notices are sent again by one act: they stand in one entry of the log. */
export const MAX_REDELIVERED = 100;

const ACT = 'notification.redeliver';

/** Notices of one sink that were given up. */
export interface RedeliveryOrder {
  readonly sink: string;
  /** Ids, 1 to {@link MAX_REDELIVERED}, each once. */
  readonly notices: readonly string[];
}

/** A notice, and the entry that it is about. */
interface Told {
  readonly notice: string;
  readonly entry: number;
}

/**
 * Has a sink told again what was given up. The entry of this act is what tells it so: the sink delivers these notices when it
 * comes there, under their old ids, as it does what is new, with as many tries.
 *
 * @throws EscrowError `forbidden`, `notice-unknown` (one of them was not given up by this sink, or was delivered since).
 */
export function redeliver(
  escrow: Escrow,
  call: Call,
  { sink, notices }: RedeliveryOrder,
): Promise<Recorded<{ readonly sink: string; readonly notices: readonly string[] }>> {
  return escrow.ledger.perform({
    act: ACT,
    actor: actorOf(call),
    decide: async () => {
      if (!hasRole(call.caller, 'admin')) throw new EscrowError('forbidden');
      const given = new Map(
        (await escrow.store.findGivenUp(sink, notices)).map(({ notice, entry }) => [notice, entry]),
      );
      const told = notices.map((notice): Told => {
        const entry = given.get(notice);
        if (entry === undefined) throw new EscrowError('notice-unknown');
        return { notice, entry };
      });
      const detail = { sink, notices: told.map(({ notice, entry }): Json => ({ notice, entry })) };
      return { detail, claims: [], plan: detail };
    },
    run: (_lent, detail) =>
      Promise.resolve({
        detail,
        digest: sha256Hex(canonicalJson(detail)),
        changes: [],
        answer: { sink, notices },
      }),
  });
}

/**
 * The notices that this entry has the sink told again: those of other entries that it names. Empty for every entry but one of
 * {@link redeliver}.
 *
 * @throws EscrowError `store-unavailable`
 */
export async function noticesAgain(
  { log, store }: { readonly log: Pick<LogReader, 'entries'>; readonly store: FactStore },
  stored: StoredEntry,
  sink: string,
): Promise<readonly Notice[]> {
  const again: Notice[] = [];
  for (const { notice, entry } of toldAgain(stored, sink)) {
    const [about] = await log.entries(entry, 1);
    const of = about === undefined ? [] : await noticesAbout(store, about);
    again.push(...of.filter(({ id }) => id === notice));
  }
  return again;
}

type FactStore = Pick<Store, 'findRecovery' | 'findDeposits'>;

function toldAgain({ entry: bytes }: StoredEntry, sink: string): readonly Told[] {
  const { act, phase, detail } = decodeEntry(bytes);
  if (act !== ACT || phase !== 'done' || detail['sink'] !== sink) return [];
  const { notices } = detail;
  return Array.isArray(notices) ? notices.flatMap(toTold) : [];
}

function toTold(value: Json): readonly Told[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [];
  const { notice, entry } = value as Readonly<Record<string, Json>>;
  return typeof notice === 'string' && typeof entry === 'number' ? [{ notice, entry }] : [];
}
