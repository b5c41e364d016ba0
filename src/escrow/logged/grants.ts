import type { Json } from '../../log/entry/canonical.js';
import type { Entry } from '../../log/entry/entry.js';
import { sha256Hex } from '../records/digests.js';
import type { ErrorCode } from '../records/errors.js';
import type { GrantFacts, RequestFacts } from './logFacts.js';
import { Agenda } from './agenda.js';
import { Pace } from './pace.js';
import type { RecentUses } from '../records/rate.js';

/** How far apart the instants may be at which a use is decided and recorded, by clocks that may differ. */
const TOLERANCE_MS = 10_000;
const ENDING: ReadonlySet<string> = new Set(['grant.revoke', 'grant.expire', 'grant.exhaust']);

interface Running {
  facts: GrantFacts;
  readonly pace: Pace | undefined;
}

/** The same, as it is saved. */
export interface SavedGrant {
  readonly facts: GrantFacts;
  readonly recent: readonly RecentUses[] | undefined;
}

/** The running grants of the log, and how much of each was used. */
export class LoggedGrants {
  readonly #running = new Map<string, Running>();
  /** Their ids, by the app and what it may call the key: its id, or its label. */
  readonly #named = new Map<string, Set<string>>();
  readonly #ends = new Agenda();
  readonly #usedUp = new Set<string>();
  readonly #uncertified = new Set<string>();

  /** Those that {@link save} gave. */
  static of(saved: ReadonlyMap<string, SavedGrant>): LoggedGrants {
    const grants = new LoggedGrants();
    for (const [id, { facts, recent }] of saved) {
      const { rate } = facts.scope;
      const pace = rate === undefined ? undefined : new Pace(rate, TOLERANCE_MS, recent);
      grants.#put(id, { facts, pace });
    }
    return grants;
  }

  save(): ReadonlyMap<string, SavedGrant> {
    const saved = [...this.#running].map(
      ([id, { facts, pace }]) => [id, { facts, recent: pace?.save() }] as const,
    );
    return new Map(saved);
  }

  get(id: string): GrantFacts | undefined {
    return this.#running.get(id)?.facts;
  }

  ids(): readonly string[] {
    return [...this.#running.keys()];
  }

  /** Those by which an app may use a key that it calls by its id, or by its label. */
  named(app: string, name: string): readonly string[] {
    return [...(this.#named.get(nameOf(app, name)) ?? [])];
  }

  /** Takes the outcome of an activation: each key of the request has become a grant. */
  made(entry: Entry, { owner, keys, scope, specs, labels }: RequestFacts): void {
    const { subject, detail } = entry;
    const { app, maxUses, startsAt, expiresAt, certificate } = detail;
    if (scope === undefined || scope.app !== app || typeof maxUses !== 'number') return;
    const startsAtMs = instantOf(startsAt);
    const expiresAtMs = instantOf(expiresAt);
    if (startsAtMs === undefined || expiresAtMs === undefined) return;
    const terms = {
      recovery: subject.recovery ?? '',
      owner,
      scope,
      maxUses,
      startsAtMs,
      expiresAtMs,
      used: 0,
      certificate: digestOf(certificate),
    };
    for (const [key, grant] of Object.entries(grantsOf(entry))) {
      if (!keys.includes(key) || typeof grant !== 'string' || this.#running.has(grant)) continue;
      const pace = scope.rate === undefined ? undefined : new Pace(scope.rate, TOLERANCE_MS);
      const facts = { ...terms, key, spec: specs.get(key), label: labels.get(key) };
      this.#put(grant, { facts, pace });
    }
  }

  concluded({ act, subject, detail }: Entry): void {
    const id = subject.grant ?? '';
    if (ENDING.has(act)) this.#end(id);
    const grant = act === 'grant.certify' ? this.#running.get(id) : undefined;
    // the first counts, in the record as well
    if (grant === undefined || grant.facts.certificate !== undefined) return;
    grant.facts = { ...grant.facts, certificate: digestOf(detail['certificate']) };
    if (grant.facts.certificate !== undefined) this.#uncertified.delete(id);
  }

  /** Those that have expired at this instant, the earliest first, and those that are used up. */
  over(nowMs: number): readonly string[] {
    return [...new Set([...this.#ends.due(nowMs), ...this.#usedUp])];
  }

  /** Those that have no certificate. */
  uncertified(): readonly string[] {
    return [...this.#uncertified];
  }

  #put(id: string, grant: Running): void {
    const { expiresAtMs, used, maxUses, certificate } = grant.facts;
    this.#running.set(id, grant);
    for (const name of namesOf(grant)) this.#named.set(name, (this.#named.get(name) ?? new Set()).add(id));
    this.#ends.set(id, expiresAtMs);
    if (used >= maxUses) this.#usedUp.add(id);
    if (certificate === undefined) this.#uncertified.add(id);
  }

  #end(id: string): void {
    const grant = this.#running.get(id);
    for (const name of grant === undefined ? [] : namesOf(grant)) {
      const ids = this.#named.get(name);
      ids?.delete(id);
      if (ids?.size === 0) this.#named.delete(name);
    }
    this.#running.delete(id);
    this.#ends.delete(id);
    this.#usedUp.delete(id);
    this.#uncertified.delete(id);
  }

  /** Counts an attempted use, whatever becomes of it, and says why the grant does not allow it, if it does not. */
  use(id: string, { act, actor, subject, detail }: Entry, atMs: number): ErrorCode | undefined {
    const grant = this.#running.get(id);
    if (grant === undefined) return 'grant-unknown';
    const { inputs, mechanism, input } = detail;
    const uses = Array.isArray(inputs) ? inputs.length : 0;
    const facts = { ...grant.facts, used: grant.facts.used + uses };
    grant.facts = facts;
    if (facts.used >= facts.maxUses) this.#usedUp.add(id);
    const isInPace = grant.pace?.take(uses, new Date(atMs)) !== false;
    const { scope } = facts;
    const operation = act === 'grant.sign' ? 'sign' : 'decrypt';
    const isCovered =
      scope.operations.includes(operation) &&
      scope.mechanisms.includes(typeof mechanism === 'string' ? mechanism : '') &&
      (input !== 'digest' || scope.input === 'digest');
    if (scope.app !== actor || facts.key !== subject.key) return 'forbidden';
    if (!isCovered) return 'operation-not-granted';
    if (atMs < facts.startsAtMs - TOLERANCE_MS) return 'grant-not-started';
    if (atMs > facts.expiresAtMs + TOLERANCE_MS) return 'grant-expired';
    if (uses < 1 || facts.used > facts.maxUses) return 'grant-exhausted';
    return isInPace ? undefined : 'grant-rate-exceeded';
  }
}

/** An app has no space in its id. */
function nameOf(app: string, name: string): string {
  return `${app} ${name}`;
}

function namesOf({ facts: { key, label, scope } }: Running): readonly string[] {
  return (label === undefined || label === '' ? [key] : [key, label]).map((name) => nameOf(scope.app, name));
}

/** Which grant came of which key; one for one key, before requests could be for several. */
function grantsOf({ subject, detail }: Entry): Readonly<Record<string, unknown>> {
  const { grants } = detail;
  if (isMap(grants)) return grants;
  return subject.key === undefined ? {} : { [subject.key]: subject.grant };
}

function digestOf(certificate: Json | undefined): string | undefined {
  return typeof certificate === 'string' ? sha256Hex(certificate) : undefined;
}

function isMap(value: Json | undefined): value is Readonly<Record<string, Json>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function instantOf(fact: unknown): number | undefined {
  const ms = Date.parse(typeof fact === 'string' ? fact : '');
  return Number.isNaN(ms) ? undefined : ms;
}
