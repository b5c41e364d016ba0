import { BIRTHS } from '../escrow/records/creation.js';
import type { Json } from '../log/entry/canonical.js';
import { type AskedPurpose, ASKED_PURPOSES } from '../escrow/records/recovery.js';
import { DAEMON_ID } from '../escrow/records/principals.js';
import type { Entry } from '../log/entry/entry.js';
import { documentHash } from '../log/export/format.js';
import { DigestTable } from './digestTable.js';
import { type DirectoryInForce, TOLERANCE_MS } from './directoryInForce.js';
import { parseJws } from '../jose/jws.js';
import { endsRequest, isMapOf } from './recoveries.js';
import type { TermsEvidence } from './terms.js';

/** Acts that bring a key back, and what for. */
const RECOVERING: ReadonlyMap<string, AskedPurpose> = new Map([
  ['recovery.activate', 'operate'],
  ['recovery.release', 'release'],
  ['recovery.reseal', 'reseal'],
]);
/** How far the clocks of daemons may be apart, which record the end of a delay and what waited for it. */
const CLOCKS_APART_MS = 10_000;

/** What quorums are held to of the rule of a key. */
type KeyTerms = Pick<TermsEvidence, 'delayMs' | 'isAfterDelay' | 'denialsToEnd'>;

/** What is remembered of an approval or an intent, in milliseconds. */
interface Approved {
  readonly atMs: number;
  readonly untilMs: number;
  /** The thumbprint of the key that signed it; empty when it does not say. */
  readonly kid: string;
}

/**
 * Checks that no key came back without a quorum: whenever keys do, a quorum is named for each of them, each of its members has
 * approved this very request before, the approval has not expired and is by a key that the directory lists then, the quorum is one
 * of those that this key was deposited with, and the longest delay that the rules of the keys impose has passed since the last of them approved. Where a rule takes
 * replies after the delay, it has passed before each approval: since a quorum, of those that the key was deposited with and the approver
 * is in, had said that it intends to, by keys that the directory lists when the approval is attempted; and before each reminder of it, which goes once to who has said so. None of them has denied it, nor have as many as end a request for one of its keys. What was released went to whom the request named, who had approved.
 *
 * Remembers the quorums of each key, once for all keys that have the same, and the approvals of requests that have not
 * ended.
 */
export class QuorumEvidence {
  /** The place, counted from 1, in {@link #kinds} of the quorums of each key. */
  readonly #quorums = new DigestTable();
  /** Each set of quorums that there is. */
  readonly #kinds: ReadonlySet<string>[] = [];
  /** The place of each in that list, by a digest of it. */
  readonly #places = new Map<string, number>();
  /** The same of each key whose deposit has no outcome yet, by its act. */
  readonly #ordered = new Map<string, number>();
  /** By request and depositary. */
  readonly #approvals = new Map<string, Map<string, Approved>>();
  /** The intents whose outcome was done, by request and depositary. */
  readonly #intents = new Map<string, Map<string, Approved>>();
  /** Who was reminded since their intent, by request. */
  readonly #reminded = new Map<string, Set<string>>();
  /** Who has denied, by request. */
  readonly #denials = new Map<string, Set<string>>();
  /** What a request is for. */
  readonly #purposes = new Map<string, AskedPurpose>();
  /** Whom a release is asked for, by request. */
  readonly #recipients = new Map<string, string>();
  /** Of requests that have ended late: whom they name, and whether these had approved. */
  readonly #lateRecipients = new Map<string, { readonly named: string; readonly hasApproved: boolean }>();
  readonly #terms: KeyTerms;
  readonly #directory: Pick<DirectoryInForce, 'lists'>;
  /** From the first request of version 4 on. Daemons from before that counted an approval whatever became of the key that signed it. */
  #countsListedOnly = false;

  /** As its statement says, of each approval or intent whose outcome is to come. */
  readonly #said = new Map<string, Pick<Approved, 'untilMs' | 'kid'>>();
  /** Why an approval whose outcome is to come must not be done. */
  readonly #early = new Map<string, string>();

  /** @param terms knows the delay of each key */
  constructor(terms: KeyTerms, directory: Pick<DirectoryInForce, 'lists'>) {
    this.#terms = terms;
    this.#directory = directory;
  }

  /** Why this entry is refused, if it is. */
  check(entry: Entry): string | undefined {
    const { act, phase, actor, subject, detail, id, time } = entry;
    if (BIRTHS.has(act)) this.#noteDeposit(entry);
    if (subject.recovery === undefined) return undefined;
    if (act === 'recovery.request' && phase === 'attempted') {
      const recipient = recipientOf(detail['scope']);
      if (recipient !== undefined) this.#recipients.set(subject.recovery, recipient);
      const purpose = ASKED_PURPOSES.find((one) => one === detail['purpose']);
      this.#purposes.set(subject.recovery, purpose ?? 'operate');
      this.#countsListedOnly ||= Number(detail['version']) >= 4;
    }
    if (act === 'recovery.remind') return this.#checkReminder(entry, subject.recovery);
    if (act === 'recovery.deny' && phase === 'done') this.#denied(subject.recovery, actor);
    if (act === 'recovery.approve' && phase === 'attempted') {
      // what counts then, by the directory of then; a daemon that has found otherwise has not done it
      const early = this.#checkAfterDelay(entry, subject.recovery);
      if (early !== undefined) this.#early.set(id, early);
    }
    if (act === 'recovery.intend' || act === 'recovery.approve') {
      const statement = this.#said.get(id) ?? saidIn(detail['statement']);
      const early = this.#early.get(id);
      if (phase === 'attempted') this.#said.set(id, statement);
      else {
        this.#said.delete(id);
        this.#early.delete(id);
      }
      if (phase === 'done') {
        if (early !== undefined) return early;
        const said = { ...statement, atMs: Date.parse(time) };
        const all = act === 'recovery.approve' ? this.#approvals : this.#intents;
        const ofRequest = all.get(subject.recovery) ?? new Map<string, Approved>();
        all.set(subject.recovery, ofRequest.set(actor, said));
        if (act === 'recovery.intend') this.#reminded.get(subject.recovery)?.delete(actor);
      }
    }
    const purpose = RECOVERING.get(act);
    if (purpose !== undefined && phase === 'attempted') {
      return this.#checkQuorums(entry, { recovery: subject.recovery, purpose, atMs: Date.parse(time) });
    }
    const reason =
      act === 'recovery.release' && phase === 'done'
        ? this.#checkRecipient(entry, subject.recovery)
        : undefined;
    if (endsRequest(entry)) this.#forget(subject.recovery);
    return reason;
  }

  /** Takes an outcome that its act had before, as far as it ends something. */
  ended(entry: Entry): void {
    const { act, actor, phase, subject } = entry;
    if (subject.recovery === undefined) return;
    if (act === 'recovery.deny' && phase === 'done') this.#denied(subject.recovery, actor);
    if (!endsRequest(entry)) return;
    const late = this.#recipientOf(subject.recovery);
    if (late !== undefined) this.#lateRecipients.set(subject.recovery, late);
    this.#forget(subject.recovery);
  }

  #recipientOf(recovery: string): { readonly named: string; readonly hasApproved: boolean } | undefined {
    const named = this.#recipients.get(recovery);
    if (named === undefined) return this.#lateRecipients.get(recovery);
    return { named, hasApproved: this.#approvals.get(recovery)?.has(named) === true };
  }

  #forget(recovery: string): void {
    this.#approvals.delete(recovery);
    this.#recipients.delete(recovery);
    this.#intents.delete(recovery);
    this.#reminded.delete(recovery);
    this.#denials.delete(recovery);
    this.#purposes.delete(recovery);
  }

  /** Who denies has neither approved nor meant to. */
  #denied(recovery: string, actor: string): void {
    this.#intents.get(recovery)?.delete(actor);
    this.#approvals.get(recovery)?.delete(actor);
    this.#denials.set(recovery, (this.#denials.get(recovery) ?? new Set()).add(actor));
  }

  /** A key has quorums when it was deposited: what was only ordered may have been ordered against the rules. */
  #noteDeposit({ id, phase, subject, detail }: Entry): void {
    if (phase === 'attempted') {
      this.#ordered.set(id, this.#placeOf(detail['quorums']));
      return;
    }
    const place = this.#ordered.get(id);
    this.#ordered.delete(id);
    if (phase === 'done' && place !== undefined && subject.key !== undefined) {
      this.#quorums.set(subject.key, place);
    }
  }

  /** A key is sealed anew: from then on these are its quorums. */
  resealed(key: string, quorums: Json | undefined): void {
    this.#quorums.set(key, this.#placeOf(quorums));
  }

  #placeOf(quorums: Json | undefined): number {
    const named = quorumsOf(quorums);
    const digest = documentHash(named);
    const place = this.#places.get(digest) ?? this.#kinds.push(new Set(named));
    this.#places.set(digest, place);
    return place;
  }

  /** Whether an approval came before the delay that intents began, where a rule takes replies after it. */
  #checkAfterDelay(entry: Entry, recovery: string): string | undefined {
    return this.#isAfterDelay(entry, recovery) ? this.#checkTime(entry, entry.actor, recovery) : undefined;
  }

  /** Whether replies are taken after the delay, of one of the keys. */
  #isAfterDelay({ subject }: Entry, recovery: string): boolean {
    const purpose = this.#purposes.get(recovery) ?? 'operate';
    return (subject.keys ?? []).some((key) => this.#terms.isAfterDelay(key, purpose));
  }

  /** Whether those who are told that the delay is over have said that they intend to approve, it is over, and each is told once. */
  #checkReminder(entry: Entry, recovery: string): string | undefined {
    const { act, actor, phase, detail, request } = entry;
    const told = membersOf(detail['depositaries']);
    if (phase === 'done') {
      this.#reminded.set(recovery, new Set([...(this.#reminded.get(recovery) ?? []), ...told]));
    }
    if (phase !== 'attempted') return undefined;
    if (actor !== DAEMON_ID || request !== undefined) return `${act} is for the daemon alone`;
    if (typeof detail['requestHash'] !== 'string') return `${act} does not say of which request`;
    if (!this.#isAfterDelay(entry, recovery)) return `${act} of a request that waits for no delay`;
    if (told.length === 0 || new Set(told).size < told.length) return `${act} does not say who is told`;
    for (const depositary of told) {
      if (!this.#countedIntents(recovery).has(depositary))
        return `${act} to ${depositary}, who has not said that they intend to approve`;
      if (this.#reminded.get(recovery)?.has(depositary) === true) return `${act} to ${depositary} again`;
      const early = this.#checkTime(entry, depositary, recovery);
      if (early !== undefined) return early;
    }
    return undefined;
  }

  /** The intents of a request that count by the directory: by keys that it lists still. */
  #countedIntents(recovery: string): ReadonlyMap<string, Approved> {
    const intents = [...(this.#intents.get(recovery) ?? [])];
    return new Map(intents.filter(([id, { kid }]) => this.#directory.lists(id, kid)));
  }

  /** Whether this is before the delay is over that intents began, of a quorum that this depositary is in. */
  #checkTime({ act, subject, time }: Entry, actor: string, recovery: string): string | undefined {
    const purpose = this.#purposes.get(recovery) ?? 'operate';
    const keys = subject.keys ?? [];
    const intents = this.#countedIntents(recovery);
    const atMs = Date.parse(time);
    const completeMs = keys.map((key) => {
      const quorums = [...(this.#kinds[(this.#quorums.get(key) ?? 0) - 1] ?? [])].map((name) =>
        name.split(' '),
      );
      const isTheirs = quorums.some((members) => members.includes(actor));
      const times = quorums
        .filter((members) => !isTheirs || members.includes(actor))
        .map((members) => Math.max(...members.map((member) => sinceMs(intents.get(member), atMs))));
      return Math.min(...times);
    });
    const delayMs = Math.max(...keys.map((key) => this.#terms.delayMs(key, purpose)));
    const fromMs = Math.max(...completeMs) + delayMs;
    if (fromMs === Infinity) return `${act} by ${actor} before a quorum intended to`;
    return atMs + CLOCKS_APART_MS < fromMs
      ? `${act} by ${actor} before the delay of ${delayMs / 1000} seconds was over`
      : undefined;
  }

  /** Logs from before this was looked at name the recipient as well. */
  #checkRecipient({ act, detail }: Entry, recovery: string): string | undefined {
    const { recipient } = detail;
    const wanted = this.#recipientOf(recovery);
    if (wanted === undefined) return `${act} of a request that was not for release, or has ended`;
    const { named, hasApproved } = wanted;
    if (recipient !== named) return `${act} to another than ${named}, whom the request names`;
    return hasApproved ? undefined : `${act} to ${named}, who has not approved`;
  }

  #checkQuorums(
    { act, actor, subject, detail }: Entry,
    {
      recovery,
      purpose,
      atMs,
    }: { readonly recovery: string; readonly purpose: AskedPurpose; readonly atMs: number },
  ): string | undefined {
    const { quorums } = detail;
    if (purpose === 'reseal' && this.#purposes.get(recovery) !== purpose)
      return `${act} of a request for something else, or that has ended`;
    if (!isMapOf(quorums, subject.keys)) return `${act} without a quorum for each of its keys`;
    for (const [key, quorum] of Object.entries(quorums)) {
      const reason = this.#checkQuorumOf(key, membersOf(quorum), { act, recovery, atMs });
      if (reason !== undefined) return reason;
    }
    const members = Object.values(quorums).flatMap(membersOf);
    const unlisted = this.#unlistedOf(recovery, act === 'recovery.release' ? [...members, actor] : members);
    if (unlisted !== undefined)
      return `${act} by the approval of ${unlisted}, whose key the directory lists no more`;
    const approvals = this.#approvals.get(recovery);
    const completeMs = Math.max(...members.map((member) => approvals?.get(member)?.atMs ?? 0));
    const keys = Object.keys(quorums);
    // it had passed before any of them approved
    if (keys.some((key) => this.#terms.isAfterDelay(key, purpose))) return undefined;
    const delayMs = Math.max(...keys.map((key) => this.#terms.delayMs(key, purpose)));
    return atMs + CLOCKS_APART_MS < completeMs + delayMs
      ? `${act} before the delay of ${delayMs / 1000} seconds was over`
      : undefined;
  }

  /** Whose approval counts no more: the directory does not list the key that signed it. */
  #unlistedOf(recovery: string, approvers: readonly string[]): string | undefined {
    if (!this.#countsListedOnly) return undefined;
    const approvals = this.#approvals.get(recovery);
    return approvers.find((id) => {
      const approval = approvals?.get(id);
      return approval !== undefined && !this.#directory.lists(id, approval.kid);
    });
  }

  #checkQuorumOf(
    key: string,
    members: readonly string[],
    { act, recovery, atMs }: { readonly act: string; readonly recovery: string; readonly atMs: number },
  ): string | undefined {
    if (members.length === 0) return `${act} without a quorum`;
    const approvals = this.#approvals.get(recovery);
    const missing = members.find((member) => approvals?.has(member) !== true);
    if (missing !== undefined) return `${act} without the approval of ${missing}`;
    const late = members.find((member) => atMs > (approvals?.get(member)?.untilMs ?? 0) + TOLERANCE_MS);
    if (late !== undefined) return `${act} after the approval of ${late} had expired`;
    const deposited = this.#kinds[(this.#quorums.get(key) ?? 0) - 1];
    if (deposited === undefined) return `${act} of a key whose deposit is not in the log`;
    const depositaries = new Set([...deposited].flatMap((name) => name.split(' ')));
    const against = [...(this.#denials.get(recovery) ?? [])].filter((one) => depositaries.has(one));
    if (against.length >= this.#terms.denialsToEnd(key)) {
      return `${act} of ${key} after ${against.join(' and ')} had denied it`;
    }
    return deposited.has(nameOf(members))
      ? undefined
      : `${act} by ${members.join(' and ')}, which is no quorum of ${key}`;
  }
}

/** When somebody said something that still counted then; never, when they had not. */
function sinceMs(said: Approved | undefined, atMs: number): number {
  return said === undefined || atMs > said.untilMs + TOLERANCE_MS ? Infinity : said.atMs;
}

/** Of a release; undefined of anything else. */
function recipientOf(scope: Json | undefined): string | undefined {
  if (typeof scope !== 'object' || scope === null || !('recipient' in scope)) return undefined;
  const { recipient } = scope as Readonly<Record<string, Json>>;
  return typeof recipient === 'string' ? recipient : undefined;
}

/** Until when a statement counts (milliseconds; 0, which is past, when it does not say), and by which key it is. */
function saidIn(statement: Json | undefined): Pick<Approved, 'untilMs' | 'kid'> {
  const jws = typeof statement === 'string' ? parseJws(statement) : undefined;
  const exp = jws?.payload['exp'];
  const kid = jws?.header['kid'];
  return {
    untilMs: typeof exp === 'number' ? exp * 1000 : 0,
    kid: typeof kid === 'string' ? kid : '',
  };
}

function quorumsOf(quorums: Json | undefined): readonly string[] {
  return Array.isArray(quorums)
    ? (quorums as readonly Json[]).map((quorum) => nameOf(membersOf(quorum)))
    : [];
}

function membersOf(quorum: Json | undefined): readonly string[] {
  return Array.isArray(quorum)
    ? (quorum as readonly Json[]).filter((member) => typeof member === 'string')
    : [];
}

/** A set of people by one name, whatever their order. */
function nameOf(members: readonly string[]): string {
  return [...new Set(members)].sort().join(' ');
}
