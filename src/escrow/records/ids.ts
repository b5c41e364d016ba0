/**
 * Names of things. An identifier is branded, so that a key's cannot stand where a depositary's is meant;
 * the only ways in are the parse functions below and {@link newId}.
 */
declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** A person or an app of the directory: lower-case letters, digits, `.`, `_`, `-`; at most 64 characters. */
export type PrincipalId = Branded<'PrincipalId'>;
/** A deposited user key. */
export type KeyId = Branded<'KeyId'>;
export type RecoveryId = Branded<'RecoveryId'>;
/** A grant: the right of one app to use one recovered key. */
export type GrantId = Branded<'GrantId'>;
/** A one-time key to import under. */
export type ImportId = Branded<'ImportId'>;
/** Requests to seal keys anew that belong together: whoever decides about one of them decides about all. */
export type JobId = Branded<'JobId'>;
/** One act in the log; shared by its attempt and its outcome. */
export type ActId = Branded<'ActId'>;

/** Random bytes from the operating system, given by the composition root. */
export type RandomBytes = (length: number) => Uint8Array;

const PRINCIPAL = /^[a-z0-9][a-z0-9._-]{0,63}$/;
const prefixes = {
  KeyId: 'key',
  RecoveryId: 'rec',
  GrantId: 'grant',
  ImportId: 'imp',
  JobId: 'job',
  ActId: 'act',
} as const;

const PATTERNS = {
  KeyId: /^key_[0-9a-f]{32}$/,
  RecoveryId: /^rec_[0-9a-f]{32}$/,
  GrantId: /^grant_[0-9a-f]{32}$/,
  ImportId: /^imp_[0-9a-f]{32}$/,
  JobId: /^job_[0-9a-f]{32}$/,
  ActId: /^act_[0-9a-f]{32}$/,
} as const;

/** The kinds of identifiers that are random, each with its type. */
export interface Identifiers {
  readonly KeyId: KeyId;
  readonly RecoveryId: RecoveryId;
  readonly GrantId: GrantId;
  readonly ImportId: ImportId;
  readonly JobId: JobId;
  readonly ActId: ActId;
}

/** Parses the id of a principal; undefined when it is none. */
export function parsePrincipalId(text: string): PrincipalId | undefined {
  return PRINCIPAL.test(text) ? (text as PrincipalId) : undefined;
}

/** Parses the id of a thing made by {@link newId}, such as `key_1f0c…` (32 hex digits); undefined when it is none. */
export function parseId<Kind extends keyof Identifiers>(
  kind: Kind,
  text: string,
): Identifiers[Kind] | undefined {
  return PATTERNS[kind].test(text) ? (text as unknown as Identifiers[Kind]) : undefined;
}

/** The ids that are ones of this kind: those of an older kind have no records that could be read. */
export function idsOf<Kind extends keyof Identifiers>(
  kind: Kind,
  names: readonly string[],
): readonly Identifiers[Kind][] {
  return names.flatMap((name) => parseId(kind, name) ?? []);
}

/** A new identifier of 128 random bits. */
export function newId<Kind extends keyof Identifiers>(kind: Kind, random: RandomBytes): Identifiers[Kind] {
  return `${prefixes[kind]}_${Buffer.from(random(16)).toString('hex')}` as unknown as Identifiers[Kind];
}
