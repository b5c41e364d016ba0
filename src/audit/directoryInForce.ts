import { z } from 'zod';

import { POLICY_QUORUM } from '../escrow/rules/policySignatures.js';
import type { SigningKey } from '../escrow/records/principals.js';
import type { Json } from '../log/entry/canonical.js';
import { documentHash } from '../log/export/format.js';
import type { Documents } from '../log/export/verifier.js';
import { type Jwk, jwkThumbprint } from '../jose/jws.js';
import type { PublicPart } from '../client/identity/publicPart.js';

/** How far the clocks of callers and server may be apart, and how long an act may wait before it is recorded. */
export const TOLERANCE_MS = 300_000;

/** How far ahead of the server's a caller's clock may be: the server takes 5 seconds, and `iat` is in whole ones. */
const AHEAD_MS = 6000;

/**
 * Who had which keys, as the log goes by: from the directory documents in force, and before the first of them from the
 * public parts of the first administrators, where they are given.
 */
export class DirectoryInForce {
  readonly #bootstrap: Directory;
  #document: Json | undefined;
  #now: Directory | undefined;
  #before: Directory | undefined;
  #changedAtMs = 0;
  #quorum = POLICY_QUORUM;
  #hash: string | undefined;
  readonly #formerKeys = new Map<string, readonly SigningKey[]>();
  readonly #formerCertificates = new Map<string, ReadonlySet<string>>();

  constructor(bootstrap: readonly PublicPart[]) {
    this.#bootstrap = new Map(
      bootstrap.map(({ id, keys }) => [id, { isAdmin: true, keys: keysOf(keys), certificates: [] }]),
    );
  }

  /** Takes note of the documents that the next entry sees. */
  follow({ inForce }: Documents): void {
    if (inForce === undefined || inForce === this.#document) return;
    this.#document = inForce;
    this.#before = this.#now ?? this.#bootstrap;
    this.#now = directoryOf(inForce);
    this.#noteFormer(this.#before, this.#now);
    this.#quorum = quorumOf(inForce);
    this.#hash = documentHash(inForce);
  }

  /** Takes note of when the document that the next entry will see came into force. */
  changed(time: string): void {
    this.#changedAtMs = Date.parse(time);
  }

  /**
   * The keys that a principal had when it made a request at `iat` (seconds) that was recorded at `time`; undefined when
   * nothing is known of that time.
   */
  keysOf(id: string, iat: number, time: string): readonly SigningKey[] | undefined {
    if (this.#now === undefined) return this.#bootstrap.size === 0 ? undefined : keysIn(this.#bootstrap, id);
    const now = keysIn(this.#now, id);
    // in logs of older versions, a request that was accepted just before the directory changed may be recorded just after
    const overlaps =
      iat * 1000 <= this.#changedAtMs + AHEAD_MS && Date.parse(time) - this.#changedAtMs <= TOLERANCE_MS;
    if (!overlaps || this.#before === undefined) return now;
    if (this.#before.size === 0 && now.length === 0) return undefined;
    return [...now, ...keysIn(this.#before, id)];
  }

  /** Whether the document in force lists the key with this thumbprint (RFC 7638) for a principal; it does while none is known. */
  lists(id: string, kid: string): boolean {
    return this.#now === undefined || keysIn(this.#now, id).some(({ thumbprint }) => thumbprint === kid);
  }

  /** Whether the document in force binds this client certificate to this app. */
  binds(certificate: string, id: string): boolean {
    return this.#now?.get(id)?.certificates.includes(certificate) === true;
  }

  /** The same at `time`, or by the document before when that was in force until just then. */
  boundLately(certificate: string, id: string, time: string): boolean {
    if (this.binds(certificate, id)) return true;
    const isFresh = Date.parse(time) - this.#changedAtMs <= TOLERANCE_MS;
    return isFresh && this.#before?.get(id)?.certificates.includes(certificate) === true;
  }

  /** The keys that earlier documents have listed for a principal, of those that the one after them did not. */
  formerKeysOf(id: string): readonly SigningKey[] {
    return this.#formerKeys.get(id) ?? [];
  }

  /** Whether an earlier document bound this client certificate to this app. */
  hasBound(certificate: string, id: string): boolean {
    return this.#formerCertificates.get(id)?.has(certificate) === true;
  }

  #noteFormer(before: Directory, now: Directory): void {
    for (const [id, { keys, certificates }] of before) {
      const listed = now.get(id);
      const gone = keys.filter(
        ({ thumbprint }) => !keysIn(now, id).some((key) => key.thumbprint === thumbprint),
      );
      if (gone.length > 0) this.#formerKeys.set(id, [...this.formerKeysOf(id), ...gone]);
      const unbound = certificates.filter((one) => listed?.certificates.includes(one) !== true);
      if (unbound.length > 0)
        this.#formerCertificates.set(id, new Set([...(this.#formerCertificates.get(id) ?? []), ...unbound]));
    }
  }

  /** How many administrators must sign the next document. */
  get quorum(): number {
    return this.#quorum;
  }

  /** The hash of the document in force; undefined before the first. */
  get hash(): string | undefined {
    return this.#hash;
  }

  /** The administrators and their keys; undefined when nothing is known of this time. */
  get administrators(): ReadonlyMap<string, readonly SigningKey[]> | undefined {
    const directory = this.#now ?? (this.#bootstrap.size === 0 ? undefined : this.#bootstrap);
    if (directory === undefined) return undefined;
    return new Map([...directory].filter(([, { isAdmin }]) => isAdmin).map(([id, { keys }]) => [id, keys]));
  }
}

type Directory = ReadonlyMap<string, Listed>;

interface Listed {
  readonly isAdmin: boolean;
  readonly keys: readonly SigningKey[];
  /** Of an app: client certificates, as `x5t#S256`. */
  readonly certificates: readonly string[];
}

const directorySchema = z.object({
  principals: z.array(
    z.object({
      id: z.string(),
      roles: z.array(z.string()),
      kind: z.string(),
      keys: z.array(z.record(z.string(), z.string())),
      certificates: z.array(z.string()).default([]),
    }),
  ),
});
const administrationSchema = z.object({ administration: z.object({ quorum: z.int().min(POLICY_QUORUM) }) });
const algorithmSchema = z.enum(['ES256', 'ES384', 'EdDSA', 'PS256']);

function directoryOf(document: Json): Directory {
  const directory = directorySchema.safeParse(document);
  if (!directory.success) return new Map();
  return new Map(
    directory.data.principals.map(({ id, roles, kind, keys, certificates }) => [
      id,
      {
        isAdmin: roles.includes('admin'),
        keys: keysOf(keys),
        certificates: kind === 'app' ? certificates : [],
      },
    ]),
  );
}

function quorumOf(document: Json): number {
  const found = administrationSchema.safeParse(document);
  return found.success ? found.data.administration.quorum : POLICY_QUORUM;
}

function keysIn(directory: Directory, id: string): readonly SigningKey[] {
  return directory.get(id)?.keys ?? [];
}

function keysOf(jwks: readonly Jwk[]): readonly SigningKey[] {
  return jwks.flatMap((jwk) => {
    const alg = algorithmSchema.safeParse(jwk['alg']);
    const thumbprint = jwkThumbprint(jwk);
    return alg.success && thumbprint !== undefined ? [{ jwk, alg: alg.data, thumbprint }] : [];
  });
}
