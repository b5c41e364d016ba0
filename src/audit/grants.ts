import { z } from 'zod';

import { type Json, canonicalJson } from '../log/entry/canonical.js';
import type { Entry } from '../log/entry/entry.js';
import { TOLERANCE_MS } from './directoryInForce.js';
import type { LateEnds } from './lateEnds.js';
import { Pace } from '../escrow/logged/pace.js';
import { type Jwk, jwsHolds, parseJws } from '../jose/jws.js';
import { endsRequest, isMapOf } from './recoveries.js';
import { GRANT_TYPE } from '../escrow/records/statementTypes.js';

interface Allowed {
  readonly key: string;
  readonly label: string | undefined;
  readonly recovery: string | undefined;
  readonly scope: AskedScope;
  readonly startMs: number;
  /** As its making said, whenever it ended. */
  readonly untilMs: number;
  readonly pace: Pace | undefined;
  left: number;
  /** When it ended, by the log or by the clock. */
  endMs: number;
}

const limits = { app: z.string(), maxUses: z.int().min(0) };
const scopeSchema = z.object({
  ...limits,
  operations: z.array(z.string()),
  mechanisms: z.array(z.string()),
  durationMs: z.int().min(0),
  rate: z.object({ uses: z.int().min(0), perMs: z.int().min(1) }).nullish(),
  notBefore: z.iso.datetime().nullish(),
  notAfter: z.iso.datetime().nullish(),
});
const grantSchema = z.object({ ...limits, startsAt: z.iso.datetime(), expiresAt: z.iso.datetime() });

/** A scope, and its canonical JSON; see {@link scopeText}. */
type AskedScope = z.infer<typeof scopeSchema> & { readonly text: string };

const certificateSchema = z.strictObject({
  iss: z.string(),
  aud: z.string(),
  iat: z.int(),
  recovery: z.string(),
  grants: z.record(z.string(), z.string()),
  scope: z.record(z.string(), z.json()),
  start: z.iso.datetime(),
  end: z.iso.datetime(),
});

/** By whom certificates are. */
export interface CertifiedBy {
  readonly origin: string;
  /** The C2SP verifier key of the log. */
  readonly logKey: string;
  /** The token's identity key, where it is pinned: without it, what certificates say is checked, and not who says it. */
  readonly identityKey: Jwk | undefined;
}

interface Asked {
  readonly scope: AskedScope;
  readonly keys: readonly string[];
  /** By key; none where the request did not say it. */
  readonly labels: ReadonlyMap<string, string>;
}

/** So many different scopes are shared between the requests and grants that have the same. */
const SHARED_SCOPES = 1000;

/**
 * Checks that grants were used within what they allow: each was made of a request that asked for its key and app, one for
 * each key, for no fewer uses and for as long, and is used by that app with that key, as was asked for, while it stands, at
 * most so often and so fast. Uses count when they are attempted, whatever becomes of them. A certificate of grants is by the
 * token's identity key, as far as that is known, and says of them what the log says.
 *
 * Remembers requests and grants that have not ended, and those that ended lately.
 */
export class GrantEvidence {
  readonly #asked = new Map<string, Asked>();
  readonly #grants = new Map<string, Allowed>();
  readonly #scopes = new Map<string, AskedScope>();
  #sweptAtMs = 0;
  readonly #by: CertifiedBy;
  readonly #lateEnds: Pick<LateEnds, 'has'>;

  constructor(by: CertifiedBy, lateEnds: Pick<LateEnds, 'has'>) {
    this.#by = by;
    this.#lateEnds = lateEnds;
  }

  /** Why this entry is refused, if it is. */
  check(entry: Entry): string | undefined {
    const { act, phase, subject, detail, time } = entry;
    const atMs = Date.parse(time);
    if (atMs - this.#sweptAtMs > TOLERANCE_MS) this.#sweep(atMs);
    if (act === 'recovery.request' && phase === 'attempted' && subject.recovery !== undefined) {
      const scope = this.#scopeOf(detail['scope']);
      if (scope !== undefined) {
        const asked = { scope, keys: subject.keys ?? [], labels: labelsIn(detail['descriptions']) };
        this.#asked.set(subject.recovery, asked);
      }
    }
    if (act === 'recovery.activate' && phase === 'done') return this.#checkMade(entry, atMs);
    if (act === 'grant.certify' && phase === 'done') return this.#checkCertified(entry);
    if (subject.recovery !== undefined && endsRequest(entry)) this.#asked.delete(subject.recovery);
    if ((act === 'grant.sign' || act === 'grant.decrypt') && phase === 'attempted') {
      return this.#checkUse(entry, atMs);
    }
    this.#end(entry, atMs);
    return undefined;
  }

  /** The label of the key that a grant is for, while it is remembered. */
  labelOf(grant: string): string | undefined {
    return this.#grants.get(grant)?.label;
  }

  /** Takes an outcome that its act had before, as far as it ends something. */
  ended(entry: Entry): void {
    const { recovery = '' } = entry.subject;
    if (endsRequest(entry)) this.#asked.delete(recovery);
    this.#end(entry, Date.parse(entry.time));
  }

  #end({ act, phase, subject }: Entry, atMs: number): void {
    const isEnd = act === 'grant.revoke' || act === 'grant.expire' || act === 'grant.exhaust';
    const ended = isEnd && phase === 'done' ? this.#grants.get(subject.grant ?? '') : undefined;
    if (ended !== undefined) ended.endMs = Math.min(ended.endMs, atMs);
  }

  #checkMade({ subject, detail }: Entry, atMs: number): string | undefined {
    const made = grantSchema.safeParse(detail);
    if (!made.success) return 'a grant is made without saying what it allows';
    const { app, maxUses } = made.data;
    const found = this.#asked.get(subject.recovery ?? '');
    // under way when the request ended: no daemon takes a grant of it for one, and no use of one is believed
    if (found === undefined && this.#lateEnds.has(subject.recovery ?? '')) return undefined;
    if (found === undefined) return 'a grant is made that nobody has asked for';
    this.#asked.delete(subject.recovery ?? '');
    const { scope: asked, keys, labels } = found;
    if (asked.app !== app) return `the grant is for ${app}, and was asked for ${asked.app}`;
    if (maxUses > asked.maxUses) {
      return `the grant allows ${maxUses} uses, and ${asked.maxUses} were asked for`;
    }
    const { startsAt, expiresAt } = made.data;
    const [startMs, endMs] = [Date.parse(startsAt), Date.parse(expiresAt)];
    if (startMs < instantOr(asked.notBefore, -Infinity)) {
      return `the grant starts at ${startsAt}, which is earlier than was asked for`;
    }
    // the duration is counted from activation, wherever the grant starts
    const lastsMs = atMs + asked.durationMs + TOLERANCE_MS;
    if (endMs > Math.min(lastsMs, instantOr(asked.notAfter, Infinity))) {
      return `the grant stands until ${expiresAt}, which is longer than was asked for`;
    }
    const { grants, certificate } = detail;
    if (!isMapOf(grants, keys)) return 'grants are made for other keys than were asked for';
    for (const [key, grant] of Object.entries(grants)) {
      if (typeof grant !== 'string') return 'a grant is made without saying which';
      if (this.#grants.has(grant)) return `the grant for ${key} stands already`;
      const pace = asked.rate == null ? undefined : new Pace(asked.rate, TOLERANCE_MS); // each counts by itself
      const { recovery } = subject;
      const untilMs = endMs;
      const limits = { scope: asked, startMs, untilMs, pace, left: maxUses, endMs };
      this.#grants.set(grant, { key, label: labels.get(key), recovery, ...limits });
    }
    if (certificate === undefined) return undefined; // from before there were any
    return this.#checkCertificate(certificate, grants, subject.recovery);
  }

  /** A grant from before there were certificates was given one. */
  #checkCertified({ subject, detail }: Entry): string | undefined {
    const { grant, key, recovery } = subject;
    const { certificate = null } = detail;
    if (grant === undefined || key === undefined) return 'a certificate is given without saying of what';
    return this.#checkCertificate(certificate, { [key]: grant }, recovery);
  }

  #checkCertificate(
    certificate: Json,
    grants: Readonly<Record<string, Json>>,
    recovery: string | undefined,
  ): string | undefined {
    const jws = typeof certificate === 'string' ? parseJws(certificate) : undefined;
    const said = certificateSchema.safeParse(jws?.payload).data;
    if (jws?.header['typ'] !== GRANT_TYPE || said === undefined) return 'a certificate of grants is none';
    const { identityKey, origin, logKey } = this.#by;
    if (identityKey !== undefined && !jwsHolds(jws, { jwk: identityKey, alg: 'ES256' })) {
      return 'a certificate of grants is not signed by the identity key';
    }
    const isOfThese =
      said.iss === origin &&
      said.aud === logKey &&
      said.recovery === recovery &&
      canonicalJson(said.grants) === canonicalJson(grants);
    if (!isOfThese) return 'a certificate is of other grants';
    for (const [key, id] of Object.entries(said.grants)) {
      const grant = this.#grants.get(id);
      if (grant === undefined) continue; // it ended long before it was given one
      const isAsMade =
        grant.key === key &&
        grant.recovery === recovery &&
        grant.scope.text === scopeText(said.scope) &&
        grant.startMs === Date.parse(said.start) &&
        grant.untilMs === Date.parse(said.end);
      if (!isAsMade) return `the certificate of ${id} says something else than the log says of it`;
    }
    return undefined;
  }

  #checkUse({ act, actor, subject, detail }: Entry, atMs: number): string | undefined {
    const grant = this.#grants.get(subject.grant ?? '');
    if (grant === undefined) return `${act} under a grant that was not made, or has ended`;
    if (grant.key !== subject.key) return `${act} with another key than the grant is for`;
    const { app, operations, mechanisms } = grant.scope;
    if (app !== actor) return `${act} by ${actor} under a grant of ${app}`;
    // a use is recorded after it was decided, and so never before the start
    if (atMs < grant.startMs) return `${act} before its grant had started`;
    // acts that were under way together may be recorded in another order than they were decided
    if (atMs > grant.endMs + TOLERANCE_MS) return `${act} after its grant had ended`;
    const { inputs, mechanism } = detail;
    if (!operations.includes(act === 'grant.sign' ? 'sign' : 'decrypt')) {
      return `${act} under a grant that does not allow it`;
    }
    if (typeof mechanism !== 'string' || !mechanisms.includes(mechanism)) {
      return `${act} by a mechanism that its grant does not allow`;
    }
    if (!Array.isArray(inputs) || inputs.length === 0) return `${act} does not say of what`;
    grant.left -= inputs.length;
    if (grant.left < 0) return `${act} beyond the uses that its grant allows`;
    const isInPace = grant.pace?.take(inputs.length, new Date(atMs)) !== false;
    return isInPace ? undefined : `${act} faster than its grant allows`;
  }

  /** One value for all scopes that are the same, as far as there are not too many of them. */
  #scopeOf(asked: Json | undefined): AskedScope | undefined {
    const name = canonicalJson(asked ?? null);
    const known = this.#scopes.get(name);
    if (known !== undefined) return known;
    const found = scopeSchema.safeParse(asked).data;
    const scope = found === undefined ? undefined : { ...found, text: scopeText(asked) };
    if (this.#scopes.size >= SHARED_SCOPES) this.#scopes.clear();
    if (scope !== undefined) this.#scopes.set(name, scope);
    return scope;
  }

  #sweep(nowMs: number): void {
    this.#sweptAtMs = nowMs;
    for (const [id, { endMs }] of this.#grants) if (nowMs > endMs + 2 * TOLERANCE_MS) this.#grants.delete(id);
  }
}

const describedSchema = z.record(z.string(), z.object({ label: z.string() }));

/** The labels of keys, as a request describes them. */
function labelsIn(descriptions: Json | undefined): ReadonlyMap<string, string> {
  const described = Object.entries(describedSchema.safeParse(descriptions).data ?? {});
  return new Map(described.map(([key, { label }]) => [key, label]));
}

/** The canonical JSON of a scope, without what it does not limit: older entries leave that out where newer ones say null. */
function scopeText(scope: Json | undefined): string {
  const members = Object.entries((scope ?? {}) as Readonly<Record<string, Json>>);
  return canonicalJson(Object.fromEntries(members.filter(([, value]) => value !== null)));
}

function instantOr(instant: string | null | undefined, otherwise: number): number {
  return instant == null ? otherwise : Date.parse(instant);
}
