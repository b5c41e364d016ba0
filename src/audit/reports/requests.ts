import type { Entry } from '../../log/entry/entry.js';
import { membersOf, textOf } from './facts.js';

/** That somebody has decided on a request. */
export interface Decided {
  readonly who: string;
  readonly at: string;
}

export type RequestStatus =
  | 'pending'
  | 'approved'
  | 'active'
  | 'released'
  | 'resealed'
  | 'denied'
  | 'vetoed'
  | 'cancelled'
  | 'stopped'
  | 'expired'
  | 'superseded'
  | 'failed';

/** A request to recover, as the log has it. */
export interface RequestFacts {
  readonly recovery: string;
  /** Where it was filed. */
  readonly entry: number;
  readonly filedAt: string;
  readonly requester: string;
  readonly owner: string;
  readonly keys: readonly string[];
  readonly purpose: string;
  /** Undefined where no app is to use the keys. */
  readonly app: string | undefined;
  readonly maxUses: number | undefined;
  /** Whom a release is for. */
  readonly recipient: string | undefined;
  readonly reason: string;
  readonly expiresAt: string;
  readonly approvals: readonly Decided[];
  readonly denials: readonly Decided[];
  readonly status: RequestStatus;
  /** When it came to what it is, and by whom; undefined while it is open. */
  readonly ended: Decided | undefined;
  /** When something was last done about it. */
  readonly touchedAt: string;
}

/** What a request becomes when one of these acts is done. */
const BECOMES: ReadonlyMap<string, RequestStatus> = new Map([
  ['recovery.activate', 'active'],
  ['recovery.release', 'released'],
  ['recovery.reseal', 'resealed'],
  ['recovery.veto', 'vetoed'],
  ['recovery.cancel', 'cancelled'],
  ['recovery.stop', 'stopped'],
  ['recovery.expire', 'expired'],
  ['recovery.supersede', 'superseded'],
]);

/** Keeps account of the requests to recover of a log, and what came of each. */
export class Requests {
  readonly #requests = new Map<string, RequestFacts>();
  /** Attempts to file, by their act. */
  readonly #filing = new Map<string, Entry>();

  /** Takes the next entry. */
  follow(entry: Entry, index: number): void {
    const { act, phase, id, actor, time, subject, detail } = entry;
    if (act === 'recovery.request') {
      const filing = this.#filing.get(id);
      if (phase === 'attempted') this.#filing.set(id, entry);
      else this.#filing.delete(id);
      if (phase === 'done' && filing !== undefined) this.#filed(filing, entry, index);
      return;
    }
    const known = this.#requests.get(subject.recovery ?? '');
    if (known === undefined || !act.startsWith('recovery.')) return;
    if (phase === 'done' && act === 'recovery.approve') {
      const approvals = [...known.approvals, { who: actor, at: time }];
      const isEnough = detail['status'] === 'approved' && known.ended === undefined;
      this.#change(known, time, { approvals, ...(isEnough ? { status: 'approved' } : {}) });
    }
    if (phase === 'done' && act === 'recovery.deny') {
      const denials = [...known.denials, { who: actor, at: time }];
      // who denies has not approved
      const approvals = known.approvals.filter(({ who }) => who !== actor);
      this.#change(known, time, { denials, approvals });
      if (detail['status'] === 'denied') this.#end(entry, 'denied');
    }
    this.ended(entry);
  }

  /** Takes an outcome by which a request may have ended. */
  ended(entry: Entry): void {
    const status = entry.phase === 'done' ? BECOMES.get(entry.act) : undefined;
    if (status !== undefined) this.#end(entry, status);
    else if (entry.error === 'recovery-failed') this.#end(entry, 'failed');
  }

  get(recovery: string): RequestFacts | undefined {
    return this.#requests.get(recovery);
  }

  /** All that were filed, in that order. */
  get all(): readonly RequestFacts[] {
    return [...this.#requests.values()];
  }

  #filed({ actor, subject, detail }: Entry, { time }: Entry, index: number): void {
    const { recovery, owner = '', keys = [] } = subject;
    if (recovery === undefined) return;
    const scope = membersOf(detail['scope']);
    const { maxUses } = scope;
    this.#requests.set(recovery, {
      ...{ recovery, entry: index, filedAt: time, requester: actor, owner, keys, touchedAt: time },
      purpose: textOf(detail['purpose']) ?? '',
      app: textOf(scope['app']),
      maxUses: typeof maxUses === 'number' ? maxUses : undefined,
      recipient: textOf(scope['recipient']),
      reason: textOf(detail['reason']) ?? '',
      expiresAt: textOf(detail['expiresAt']) ?? '',
      ...{ approvals: [], denials: [], status: 'pending', ended: undefined },
    });
  }

  #end({ actor, time, subject }: Entry, status: RequestStatus): void {
    const known = this.#requests.get(subject.recovery ?? '');
    // one that is over stays so: what has ended it first counts
    if (known === undefined || known.ended !== undefined) return;
    this.#change(known, time, { status, ended: { who: actor, at: time } });
  }

  #change(known: RequestFacts, at: string, changes: Partial<RequestFacts>): void {
    this.#requests.set(known.recovery, { ...known, ...changes, touchedAt: at });
  }
}
