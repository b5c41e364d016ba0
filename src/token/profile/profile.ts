import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { z } from 'zod';
import { decodeText } from '../../log/entry/plainText.js';
import { KEY_SPEC_NAMES } from '../../escrow/records/keySpecs.js';
import { MECHANISM_NAMES } from '../../escrow/records/mechanisms.js';
import { ATTACK_NAMES } from './attackNames.js';
import { DISPENSABLE, USES_ON_UNWRAPPING } from './attributeNames.js';

const mechanism = z.strictObject({
  name: z.string().regex(/^CKM_[A-Z0-9_]+$/),
  number: z.int().min(0).max(0xffff_ffff),
});

/** The members of `table` as names in a profile. */
const namesOf = <Name extends string>(table: Readonly<Record<Name, number>>) =>
  z.array(z.enum(Object.keys(table) as Name[]));

const profileSchema = z.strictObject({
  profile: z.string().regex(/^[a-z0-9][a-z0-9.-]{0,63}$/),
  device: z.string().min(1).max(200),
  modules: z.array(z.string().startsWith('/')).min(1),
  libraryParameters: z.string().min(1).max(2000).optional(),
  securityOfficer: z.enum(['throughout', 'until-first-pin']),
  depositaryKeys: z.enum(['trusted', 'by-label']),
  sessions: z.int().min(1).max(256),
  oaep: z.enum(['RSA-OAEP', 'RSA-OAEP-256']),
  gcmParameters: z.enum(['with-iv-bits', 'without-iv-bits']),
  mechanisms: z.strictObject({
    aesKeyGen: mechanism,
    rsaKeyPairGen: mechanism,
    ecKeyPairGen: mechanism,
    edwardsKeyPairGen: mechanism.optional(),
    keyWrapWithPadding: mechanism,
    rsaOaep: mechanism,
    aesGcm: mechanism,
    rsaPkcs: mechanism,
    rsaPss: mechanism,
    ecdsa: mechanism,
    eddsa: mechanism.optional(),
    ecdh: mechanism.optional(),
    sha256Hmac: mechanism.optional(),
  }),
  absentAttributes: namesOf(DISPENSABLE),
  unwrapping: z.strictObject({
    attributes: z.array(
      z.strictObject({
        keys: z.enum(['RSA', 'EC']),
        name: z.string().regex(/^CKA_[A-Z0-9_]+$/),
        number: z.int().min(0).max(0xffff_ffff),
        value: z.string().regex(/^([0-9a-f]{2})+$/),
      }),
    ),
    forcedUses: z.array(
      z.strictObject({ keys: z.enum(['RSA', 'EC']), uses: namesOf(USES_ON_UNWRAPPING).min(1) }),
    ),
  }),
  unenforced: z.array(z.enum(ATTACK_NAMES)),
  keySpecs: z.array(z.enum(KEY_SPEC_NAMES)).min(1),
  grantMechanisms: z.array(z.enum(MECHANISM_NAMES)).min(1),
  logKey: z.enum(['Ed25519', 'ECDSA-P256']),
  dataObjects: z.boolean(),
});

/**
 * What one kind of token can do, and under which numbers. Records keep the standards' names; the numbers, which
 * differ between devices for the same mechanism, stand here only. Nothing is defaulted or found out by trying.
 */
export type TokenProfile = z.infer<typeof profileSchema>;

/** Parses the YAML text of a profile. Throws an Error that says which field is wrong. */
export function parseProfile(text: string): TokenProfile {
  const read = profileSchema.safeParse(parse(text));
  if (!read.success) throw new Error(`The token profile is not valid.\n${z.prettifyError(read.error)}`);
  const profile = read.data;
  if (profile.depositaryKeys === 'trusted') {
    if (profile.absentAttributes.includes('CKA_TRUSTED'))
      throw new Error('The token profile is not valid: depositaryKeys is trusted without CKA_TRUSTED.');
    if (profile.securityOfficer !== 'throughout')
      throw new Error(
        'The token profile is not valid: depositaryKeys is trusted, but no security officer can log in to say so.',
      );
  }
  if (profile.mechanisms.ecdh !== undefined && profile.depositaryKeys !== 'trusted')
    throw new Error(
      'The token profile is not valid: ecdh gives birth to trusted keys, and depositaryKeys is not trusted.',
    );
  if (profile.keySpecs.includes('secret') && profile.mechanisms.sha256Hmac === undefined)
    throw new Error(
      'The token profile is not valid: it takes secrets without sha256Hmac, by which it proves them.',
    );
  const edwards =
    profile.mechanisms.edwardsKeyPairGen !== undefined && profile.mechanisms.eddsa !== undefined;
  const wanted =
    profile.logKey === 'Ed25519' ||
    profile.keySpecs.includes('ed25519') ||
    profile.grantMechanisms.includes('EdDSA');
  if (wanted && !edwards) {
    throw new Error('The token profile is not valid: it uses Ed25519 without edwardsKeyPairGen and eddsa.');
  }
  return profile;
}

/**
 * Whether key-encryption keys are agreed on inside the token (ECDH), which gives them a rotating handle and a standby token
 * the same ones; where they are not, they are generated.
 */
export function agreesOnKeks({ mechanisms }: Pick<TokenProfile, 'mechanisms'>): boolean {
  return mechanisms.ecdh !== undefined;
}

/** Reads and parses a profile file, such as those in `hsm-config`. */
export function readProfile(path: string): TokenProfile {
  return parseProfile(decodeText(readFileSync(path), path));
}
