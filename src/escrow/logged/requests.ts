import type { Json } from '../../log/entry/canonical.js';
import type { Entry } from '../../log/entry/entry.js';
import { sha256Hex } from '../records/digests.js';
import { Agenda } from './agenda.js';
import { quorumsIn, recipientsIn } from './deposits.js';
import type { RequestFacts, ScopeFacts } from './logFacts.js';

/** Acts that end a request when they are done. */
const ENDING: ReadonlySet<string> = new Set([
  'recovery.activate',
  'recovery.release',
  'recovery.reseal',
  'recovery.supersede',
  'recovery.veto',
  'recovery.cancel',
  'recovery.stop',
  'recovery.expire',
]);

/** The open requests of the log, as they are saved. */
export interface SavedRequests {
  readonly open: ReadonlyMap<string, RequestFacts>;
  readonly said: ReadonlyMap<string, Entry>;
}

/** The open requests of the log. */
export class LoggedRequests {
  readonly #open: Map<string, RequestFacts>;
  /** What attempts said that their outcomes do not repeat, by act. */
  readonly #said: Map<string, Entry>;
  readonly #ends = new Agenda();
  readonly #uses = new Agenda();
  readonly #unreminded = new Set<string>();
  readonly #superseded = new Set<string>();

  /** @param saved those that {@link save} gave */
  constructor({ open, said }: SavedRequests = { open: new Map(), said: new Map() }) {
    this.#open = new Map();
    for (const [id, facts] of open) this.#put(id, facts);
    this.#said = new Map(said);
  }

  save(): SavedRequests {
    return { open: this.#open, said: this.#said };
  }

  get(id: string): RequestFacts | undefined {
    return this.#open.get(id);
  }

  ids(): readonly string[] {
    return [...this.#open.keys()];
  }

  /** Those that are over at this instant, if nobody decides anything more, the earliest first. */
  over(nowMs: number): readonly string[] {
    return this.#ends.due(nowMs);
  }

  /** Those for the use of keys whose quorums were complete so long ago that their delay is over, the earliest first. */
  releasable(nowMs: number): readonly string[] {
    return this.#uses.due(nowMs);
  }

  /** Those that somebody intends to approve who was not told since that the delay is over. */
  unreminded(): readonly string[] {
    return [...this.#unreminded];
  }

  /** Those of which a key was sealed anew since they were filed. */
  superseded(): readonly string[] {
    return [...this.#superseded];
  }

  /** Takes that these keys were sealed anew, by this request. */
  supersede(keys: readonly string[], by: string): void {
    for (const [id, facts] of this.#open) {
      if (id !== by && !facts.isSuperseded && facts.keys.some((key) => keys.includes(key)))
        this.#put(id, { ...facts, isSuperseded: true });
    }
  }

  attempted(entry: Entry): void {
    const { act, id } = entry;
    if (act === 'recovery.request' || act === 'recovery.intend' || act === 'recovery.approve') {
      this.#said.set(id, entry);
    }
  }

  /** Takes an outcome; returns the request when it has become grants. */
  concluded(entry: Entry): RequestFacts | undefined {
    const { act, phase, subject, detail, id, error, actor } = entry;
    const said = this.#said.get(id);
    this.#said.delete(id);
    const { recovery } = subject;
    if (recovery === undefined) return undefined;
    if (act === 'recovery.request') {
      if (phase === 'done' && said !== undefined && !this.#open.has(recovery)) {
        this.#put(recovery, filed(said, entry));
      }
      return undefined;
    }
    const facts = this.#open.get(recovery);
    if (facts === undefined) return undefined;
    const isOver = act === 'recovery.deny' && detail['status'] === 'denied';
    if (error === 'recovery-failed' || (phase === 'done' && (ENDING.has(act) || isOver))) {
      this.#end(recovery);
      return act === 'recovery.activate' && phase === 'done' ? facts : undefined;
    }
    if (phase !== 'done') return undefined;
    if (act === 'recovery.intend') {
      const atMs = instantOf(detail['intendedAt']);
      const intent = { statement: digestOf(said?.detail['statement']), atMs: atMs ?? Infinity };
      this.#put(recovery, {
        ...facts,
        intents: new Map([...facts.intents, [actor, intent]]),
        // another delay is over another time
        reminded: new Set([...facts.reminded].filter((depositary) => depositary !== actor)),
      });
    }
    if (act === 'recovery.remind') {
      const told = textsOf(detail['depositaries']);
      this.#put(recovery, { ...facts, reminded: new Set([...facts.reminded, ...told]) });
    }
    if (act === 'recovery.approve') {
      const approval = { statement: digestOf(said?.detail['statement']), replies: entry.digest ?? '' };
      this.#put(recovery, {
        ...facts,
        approvals: new Map([...facts.approvals, [actor, approval]]),
        releasableAtMs: instantOf(detail['releasableAt']) ?? facts.releasableAtMs,
        // with one that completes none, those of before have lapsed
        holdsUntilMs: instantOf(detail['holdsUntil']),
      });
    }
    if (act === 'recovery.deny') {
      this.#put(recovery, { ...facts, denials: new Set([...facts.denials, actor]) });
    }
    return undefined;
  }

  #put(id: string, facts: RequestFacts): void {
    this.#open.set(id, facts);
    this.#ends.set(id, requestEndMs(facts));
    this.#uses.set(id, isCarriedOutHere(facts) ? facts.releasableAtMs : undefined);
    if (facts.isSuperseded) this.#superseded.add(id);
    if (isAwaited(facts)) this.#unreminded.add(id);
    else this.#unreminded.delete(id);
  }

  #end(id: string): void {
    this.#open.delete(id);
    this.#ends.delete(id);
    this.#uses.delete(id);
    this.#unreminded.delete(id);
    this.#superseded.delete(id);
  }
}

/** When an open request is over by the log, if nobody decides anything more. */
export function requestEndMs({ expiresAtMs, holdsUntilMs = expiresAtMs }: RequestFacts): number {
  return Math.max(expiresAtMs, holdsUntilMs);
}

/** Whether the quorums of a request are complete that the daemon carries out by itself, whatever has become of it since. */
function isCarriedOutHere({ scope, reseal, holdsUntilMs, isSuperseded }: RequestFacts): boolean {
  return (scope !== undefined || reseal !== undefined) && holdsUntilMs !== undefined && !isSuperseded;
}

/** Whether somebody has said that they intend to approve this request, and was neither reminded since nor has denied. */
export function isAwaited({ intents, reminded, denials, isSuperseded }: RequestFacts): boolean {
  if (isSuperseded) return false;
  return [...intents.keys()].some((one) => !reminded.has(one) && !denials.has(one));
}

function filed({ subject, detail }: Entry, { digest }: Entry): RequestFacts {
  return {
    requestHash: textOf(detail['requestHash']),
    // before there were requests for several keys, each was for one
    keys: subject.keys ?? (subject.key === undefined ? [] : [subject.key]),
    owner: subject.owner ?? '',
    attestation: digest ?? '',
    intents: new Map(),
    approvals: new Map(),
    reminded: new Set(),
    denials: new Set(),
    expiresAtMs: instantOf(detail['expiresAt']) ?? Infinity,
    holdsUntilMs: undefined,
    releasableAtMs: undefined,
    specs: describedAs(detail, 'spec'),
    labels: describedAs(detail, 'label'),
    scope: detail['purpose'] === 'operate' ? scopeOf(detail['scope']) : undefined,
    reseal: detail['purpose'] === 'reseal' ? resealOf(detail['plan']) : undefined,
    isSuperseded: false,
  };
}

/** What a request says of each of its keys. */
function describedAs(
  { descriptions }: Entry['detail'],
  member: 'spec' | 'label',
): ReadonlyMap<string, string> {
  const described = Object.entries(membersOf(descriptions));
  return new Map(described.map(([key, one]) => [key, textOf(membersOf(one)[member])]));
}

function resealOf(plan: Json | undefined): RequestFacts['reseal'] {
  const { quorums, recipients } = membersOf(plan);
  return { quorums: quorumsIn(quorums), recipients: recipientsIn(recipients, 'fingerprint') };
}

/** What a scope says; what it does not say allows nothing, but for the rate and times that older ones do not have. */
function scopeOf(scope: Json | undefined): ScopeFacts {
  const { app, operations, mechanisms, input, rate, durationMs, notBefore, notAfter } = membersOf(scope);
  const { uses, perMs } = membersOf(rate);
  return {
    app: textOf(app),
    operations: textsOf(operations),
    mechanisms: textsOf(mechanisms),
    input: textOf(input),
    rate: typeof uses === 'number' && typeof perMs === 'number' ? { uses, perMs } : undefined,
    durationMs: typeof durationMs === 'number' ? durationMs : 0,
    notBefore: dateOf(notBefore),
    notAfter: dateOf(notAfter),
  };
}

function dateOf(instant: Json | undefined): Date | undefined {
  const ms = instantOf(instant);
  return ms === undefined ? undefined : new Date(ms);
}

function membersOf(value: Json | undefined): Readonly<Record<string, Json>> {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isObject ? (value as Readonly<Record<string, Json>>) : {};
}

function textsOf(value: Json | undefined): readonly string[] {
  return Array.isArray(value) ? (value as readonly Json[]).map(textOf) : [];
}

function textOf(fact: Json | undefined): string {
  return typeof fact === 'string' ? fact : '';
}

function digestOf(text: Json | undefined): string {
  return sha256Hex(textOf(text));
}

function instantOf(fact: Json | undefined): number | undefined {
  const ms = Date.parse(textOf(fact));
  return Number.isNaN(ms) ? undefined : ms;
}
