import { type JsonWebKey, createHash } from 'node:crypto';
import pkcs11 from 'pkcs11js';
import type { Session, Slot } from 'graphene-pk11';
import type { Handle, PKCS11 } from 'pkcs11js';
import { z } from 'zod';
import { kekCheckValueIfAny } from '../objects/kekCheckValue.js';
import { Dialect } from '../profile/dialect.js';
import { readKekLabel } from '../../escrow/records/sealing/keks.js';
import { Mechanisms } from '../profile/mechanisms.js';
import { findAll, readBytes } from '../objects/objects.js';
import type { TokenProfile } from '../profile/profile.js';
import { importSpki } from '../service/findLongLived.js';
import { type DescribedObject, describeObjects, readPublicKey } from './describe.js';
import { type CeremonySession, CeremonyRefused } from './ceremonySession.js';
import { jsonOrUndefined } from '../../system/json.js';

const eventSchema = z.strictObject({ at: z.iso.datetime(), what: z.string() });
/** Something that was done in the ceremony. */
export type CeremonyEvent = z.infer<typeof eventSchema>;

/** A public key for signatures; `kid` is its RFC 7638 thumbprint. */
export type PublicJwk = JsonWebKey & { readonly kid: string; readonly alg: string };

/**
 * The record of a ceremony: what stands in the token and what was done. Public; everybody who pins this server's
 * keys takes them from here, and not from what the server says.
 */
export interface CeremonyRecord {
  readonly format: 'escrowd-ceremony/v1';
  readonly profile: string;
  readonly token: { readonly label: string; readonly serial: string; readonly model: string };
  /** The key that attests (ES256). */
  readonly identityKey: PublicJwk;
  /** The key that signs checkpoints. */
  readonly logKey: PublicJwk;
  /** The same key as C2SP verifier keys want it: DER SubjectPublicKeyInfo, base64. */
  readonly log: { readonly algorithm: TokenProfile['logKey']; readonly spki: string };
  readonly objects: readonly DescribedObject[];
  readonly events: readonly CeremonyEvent[];
}

/** Reads what stands in the token; the user is logged in. */
export function makeRecord(
  from: { readonly driver: PKCS11; readonly profile: TokenProfile; readonly slot: Slot },
  session: Session,
  events: readonly CeremonyEvent[],
): CeremonyRecord {
  const { driver, profile, slot } = from;
  const { label, serialNumber, model } = slot.getToken();
  const spki = (name: 'identity' | 'log'): Buffer => {
    const [handle] = findAll(driver, session.handle, [
      { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_PUBLIC_KEY },
      { type: pkcs11.CKA_TOKEN, value: true },
      { type: pkcs11.CKA_LABEL, value: name },
    ]);
    if (handle === undefined)
      throw new CeremonyRefused(`The token has no ${name} key: run \`ceremony init\` first.`);
    return readPublicKey(driver, session.handle, handle);
  };
  const logSpki = spki('log');
  return {
    format: 'escrowd-ceremony/v1',
    profile: profile.profile,
    token: { label: label.trim(), serial: serialNumber.trim(), model: model.trim() },
    identityKey: publicJwk(spki('identity'), 'ES256'),
    logKey: publicJwk(logSpki, profile.logKey === 'Ed25519' ? 'EdDSA' : 'ES256'),
    log: { algorithm: profile.logKey, spki: logSpki.toString('base64') },
    objects: describeObjects(driver, session, profile),
    events,
  };
}

/** What a new record needs of the one before. */
export interface EarlierRecord {
  readonly events: readonly CeremonyEvent[];
  /** Check values of key-encryption keys, by label. Empty in a record from before they were recorded. */
  readonly checkValues: ReadonlyMap<string, string>;
  /** All labels that it has; with the fingerprint, SHA-256 (hex), where there is a public key of that. */
  readonly fingerprints: ReadonlyMap<string, string | undefined>;
}

/** An act of the ceremony on a token that has a record, `before`, which the new one continues. */
export interface Continued {
  readonly now: Date;
  readonly before: EarlierRecord;
}

/** {@link makeRecord} of what was recorded before, and of `what` was done now. */
export function continueRecord(
  from: Parameters<typeof makeRecord>[0],
  session: Session,
  { now, before }: { readonly now: Date; readonly before: Pick<EarlierRecord, 'events'> },
  what: string,
): CeremonyRecord {
  return makeRecord(from, session, [...before.events, { at: now.toISOString(), what }]);
}

/** Reads an earlier record, which a new one continues. Throws {@link CeremonyRefused} when it is none. */
export function readRecord(text: string, token: { readonly label: string }): EarlierRecord {
  const schema = z.object({
    format: z.literal('escrowd-ceremony/v1'),
    token: z.object({ label: z.string() }),
    objects: z.array(
      z.object({
        label: z.string(),
        checkValue: z.string().optional(),
        fingerprint: z.string().optional(),
      }),
    ),
    events: z.array(eventSchema),
  });
  const read = schema.safeParse(jsonOrUndefined(text));
  if (!read.success)
    throw new CeremonyRefused('The file given with --record is not the record of a ceremony.');
  if (read.data.token.label !== token.label) {
    throw new CeremonyRefused(`The record is about the token "${read.data.token.label}".`);
  }
  const { events, objects } = read.data;
  const checkValues = new Map(
    objects.flatMap(({ label, checkValue }) => (checkValue === undefined ? [] : [[label, checkValue]])),
  );
  const fingerprints = new Map<string, string | undefined>();
  for (const { label, fingerprint } of objects)
    if (fingerprint !== undefined || !fingerprints.has(label)) fingerprints.set(label, fingerprint);
  return { events, checkValues, fingerprints };
}

/**
 * Refuses to write a record anew over a token that holds a key-encryption key which the earlier one does not have: whoever has
 * the user PIN can plant one, and what stands in the record is what the daemon believes. Throws {@link CeremonyRefused}.
 */
export function requireRecorded(
  { driver, location }: CeremonySession,
  session: Handle,
  { checkValues }: EarlierRecord,
): void {
  if (checkValues.size === 0) return;
  const using = {
    driver,
    dialect: new Dialect(location.profile),
    mechanisms: new Mechanisms(location.profile),
  };
  const unrecorded = findAll(driver, session, [
    { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_SECRET_KEY },
    { type: pkcs11.CKA_TOKEN, value: true },
  ]).flatMap((handle) => {
    const label = String(readBytes(driver, session, handle, [pkcs11.CKA_LABEL])[0]);
    if (readKekLabel(label) === undefined) return [];
    const checkValue = kekCheckValueIfAny(using, session, handle);
    return checkValue !== undefined && checkValues.get(label) === checkValue ? [] : [label];
  });
  if (unrecorded.length === 0) return;
  throw new CeremonyRefused(
    `The token holds ${unrecorded.join(', ')}, which the record does not have: is it the newest record? Was a renewal cut ` +
      'short, or a key planted? Nothing was changed.',
  );
}

export function recordText(record: CeremonyRecord): string {
  const lines = [
    `Token      ${record.token.label} (${record.token.model}, serial ${record.token.serial}), profile ${record.profile}`,
    `Identity   ES256, kid ${record.identityKey.kid}`,
    `Log key    ${record.log.algorithm}, ${record.log.spki}`,
    '',
    ...record.objects.flatMap((object) => [
      `${object.label}  (${object.class})`,
      ...(object.fingerprint === undefined ? [] : [`    fingerprint  ${object.fingerprint}`]),
      `    yes          ${named(object, true)}`,
      `    no           ${named(object, false)}`,
      `    mechanisms   ${object.allowedMechanisms.join(', ') || 'any'}`,
      ...(object.class === 'public key'
        ? [`    wrap template ${object.wrapTemplate}`]
        : [`    unwrap template ${object.unwrapTemplate}`]),
    ]),
    '',
    ...record.events.map(({ at, what }) => `${at}  ${what}`),
  ];
  return `${lines.join('\n')}\n`;
}

function named(object: DescribedObject, value: boolean): string {
  const names = Object.entries(object.attributes).flatMap(([name, is]) => (is === value ? [name] : []));
  return names.join(' ') || '-';
}

function publicJwk(spki: Buffer, alg: string): PublicJwk {
  const jwk = importSpki(spki).export({ format: 'jwk' });
  const kid = createHash('sha256').update(thumbprintInput(jwk)).digest('base64url');
  return { ...jwk, alg, use: 'sig', kid };
}

/** RFC 7638 section 3: the required members in lexicographic order (RFC 8037 section 2 for OKP). */
function thumbprintInput({ crv, kty, x, y }: JsonWebKey): string {
  return JSON.stringify(y === undefined ? { crv, kty, x } : { crv, kty, x, y });
}
