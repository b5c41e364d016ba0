import pkcs11 from 'pkcs11js';
import type { Handle, PKCS11 } from 'pkcs11js';
import type { PrincipalId } from '../../escrow/records/ids.js';
import { RECIPIENTS } from '../objects/depositaries.js';
import { readAttribute } from '../objects/objectCheck.js';
import { readServerForLabel } from '../objects/objectNames.js';
import { findAll, readRsaSpki } from '../objects/objects.js';
import { fingerprint } from '../cryptoki/spki.js';
import type { ProvenDepositary } from './challenge.js';
import { type CeremonySession, CeremonyRefused } from './ceremonySession.js';
import type { EarlierRecord } from './record.js';

/** A half of one of the server's pairs regarding a depositary. */
export interface PairHalf {
  readonly handle: Handle;
  readonly label: string;
  /** 0 for the pairs of the first ceremonies. */
  readonly version: number;
}

/** What the token holds of a depositary. */
export interface DepositaryObjects {
  /** Their own keys that are trusted: one, but for a replacement or renewal that was cut short. */
  readonly keys: readonly { readonly handle: Handle; readonly fingerprint: string }[];
  /** The trusted halves of the server's pairs, the newest first: what is sealed goes to that one. */
  readonly trusted: readonly PairHalf[];
  /** The private halves, the newest first: what was sealed to each opens by it. */
  readonly openers: readonly PairHalf[];
}

/** Looks for it; the private halves are seen only while the user is logged in. */
export function objectsOf(
  { driver, location }: CeremonySession,
  session: Handle,
  id: PrincipalId,
): DepositaryObjects {
  const recipients = findAll(driver, session, RECIPIENTS[location.profile.depositaryKeys]);
  const openers = findAll(driver, session, [
    { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_PRIVATE_KEY },
    { type: pkcs11.CKA_TOKEN, value: true },
  ]);
  const halves = (handles: readonly Handle[]): readonly PairHalf[] =>
    handles
      .flatMap((handle) => {
        const label = labelOf(driver, session, handle);
        const name = readServerForLabel(label);
        return name?.id === id ? [{ handle, label, version: name.version ?? 0 }] : [];
      })
      .toSorted((a, b) => b.version - a.version);
  return {
    keys: recipients
      .filter((handle) => labelOf(driver, session, handle) === `depositary:${id}`)
      .map((handle) => ({
        handle,
        fingerprint: fingerprint(readRsaSpki(driver, session, handle)).toString('hex'),
      })),
    trusted: halves(recipients),
    openers: halves(openers),
  };
}

/**
 * The version that the server's next pair regarding a depositary has: none is given twice, also when by the record it was destroyed.
 * Shares name the version that they were sealed through, and would be taken for such as open.
 */
export function nextVersion(
  { trusted, openers }: Pick<DepositaryObjects, 'trusted' | 'openers'>,
  before: EarlierRecord,
  id: PrincipalId,
): number {
  return (
    1 + Math.max(0, ...[...trusted, ...openers].map(({ version }) => version), ...versionsIn(before, id))
  );
}

/** The versions of the server's pairs regarding somebody that the record has or says to have had; the first ones are 0. */
export function versionsIn({ fingerprints, events }: EarlierRecord, id: PrincipalId): readonly number[] {
  const named = [...fingerprints.keys()].flatMap((label) => {
    const name = readServerForLabel(label);
    return name?.id === id ? [name.version ?? 0] : [];
  });
  const retired = eventsOf(events, 'retired', id).flatMap((what) =>
    [...what.slice(what.lastIndexOf('(')).matchAll(/\bv([1-9][0-9]{0,8})\b/g)].map(([, version]) =>
      Number(version),
    ),
  );
  return [...new Set([...named, ...retired])].sort((a, b) => a - b);
}

/**
 * Somebody regarding whom keys of the server were destroyed comes back with a key that they have not had: what was sealed to one of
 * before opens no more, and whoever looks at whose key a share went to would take it for such as does.
 */
export function requireFreshKey(
  { openers }: Pick<DepositaryObjects, 'openers'>,
  before: EarlierRecord,
  proven: ProvenDepositary,
): void {
  const { id } = proven;
  const names = (what: string): boolean => what.includes(fingerprintOf(proven));
  if (!beforeDestruction(openers, before, id).some(names)) return;
  throw new CeremonyRefused(
    `${id} had this key before, and private keys of the server regarding them were destroyed since: what was sealed to it opens no more, and would be counted as if it did. ${id} makes a new one first (escrowctl identity new DIR --id ${id} --depositary).`,
  );
}

/** What the record has of somebody up to when private keys of the server regarding them were destroyed last; nothing where none were. */
function beforeDestruction(
  openers: DepositaryObjects['openers'],
  { fingerprints, events }: EarlierRecord,
  id: PrincipalId,
): readonly string[] {
  const theirs = ['enrolled', 'replaced', 'retired'].flatMap((act) => eventsOf(events, act, id));
  const there = new Set(openers.map(({ label }) => label));
  const isCutShort = [...fingerprints.keys()].some(
    (label) => readServerForLabel(label)?.id === id && !there.has(label),
  );
  if (isCutShort) return theirs;
  const inOrder = events.map(({ what }) => what).filter((what) => theirs.includes(what));
  const last = inOrder.findLastIndex((what) => /^retired: .* (were destroyed|are gone)/.test(what));
  return inOrder.slice(0, last + 1);
}

/** What the record has of this act on somebody. */
function eventsOf(events: EarlierRecord['events'], act: string, id: PrincipalId): readonly string[] {
  return events.flatMap(({ what }) => (what.startsWith(`${act}: ${id}, `) ? [what] : []));
}

/** SHA-256 (hex) of the key that a depositary has shown to hold, as its DER SubjectPublicKeyInfo. */
export function fingerprintOf({ key }: Pick<ProvenDepositary, 'key'>): string {
  return fingerprint(key.export({ type: 'spki', format: 'der' })).toString('hex');
}

/** Two people with one key would be two in every quorum, and one who decides. By CKA_ID, the SHA-256 of the key. */
export function requireOwnKey({ driver }: CeremonySession, session: Handle, proven: ProvenDepositary): void {
  const { id } = proven;
  const taken = findAll(driver, session, [
    { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_PUBLIC_KEY },
    { type: pkcs11.CKA_TOKEN, value: true },
    { type: pkcs11.CKA_ID, value: Buffer.from(fingerprintOf(proven), 'hex') },
  ])
    .map((handle) => labelOf(driver, session, handle))
    .find((label) => label.startsWith('depositary:') && label !== `depositary:${id}`);
  if (taken === undefined) return;
  throw new CeremonyRefused(
    `The key of ${id} is enrolled already, as that of ${taken.slice('depositary:'.length)}. Two people never share a key: find out whose it is; the other makes one of their own (escrowctl identity new DIR --id ID --depositary).`,
  );
}

export function labelOf(driver: PKCS11, session: Handle, handle: Handle): string {
  return readAttribute(driver, session, handle, pkcs11.CKA_LABEL)?.toString() ?? '';
}
