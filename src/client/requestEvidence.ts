import { z } from 'zod';

import type { Json } from '../log/canonical.js';
import type { Entry } from '../log/entry.js';
import type { Documents } from '../log/verifier.js';
import { policyAct } from '../log/verifier.js';
import { actFits, ACTS_OF_CALLERS } from './actRoutes.js';
import type { Jwk, ParsedJws } from './jws.js';
import { jwkThumbprint, jwsHolds, parseJws } from './jws.js';
import type { PublicPart } from './publicPart.js';
import { REQUEST_TYPE } from './requestSignature.js';

/** How far the clocks of callers and server may be apart, and how long an act may wait before it is recorded. */
const TOLERANCE_MS = 300_000;

/** What is known besides the export. */
export interface RequestEvidenceOptions {
  /** The log's origin: requests are for this server. */
  readonly origin: string;
  /** The first administrators, from their own `public.json`, for entries before the first document is in force. */
  readonly bootstrap: readonly PublicPart[];
}

/** What of the requests has been looked at. */
export interface RequestCounts {
  /** Requests whose signature was verified. */
  readonly verified: number;
  /** Requests from before the first document, by keys that are not known. */
  readonly unknown: number;
}

/**
 * Checks that every act in the log was asked for by whom the log says: the caller's own signed request stands in the
 * entry, is signed by a key that the directory in force gives to that principal, is for this server, for this act on
 * this thing, at this time, and stands once. So a server cannot invent an act, nor use one request for two.
 */
export class RequestEvidence {
  readonly #options: RequestEvidenceOptions;
  readonly #bootstrap: Keys;
  readonly #seen = new SeenRequests();
  #inForce: Keys | undefined;
  #before: Keys | undefined;
  #document: Json | undefined;
  #changedAtMs = 0;
  #counts = { verified: 0, unknown: 0 };

  constructor(options: RequestEvidenceOptions) {
    this.#options = options;
    this.#bootstrap = new Map(options.bootstrap.map(({ id, keys }) => [id, keysOf(keys)]));
  }

  get counts(): RequestCounts {
    return { ...this.#counts };
  }

  /** For `VerifierOptions.checkEntry`: why the entry is refused, if it is. */
  readonly check = (entry: Entry, _index: number, documents: Documents): string | undefined => {
    this.#follow(documents);
    const reason = this.#judge(entry);
    if (entry.act === policyAct && entry.phase === 'done') this.#changedAtMs = Date.parse(entry.time);
    return reason;
  };

  #follow({ inForce }: Documents): void {
    if (inForce === undefined || inForce === this.#document) return;
    this.#document = inForce;
    this.#before = this.#inForce ?? this.#bootstrap;
    this.#inForce = directoryOf(inForce);
  }

  #judge(entry: Entry): string | undefined {
    const stands = entry.phase === 'attempted' || (entry.phase === 'denied' && entry.request !== undefined);
    if (!stands) return undefined;
    if (entry.request === undefined) {
      return ACTS_OF_CALLERS.has(entry.act)
        ? `${entry.act} by ${entry.actor} without a signed request`
        : undefined;
    }
    const jws = parseJws(entry.request);
    if (jws?.header['typ'] !== REQUEST_TYPE) return 'its request is not a signed request';
    return this.#checkSignature(entry, jws) ?? this.#checkClaims(entry, jws);
  }

  #checkSignature(entry: Entry, jws: ParsedJws): string | undefined {
    const known = this.#keysOf(entry, jws);
    if (known === undefined) {
      this.#counts.unknown += 1;
      return undefined;
    }
    const key = known.find(({ thumbprint }) => thumbprint === jws.header['kid']);
    if (key === undefined) return `its request is not signed by a key of ${entry.actor}`;
    if (!jwsHolds(jws, key)) return `the signature of ${entry.actor} on its request does not hold`;
    this.#counts.verified += 1;
    return undefined;
  }

  /** The keys that the actor had when the request was made; undefined when nothing is known of that time. */
  #keysOf(entry: Entry, jws: ParsedJws): readonly Key[] | undefined {
    if (this.#inForce === undefined) {
      return this.#bootstrap.size === 0 ? undefined : (this.#bootstrap.get(entry.actor) ?? []);
    }
    const now = this.#inForce.get(entry.actor) ?? [];
    // a request that was accepted just before the directory changed may be recorded just after
    const iatMs = Number(jws.payload['iat']) * 1000;
    const overlaps =
      iatMs <= this.#changedAtMs + 1000 && Date.parse(entry.time) - this.#changedAtMs <= TOLERANCE_MS;
    if (!overlaps) return now;
    if (this.#before === undefined || this.#before.size === 0) return now.length === 0 ? undefined : now;
    return [...now, ...(this.#before.get(entry.actor) ?? [])];
  }

  #checkClaims(entry: Entry, jws: ParsedJws): string | undefined {
    // refused because of what the request says: what it says is then not expected to fit
    if (entry.phase === 'denied' && (entry.error ?? '').startsWith('request-')) return undefined;
    const claims = claimsSchema.safeParse(jws.payload);
    if (!claims.success) return 'its request lacks what a signed request says';
    const { iss, aud, iat, exp, jti, htm, htu } = claims.data;
    if (iss !== entry.actor) return `its request is by ${iss}, not by ${entry.actor}`;
    if (aud !== this.#options.origin) return 'its request is for another server';
    if (!actFits(entry, htm, htu)) return `its request (${htm} ${htu}) is for another act or another thing`;
    const timeMs = Date.parse(entry.time);
    if (iat * 1000 - TOLERANCE_MS > timeMs || timeMs > exp * 1000 + TOLERANCE_MS) {
      return 'its request is of another time';
    }
    const isNew = this.#seen.add(`${String(jws.header['kid'])} ${jti}`, exp * 1000, timeMs);
    return isNew ? undefined : 'its request stands in the log before: it was used twice';
  }
}

const claimsSchema = z.object({
  iss: z.string(),
  aud: z.string(),
  iat: z.int(),
  exp: z.int(),
  jti: z.string(),
  htm: z.string(),
  htu: z.string(),
});

interface Key {
  readonly jwk: Jwk;
  readonly alg: 'ES256' | 'ES384' | 'EdDSA' | 'PS256';
  readonly thumbprint: string;
}
type Keys = ReadonlyMap<string, readonly Key[]>;

const directorySchema = z.object({
  principals: z.array(z.object({ id: z.string(), keys: z.array(z.record(z.string(), z.string())) })),
});
const algorithmSchema = z.enum(['ES256', 'ES384', 'EdDSA', 'PS256']);

function directoryOf(document: Json): Keys {
  const directory = directorySchema.safeParse(document);
  if (!directory.success) return new Map();
  return new Map(directory.data.principals.map(({ id, keys }) => [id, keysOf(keys)]));
}

function keysOf(jwks: readonly Jwk[]): readonly Key[] {
  return jwks.flatMap((jwk) => {
    const alg = algorithmSchema.safeParse(jwk['alg']);
    const thumbprint = jwkThumbprint(jwk);
    return alg.success && thumbprint !== undefined ? [{ jwk, alg: alg.data, thumbprint }] : [];
  });
}

/** Requests that could still be used again; older ones are refused for their time, and need not be remembered. */
class SeenRequests {
  readonly #expiryMs = new Map<string, number>();
  #sweptAtMs = 0;

  /** Whether it is new. */
  add(request: string, expMs: number, nowMs: number): boolean {
    if (nowMs - this.#sweptAtMs > TOLERANCE_MS) this.#sweep(nowMs);
    if (this.#expiryMs.has(request)) return false;
    this.#expiryMs.set(request, expMs);
    return true;
  }

  #sweep(nowMs: number): void {
    this.#sweptAtMs = nowMs;
    for (const [request, expMs] of this.#expiryMs) {
      if (nowMs > expMs + 2 * TOLERANCE_MS) this.#expiryMs.delete(request);
    }
  }
}
