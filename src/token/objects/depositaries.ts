import pkcs11 from 'pkcs11js';
import type { Handle, PKCS11 } from 'pkcs11js';
import type { Template } from '../cryptoki/attributes.js';
import { EscrowError } from '../../escrow/records/errors.js';
import { type PrincipalId, parsePrincipalId } from '../../escrow/records/ids.js';
import type { EnrolledDepositary } from '../../escrow/ports/token.js';
import type { ServerForVersion } from '../../escrow/records/deposit.js';
import { hasNested } from './objectCheck.js';
import { type ObjectName, objectNames, readServerForLabel } from './objectNames.js';
import { findAll, readBytes, readRsaSpki } from './objects.js';
import type { TokenProfile } from '../profile/profile.js';
import { fingerprint } from '../cryptoki/spki.js';
import type { LookAtDepositaries, NewestPairs, OpenParts } from './openParts.js';

/** Which trusted key: a depositary's own, or the public half of the server's pair regarding one. */
export type TrustedLabel = `depositary:${PrincipalId}` | `server-for:${string}`;

/** The trusted key of a label; where it must be a certain one, with its fingerprint: SHA-256 (hex). */
export interface SoughtKey {
  readonly label: TrustedLabel;
  readonly fingerprint?: string;
}

/**
 * The trusted public key of this label, to wrap under; `depositary-not-enrolled` when there is none, or another one by now. The
 * token shows it as trusted (where it can), its CKA_ID must be the SHA-256 of its SubjectPublicKeyInfo, and no second one
 * may claim the name.
 */
export async function trustedKey(
  parts: OpenParts,
  { label, fingerprint: wanted }: SoughtKey,
): Promise<Handle> {
  // what is remembered may be of before: another one is not it, and it is looked for
  for (let attempt = 0; attempt < 2; attempt += 1) {
    const found = await parts.objects.find(recipient(parts, label), (session, handle) =>
      readChecked(parts.driver, session, handle, label),
    );
    if (found === undefined) break;
    const { publicKey = Buffer.alloc(0) } = found;
    if (wanted === undefined || fingerprint(publicKey).toString('hex') === wanted) return found.handle;
    forgetTrustedKey(parts, label);
  }
  await parts.health.check();
  throw new EscrowError('depositary-not-enrolled');
}

/** Forgets what was remembered of a trusted key, after a failed use. */
export function forgetTrustedKey(parts: OpenParts, label: string): void {
  parts.serverPairs.last = undefined;
  parts.objects.forget(recipient(parts, label));
}

/** The newest of the server's pairs regarding each depositary, as the last look at the token found it, and that look. */
export class ServerPairs implements NewestPairs {
  readonly #newest = new Map<PrincipalId, ServerForVersion>();
  last: LookAtDepositaries | undefined;

  /** The version of the newest; looks at the token when it is not known. Throws `depositary-not-enrolled` when there is none. */
  async newest(parts: OpenParts, id: PrincipalId): Promise<ServerForVersion> {
    if (!this.#newest.has(id)) await enrolledDepositaries(parts);
    if (!this.#newest.has(id)) throw new EscrowError('depositary-not-enrolled');
    return this.#newest.get(id);
  }

  remember(id: PrincipalId, version: ServerForVersion): void {
    this.#newest.set(id, version);
  }

  forget(id: PrincipalId): void {
    this.#newest.delete(id);
  }
}

/**
 * The depositaries with whom the token can deal now: a trusted key of their own, and the server's newest pair regarding
 * them, each once. Looked for in the token each time; one that is enrolled twice or by half is left out and reported. Where only the
 * security officer can make a trusted key, what was found again, under the same label and with the same CKA_ID, is not read again;
 * and where the token holds many objects, it is not looked for again for a while (see `TokenObjects.restMs`): nothing is wrapped
 * under a key that the officer has destroyed meanwhile, since the token has it no more.
 */
export async function enrolledDepositaries(parts: OpenParts): Promise<readonly EnrolledDepositary[]> {
  const { driver, profile, serverPairs, objects } = parts;
  if (serverPairs.last !== undefined && performance.now() - serverPairs.last.atMs < objects.restMs)
    return serverPairs.last.enrolled;
  return objects.alone(async (session) => {
    const atMs = performance.now();
    const recipients = await objects.search(session, RECIPIENTS[profile.depositaryKeys]);
    const openers = await objects.search(session, UNWRAPPING_KEYS);
    const found =
      profile.depositaryKeys === 'trusted' ? identify(driver, session, recipients, openers) : undefined;
    const { last } = serverPairs;
    if (found !== undefined && last?.found.equals(found) === true) {
      serverPairs.last = { ...last, atMs };
      return last.enrolled;
    }
    serverPairs.last = undefined;
    const trusted = byLabel(driver, session, recipients);
    const unwrapping = byLabel(driver, session, openers);
    // After looking: a token that is gone finds nothing from then on, and it may have gone in between.
    await parts.health.checkIn(session);
    const enrolled: EnrolledDepositary[] = [];
    for (const label of trusted.keys()) {
      const id = label.startsWith(OWN_PREFIX) ? parsePrincipalId(label.slice(OWN_PREFIX.length)) : undefined;
      if (id === undefined) continue;
      const own = only(trusted.get(label));
      const pair = newestPair(id, [...trusted.keys()]);
      const server = pair === undefined ? undefined : only(trusted.get(pair.label));
      const opener = pair === undefined ? undefined : only(unwrapping.get(pair.label));
      if (own === undefined || pair === undefined || server === undefined || opener === undefined) {
        forgetTrustedKey(parts, label);
        parts.serverPairs.forget(id);
        parts.log('warn', 'a depositary is left out: not enrolled exactly once', { depositary: id });
        continue;
      }
      readChecked(parts.driver, session, server, pair.label);
      const publicKey = readChecked(parts.driver, session, own, label);
      parts.objects.remember(recipient(parts, label), { handle: own, publicKey });
      parts.serverPairs.remember(id, pair.version);
      enrolled.push({ id, publicKey, fingerprint: fingerprint(publicKey).toString('hex') });
    }
    enrolled.sort((a, b) => (a.id < b.id ? -1 : 1));
    if (found !== undefined && enrolled.length > 0) serverPairs.last = { found, enrolled, atMs };
    return enrolled;
  });
}

/**
 * What was found, as far as anything is decided by it: the objects, and of those that are trusted the label and the CKA_ID, which
 * is the digest of the key. A token that is gone finds nothing, which is never the same.
 */
function identify(
  driver: PKCS11,
  session: Handle,
  recipients: readonly Handle[],
  openers: readonly Handle[],
): Buffer {
  const read = recipients.flatMap((handle) =>
    readBytes(driver, session, handle, [pkcs11.CKA_LABEL, pkcs11.CKA_ID]),
  );
  const parts = [...recipients, ...openers, ...read];
  const lengths = [recipients.length, ...parts.map(({ length }) => length)];
  return Buffer.concat([Buffer.from(lengths.join(' ')), ...parts]);
}

/** Of these labels that of the server's newest pair regarding this depositary. */
function newestPair(
  id: PrincipalId,
  labels: readonly string[],
): { readonly label: string; readonly version: ServerForVersion } | undefined {
  return labels
    .flatMap((label) => {
      const read = readServerForLabel(label);
      return read?.id === id ? [{ label, version: read.version }] : [];
    })
    .toSorted((a, b) => (b.version ?? 0) - (a.version ?? 0))[0];
}

const OWN_PREFIX = 'depositary:';
const PUBLIC_KEYS = [
  { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_PUBLIC_KEY },
  { type: pkcs11.CKA_TOKEN, value: true },
];
/** What finds the keys that are wrapped to. */
export const RECIPIENTS = {
  trusted: [...PUBLIC_KEYS, { type: pkcs11.CKA_TRUSTED, value: true }],
  'by-label': [...PUBLIC_KEYS, { type: pkcs11.CKA_WRAP, value: true }],
} as const satisfies Record<TokenProfile['depositaryKeys'], Template>;
const UNWRAPPING_KEYS = [
  { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_PRIVATE_KEY },
  { type: pkcs11.CKA_TOKEN, value: true },
  { type: pkcs11.CKA_UNWRAP, value: true },
];

/** A key that the security officer has made trusted. */
export interface TrustedKey {
  readonly handle: Handle;
  readonly label: string;
}

/** All trusted keys of a class. */
export function trustedKeys(driver: PKCS11, session: Handle, objectClass: number): readonly TrustedKey[] {
  const template = [
    { type: pkcs11.CKA_CLASS, value: objectClass },
    { type: pkcs11.CKA_TOKEN, value: true },
    { type: pkcs11.CKA_TRUSTED, value: true },
  ];
  return findAll(driver, session, template).map((handle) => ({
    handle,
    label: String(readBytes(driver, session, handle, [pkcs11.CKA_LABEL])[0]),
  }));
}

/** The trusted public keys that take any key that may be wrapped: those of the first ceremonies. */
export function unboundedTrustedKeys(driver: PKCS11, session: Handle): readonly TrustedKey[] {
  return trustedKeys(driver, session, pkcs11.CKO_PUBLIC_KEY).filter(
    ({ handle }) => !hasNested(driver, session, handle, pkcs11.CKA_WRAP_TEMPLATE),
  );
}

function recipient(parts: OpenParts, label: string): ObjectName {
  return objectNames.recipient(label, parts.profile.depositaryKeys);
}

function byLabel(
  driver: PKCS11,
  session: Handle,
  found: readonly Handle[],
): ReadonlyMap<string, readonly Handle[]> {
  const labelled = new Map<string, Handle[]>();
  for (const handle of found) {
    const label = String(readBytes(driver, session, handle, [pkcs11.CKA_LABEL])[0]);
    labelled.set(label, [...(labelled.get(label) ?? []), handle]);
  }
  return labelled;
}

function only(handles: readonly Handle[] = []): Handle | undefined {
  return handles.length === 1 ? handles[0] : undefined;
}

function readChecked(driver: PKCS11, session: Handle, handle: Handle, label: string): Buffer {
  const spki = readRsaSpki(driver, session, handle);
  const [id] = readBytes(driver, session, handle, [pkcs11.CKA_ID]);
  if (!id?.equals(fingerprint(spki))) {
    throw new EscrowError('token-unavailable', 'The token holds an object that is not what it should be.', {
      cause: new Error(`CKA_ID of ${label} is not the SHA-256 of its public key`),
    });
  }
  return spki;
}
