import type { Json } from '../../log/entry/canonical.js';
import type { Entry } from '../../log/entry/entry.js';
import type { DepositGroup, DepositedQuorums } from '../records/depositedQuorums.js';
import { BIRTHS } from '../records/creation.js';
import { canonicalHash } from '../records/digests.js';
import { parsePrincipalId } from '../records/ids.js';
import { PURPOSES } from '../records/policy.js';
import type { Quorum } from '../records/quorum.js';

/** The same, as it is saved. */
export interface SavedDeposits {
  readonly groups: ReadonlyMap<string, DepositGroup>;
  readonly open: ReadonlyMap<string, readonly Quorum[]>;
}

/** Who can bring back how many keys, by the log: what is deposited alike is counted together. */
export class LoggedDeposits {
  readonly #groups: Map<string, DepositGroup>;
  /** The quorums of each key that is being made, by its act. */
  readonly #open: Map<string, readonly Quorum[]>;

  /** @param saved what {@link save} gave */
  constructor({ groups, open }: SavedDeposits = { groups: new Map(), open: new Map() }) {
    this.#groups = new Map(groups);
    this.#open = new Map(open);
  }

  save(): SavedDeposits {
    return { groups: this.#groups, open: this.#open };
  }

  groups(): readonly DepositGroup[] {
    return [...this.#groups.values()];
  }

  /** One for each key that is being made: to whose keys its shares go, and for which purposes, stands in its outcome. */
  beingMade(): readonly DepositGroup[] {
    return [...this.#open.values()].map((quorums) => ({ purposes: [unsaid(quorums)], keys: 1 }));
  }

  attempted({ act, id, detail }: Entry): void {
    if (BIRTHS.has(act)) this.#open.set(id, quorumsIn(detail['quorums']));
  }

  /** Takes the outcome of an act; `isBirth`, where a key is born by it. */
  concluded({ id, detail }: Entry, isBirth: boolean): void {
    const quorums = this.#open.get(id);
    this.#open.delete(id);
    if (!isBirth || quorums === undefined) return;
    const said = purposesIn(detail['shares'], quorums);
    const purposes = said.length === 0 ? [unsaid(quorums)] : said;
    const name = canonicalHash(
      purposes.map(({ purpose, recipients }) => [purpose, quorums, [...recipients].sort()]),
    );
    const keys = (this.#groups.get(name)?.keys ?? 0) + 1;
    this.#groups.set(name, { purposes: this.#groups.get(name)?.purposes ?? purposes, keys });
  }
}

/** A deposit of which it is not said for which purposes it is, nor to whose keys its shares went. */
function unsaid(quorums: readonly Quorum[]): DepositedQuorums {
  return { purpose: 'operate', quorums, recipients: new Map() };
}

function quorumsIn(said: Json | undefined): readonly Quorum[] {
  return listOf(said).map((members) =>
    listOf(members).flatMap((id) => (typeof id === 'string' ? (parsePrincipalId(id) ?? []) : [])),
  );
}

/** The purposes of a deposit, each with all of its quorums: they are the same for each. */
function purposesIn(shares: Json | undefined, quorums: readonly Quorum[]): readonly DepositedQuorums[] {
  return listOf(shares).flatMap((share) => {
    const said = membersOf(share);
    const purpose = PURPOSES.find((one) => one === said['purpose']);
    if (purpose === undefined) return [];
    const recipients = listOf(said['recipients']).flatMap((each) => {
      const { depositary, recipient } = membersOf(each);
      return typeof depositary === 'string' && typeof recipient === 'string'
        ? [[depositary, recipient] as const]
        : [];
    });
    return [{ purpose, quorums, recipients: new Map(recipients) }];
  });
}

function listOf(said: Json | undefined): readonly Json[] {
  return Array.isArray(said) ? (said as readonly Json[]) : [];
}

function membersOf(said: Json): Readonly<Record<string, Json>> {
  return typeof said === 'object' && said !== null && !Array.isArray(said)
    ? (said as Readonly<Record<string, Json>>)
    : {};
}
