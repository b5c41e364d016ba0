import { isForLog } from '../log/note/audience.js';
import { z } from 'zod';

import type { Entry } from '../log/entry/entry.js';
import { standsAlone } from '../log/export/actPairing.js';
import type { Objection } from '../log/export/verifier.js';
import { actFits, ACTS_BY_CERTIFICATE, ACTS_OF_CALLERS, READS_BY_CERTIFICATE } from './askedActs.js';
import { type DirectoryInForce, TOLERANCE_MS } from './directoryInForce.js';
import { clamped, DigestTable } from './digestTable.js';
import { type ParsedJws, jwsHolds, parseJws } from '../jose/jws.js';
import { REQUEST_TYPE } from '../escrow/records/statementTypes.js';

/** What of the requests has been looked at. */
export interface RequestCounts {
  /** Requests whose signature was verified. */
  readonly verified: number;
  /** Calls by client certificate: the server says so, and no signature of the app is there to verify. */
  readonly certified: number;
  /** Requests from before the first document, by keys that are not known. */
  readonly unknown: number;
  /** Refusals that are counted in the entry of one of them, which stands for all. */
  readonly together: number;
}

/**
 * Checks that every act in the log was asked for by whom the log says: the caller's own signed request stands in the
 * entry, is signed by a key that the directory in force gives to that principal, is for this server, for this act on
 * this thing, at this time, and stands once. So a server cannot invent an act, nor use one request for two. The exception is
 * what an app with a client certificate signs and decrypts under its grants: that the server says, within the grants.
 */
export class RequestEvidence {
  readonly #logKey: string;
  readonly #directory: DirectoryInForce;
  readonly #labelOf: (grant: string) => string | undefined;
  readonly #seen = new SeenRequests();
  #counts = { verified: 0, certified: 0, unknown: 0, together: 0 };

  /** `logKey`: the C2SP verifier key of the log, which requests are for. `grants` know the label of the key that each is for. */
  constructor(
    logKey: string,
    directory: DirectoryInForce,
    grants: { labelOf(grant: string): string | undefined },
  ) {
    this.#logKey = logKey;
    this.#directory = directory;
    this.#labelOf = (grant) => grants.labelOf(grant);
  }

  get counts(): RequestCounts {
    return { ...this.#counts };
  }

  /** Why the request of this entry is refused, if it is. */
  check(entry: Entry): Objection | undefined {
    return this.#checkRequest(entry) ?? (standsAlone(entry) ? this.#checkRefusal(entry) : undefined);
  }

  /** A refusal has nothing to say of its own, but for how many there were. */
  #checkRefusal({ detail }: Entry): string | undefined {
    const said = refusalSchema.safeParse(detail);
    if (!said.success) return 'says more than that a call was refused';
    this.#counts.together += said.data.together?.refusals ?? 0;
    return undefined;
  }

  #checkRequest(entry: Entry): Objection | undefined {
    const { phase, request, certificate, act, actor } = entry;
    if (certificate !== undefined) return this.#checkCertificate(entry, certificate);
    if (phase !== 'attempted' && !(phase === 'denied' && request !== undefined)) return undefined;
    if (request === undefined) {
      return ACTS_OF_CALLERS.has(act)
        ? { invented: `${act} by ${actor} without a signed request` }
        : undefined;
    }
    const jws = parseJws(request);
    if (jws?.header['typ'] !== REQUEST_TYPE) return { invented: 'its request is not a signed request' };
    return this.#checkSignature(entry, jws) ?? this.#checkClaims(entry, jws);
  }

  /**
   * Without a signature an app may only use its grants and read of them, and only by a certificate of its own. A use is recorded in the
   * transaction that finds the certificate bound; a refusal may come just after the policy has changed.
   */
  #checkCertificate({ act, actor, phase, time }: Entry, certificate: string): Objection | undefined {
    const isOpen = ACTS_BY_CERTIFICATE.has(act) || (phase === 'denied' && READS_BY_CERTIFICATE.has(act));
    if (!isOpen) return { invented: `${act} by ${actor} with a certificate in place of a signed request` };
    const isBound =
      phase === 'attempted'
        ? this.#directory.binds(certificate, actor)
        : this.#directory.boundLately(certificate, actor, time);
    if (!isBound) {
      const reason = `its certificate is not one of ${actor}`;
      return this.#directory.hasBound(certificate, actor) ? reason : { invented: reason };
    }
    this.#counts.certified += 1;
    return undefined;
  }

  #checkSignature(entry: Entry, jws: ParsedJws): Objection | undefined {
    const { actor, time } = entry;
    // refused for its time, perhaps: when it was recorded is what counts
    const iat = standsAlone(entry) ? 0 : Number(jws.payload['iat']);
    const known = this.#directory.keysOf(actor, iat, time);
    if (known === undefined) {
      this.#counts.unknown += 1;
      return undefined;
    }
    const { kid } = jws.header;
    const key = known.find(({ thumbprint }) => thumbprint === kid);
    const former = key ?? this.#directory.formerKeysOf(actor).find(({ thumbprint }) => thumbprint === kid);
    if (former === undefined) return { invented: `its request is not signed by a key of ${actor}` };
    if (!jwsHolds(jws, former)) return { invented: `the signature of ${actor} on its request does not hold` };
    if (key === undefined) return `its request is not signed by a key of ${actor} any more`;
    this.#counts.verified += 1;
    return undefined;
  }

  #checkClaims(entry: Entry, jws: ParsedJws): Objection | undefined {
    // refused because of what the request says: what it says is then not expected to fit
    if (entry.phase === 'denied' && (entry.error ?? '').startsWith('request-')) return undefined;
    const claims = claimsSchema.safeParse(jws.payload);
    if (!claims.success) return { invented: 'its request lacks what a signed request says' };
    const { iss, aud, iat, exp, htm, htu } = claims.data;
    if (iss !== entry.actor) return { invented: `its request is by ${iss}, not by ${entry.actor}` };
    if (!isForLog(aud, this.#logKey)) return { invented: 'its request is for another server' };
    if (!actFits(entry, { method: htm, target: htu }, this.#labelOf))
      return { invented: `its request (${htm} ${htu}) is for another act or another thing` };
    const timeMs = Date.parse(entry.time);
    if (iat * 1000 - TOLERANCE_MS > timeMs || timeMs > exp * 1000 + TOLERANCE_MS) {
      return { invented: 'its request is of another time' };
    }
    // by what was signed: a caller who takes one jti for two requests, long after each other, has signed two
    const isNew = this.#seen.add(jws.signingInput, exp * 1000, timeMs);
    return isNew ? undefined : 'its request stands in the log before: it was used twice';
  }
}

const counted = z.record(z.string(), z.int().min(1));
const refusalSchema = z.strictObject({
  together: z.exactOptional(
    z.strictObject({
      refusals: z.int().min(1),
      since: z.iso.datetime(),
      until: z.iso.datetime(),
      of: z.record(z.string(), counted),
    }),
  ),
});

const claimsSchema = z.object({
  iss: z.string(),
  aud: z.string(),
  iat: z.int(),
  exp: z.int(),
  jti: z.string(),
  htm: z.string(),
  htu: z.string(),
  ik: z.string().optional(),
});

/** Requests that could still be used again; older ones are refused for their time, and need not be remembered. */
class SeenRequests {
  /** When each expires, in seconds. */
  readonly #expiry = new DigestTable();
  #sweptAtMs = 0;

  /** Whether it is new. */
  add(request: string, expMs: number, nowMs: number): boolean {
    if (nowMs - this.#sweptAtMs > TOLERANCE_MS) this.#sweep(nowMs);
    if (this.#expiry.get(request) !== undefined) return false;
    this.#expiry.set(request, clamped(Math.ceil(expMs / 1000)));
    return true;
  }

  #sweep(nowMs: number): void {
    this.#sweptAtMs = nowMs;
    this.#expiry.retain((exp) => nowMs <= exp * 1000 + 2 * TOLERANCE_MS);
  }
}
