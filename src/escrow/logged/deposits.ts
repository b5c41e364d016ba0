import type { Json } from '../../log/entry/canonical.js';
import type { Entry } from '../../log/entry/entry.js';
import type { DepositGroup, DepositedQuorums } from '../records/depositedQuorums.js';
import { BIRTHS } from '../records/creation.js';
import { canonicalHash } from '../records/digests.js';
import { parsePrincipalId } from '../records/ids.js';
import { PURPOSES } from '../records/policy.js';
import type { Quorum } from '../records/quorum.js';
import type { ResealFacts } from './logFacts.js';

/** The same, as it is saved. */
export interface SavedDeposits {
  /** In the order of their numbers. */
  readonly groups: readonly DepositGroup[];
  readonly open: ReadonlyMap<string, readonly Quorum[]>;
}

/** Who can bring back how many keys, and under what these lie, by the log: what is deposited alike is counted together, in a group with a number. */
export class LoggedDeposits {
  readonly #groups: DepositGroup[];
  /** The number of each, by what its keys have in common. */
  readonly #numbers: Map<string, number>;
  /** The quorums of each key that is being made, by its act. */
  readonly #open: Map<string, readonly Quorum[]>;

  /** @param saved what {@link save} gave */
  constructor({ groups, open }: SavedDeposits = { groups: [], open: new Map() }) {
    this.#groups = [...groups];
    this.#numbers = new Map(groups.map(({ purposes }, number) => [nameOf(purposes), number]));
    this.#open = new Map(open);
  }

  save(): SavedDeposits {
    return { groups: this.#groups, open: this.#open };
  }

  /** In the order of their numbers, with those that have no keys any more. */
  all(): readonly DepositGroup[] {
    return this.#groups;
  }

  groups(): readonly DepositGroup[] {
    return this.#groups.filter(({ keys }) => keys > 0);
  }

  /** One for each key that is being made: to whose keys its shares go, and for which purposes, stands in its outcome. */
  beingMade(): readonly DepositGroup[] {
    return [...this.#open.values()].map((quorums) => ({ purposes: [unsaid(quorums)], keys: 1 }));
  }

  attempted({ act, id, detail }: Entry): void {
    if (BIRTHS.has(act)) this.#open.set(id, quorumsIn(detail['quorums']));
  }

  /** Takes the outcome of an act; `isBirth`, where a key is born by it. Returns the number of its group then. */
  concluded({ id, detail }: Entry, isBirth: boolean): number | undefined {
    const quorums = this.#open.get(id) ?? [];
    this.#open.delete(id);
    if (!isBirth) return undefined;
    const said = purposesIn(detail['shares'], quorums);
    return this.#count(said.length === 0 ? [unsaid(quorums)] : said);
  }

  /**
   * A key of this group is sealed to others from now on, and lies under other key-encryption keys where `keks` says so. Returns the
   * number of its group then.
   */
  resealed(
    group: number,
    { quorums, recipients }: ResealFacts,
    keks: Readonly<Record<string, string>> = {},
  ): number {
    const before = this.#groups[group];
    if (before === undefined) return group;
    this.#groups[group] = { ...before, keys: before.keys - 1 };
    return this.#count(
      before.purposes.map(({ purpose, kek }) => ({
        ...{ purpose, quorums, recipients },
        ...kekOf(keks[purpose] ?? kek),
      })),
    );
  }

  /** Counts a key, and says in which group. */
  #count(purposes: readonly DepositedQuorums[]): number {
    const name = nameOf(purposes);
    const number = this.#numbers.get(name) ?? this.#groups.length;
    const group = this.#groups[number] ?? { purposes, keys: 0 };
    this.#numbers.set(name, number);
    this.#groups[number] = { ...group, keys: group.keys + 1 };
    return number;
  }
}

function nameOf(purposes: readonly DepositedQuorums[]): string {
  return canonicalHash(
    purposes.map(({ purpose, quorums, recipients, kek }) => [
      ...[purpose, quorums, [...recipients].sort()],
      kek ?? null,
    ]),
  );
}

function kekOf(kek: string | undefined): Pick<DepositedQuorums, 'kek'> {
  return kek === undefined ? {} : { kek };
}

/** A deposit of which it is not said for which purposes it is, nor to whose keys its shares went. */
function unsaid(quorums: readonly Quorum[]): DepositedQuorums {
  return { purpose: 'operate', quorums, recipients: new Map() };
}

/** Quorums as an entry has them; who is no principal in them is left out. */
export function quorumsIn(said: Json | undefined): readonly Quorum[] {
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
    const { kek } = said;
    const recipients = recipientsIn(said['recipients'], 'recipient');
    return [{ ...{ purpose, quorums, recipients }, ...kekOf(typeof kek === 'string' ? kek : undefined) }];
  });
}

/** To whose keys shares go, as an entry has it. */
export function recipientsIn(
  said: Json | undefined,
  member: 'recipient' | 'fingerprint',
): ReadonlyMap<string, string> {
  const recipients = listOf(said).flatMap((each) => {
    const { depositary, [member]: key } = membersOf(each);
    return typeof depositary === 'string' && typeof key === 'string' ? [[depositary, key] as const] : [];
  });
  return new Map(recipients);
}

function listOf(said: Json | undefined): readonly Json[] {
  return Array.isArray(said) ? (said as readonly Json[]) : [];
}

function membersOf(said: Json): Readonly<Record<string, Json>> {
  return typeof said === 'object' && said !== null && !Array.isArray(said)
    ? (said as Readonly<Record<string, Json>>)
    : {};
}
