import { BIRTHS } from '../../escrow/records/creation.js';
import type { DepositedQuorums } from '../../escrow/records/depositedQuorums.js';
import { PURPOSES } from '../../escrow/records/policy.js';
import { resealedIn } from '../../escrow/records/sealing/resealing.js';
import type { Json } from '../../log/entry/canonical.js';
import type { Entry } from '../../log/entry/entry.js';
import { listOf, membersOf, quorumsOf, textOf } from './facts.js';

/** A key, as the log has it. */
export interface KeyFacts {
  readonly key: string;
  readonly owner: string;
  readonly spec: string;
  readonly use: string;
  /** Of the newest deposit. */
  readonly rule: string;
  readonly bornAt: string;
  readonly bornBy: string;
  readonly isBornOutside: boolean;
  /** The entry that has recorded the newest deposit. */
  readonly entry: number;
  /** Counts the deposits, from 1. */
  readonly generation: number;
  readonly purposes: readonly DepositedQuorums[];
  /** As the log has told it; undefined where it has not. */
  readonly label: string | undefined;
  /** The newest signature or decryption that was attempted under a grant. */
  readonly lastUsedAt: string | undefined;
  /** When its depositaries have last brought it back, and for what. */
  readonly broughtBack: { readonly at: string; readonly act: string } | undefined;
}

/** Acts by which depositaries have brought a key back. */
const BRINGING_BACK: ReadonlySet<string> = new Set([
  'recovery.activate',
  'recovery.release',
  'recovery.reseal',
]);

/** Keeps account of the keys of a log: with whom each was deposited last, and when it was used and brought back. */
export class Keys {
  readonly #keys = new Map<string, KeyFacts>();
  readonly #ordered = new Map<string, Entry['detail']>();
  /** Whom keys are to be sealed anew to, by request. */
  readonly #plans = new Map<string, Json | undefined>();

  /** Takes the next entry. */
  follow(entry: Entry, index: number): void {
    const { act, phase, id, subject, detail } = entry;
    if (BIRTHS.has(act)) {
      if (phase === 'attempted') this.#ordered.set(id, detail);
      else {
        if (phase === 'done') this.#born(entry, this.#ordered.get(id) ?? {}, index);
        this.#ordered.delete(id);
      }
    }
    if (act === 'recovery.request' && phase === 'attempted') this.#asked(entry);
    if ((act === 'grant.sign' || act === 'grant.decrypt') && phase === 'attempted')
      this.#change(subject.key, { lastUsedAt: entry.time });
    if (BRINGING_BACK.has(act) && phase === 'done') {
      for (const key of subject.keys ?? []) this.#change(key, { broughtBack: { at: entry.time, act } });
      if (act === 'recovery.reseal') this.#resealed(entry, index);
    }
  }

  get(key: string): KeyFacts | undefined {
    return this.#keys.get(key);
  }

  /** All of them, in the order in which they were made. */
  get all(): readonly KeyFacts[] {
    return [...this.#keys.values()];
  }

  labelOf(key: string): string {
    return this.#keys.get(key)?.label ?? '';
  }

  #born({ act, actor, subject, time, detail }: Entry, ordered: Entry['detail'], index: number): void {
    const { key, owner = '' } = subject;
    if (key === undefined) return;
    const quorums = quorumsOf(ordered['quorums']);
    const purposes = listOf(detail['shares']).flatMap((shares) => {
      const { purpose, recipients } = membersOf(shares);
      const known = PURPOSES.find((one) => one === purpose);
      return known === undefined
        ? []
        : [{ purpose: known, quorums, recipients: keysOf(recipients, 'recipient') }];
    });
    this.#keys.set(key, {
      ...{ key, owner, spec: textOf(ordered['spec']) ?? '', use: textOf(ordered['use']) ?? '' },
      ...{ rule: textOf(ordered['rule']) ?? '', bornAt: time, bornBy: actor, entry: index, generation: 1 },
      ...{ isBornOutside: act === 'key.import', purposes, label: textOf(ordered['label']) },
      ...{ lastUsedAt: undefined, broughtBack: undefined },
    });
  }

  #asked({ subject, detail }: Entry): void {
    if (detail['purpose'] === 'reseal') this.#plans.set(subject.recovery ?? '', detail['plan']);
    for (const [key, described] of Object.entries(membersOf(detail['descriptions']))) {
      const label = textOf(membersOf(described)['label']);
      if (label !== undefined && this.#keys.get(key)?.owner === subject.owner) this.#change(key, { label });
    }
  }

  #resealed({ subject, detail }: Entry, index: number): void {
    const plan = membersOf(this.#plans.get(subject.recovery ?? ''));
    const quorums = quorumsOf(plan['quorums']);
    const recipients = keysOf(plan['recipients'], 'fingerprint');
    for (const [key, { generation }] of resealedIn(detail['keys'])) {
      const before = this.#keys.get(key);
      if (before === undefined) continue;
      const purposes = before.purposes.map(({ purpose }) => ({ purpose, quorums, recipients }));
      const rule = textOf(plan['rule']) ?? before.rule;
      this.#keys.set(key, { ...before, rule, generation, purposes, entry: index });
    }
  }

  #change(key: string | undefined, changes: Partial<KeyFacts>): void {
    const before = this.#keys.get(key ?? '');
    if (before !== undefined) this.#keys.set(before.key, { ...before, ...changes });
  }
}

/** The fingerprint of the key that the share of each depositary went to. */
function keysOf(
  recipients: Json | undefined,
  name: 'recipient' | 'fingerprint',
): ReadonlyMap<string, string> {
  return new Map(
    listOf(recipients).flatMap((one) => {
      const { depositary, [name]: fingerprint } = membersOf(one);
      return typeof depositary === 'string' && typeof fingerprint === 'string'
        ? [[depositary, fingerprint] as const]
        : [];
    }),
  );
}
