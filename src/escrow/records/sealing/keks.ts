import { type KeySpec, type KeyUse, isSymmetric } from '../keySpecs.js';
import type { Purpose } from '../policy.js';

/** A purpose, and a use or class of the keys that a key-encryption key of this kind wraps. */
export const KEK_KINDS = [
  'operate:sign',
  'operate:decrypt',
  'operate:secret',
  'release:private',
  'release:secret',
] as const satisfies readonly `${Purpose}:${string}`[];
export type KekKind = (typeof KEK_KINDS)[number];
/** Those that can have a rotating handle. */
export type OperateKind = Extract<KekKind, `operate:${string}`>;

/** Only these can have a rotating handle: what is for release goes out anyway. */
export function isOperate(kind: KekKind): kind is OperateKind {
  return purposeOf(kind) === 'operate';
}

/** The kind under which a key of this specification, for this use, is deposited for this purpose. */
export function kekKindFor(purpose: Purpose, spec: KeySpec, use: KeyUse): KekKind {
  if (purpose === 'release') return isSymmetric(spec) ? 'release:secret' : 'release:private';
  return isSymmetric(spec) || use === 'keep' ? 'operate:secret' : `operate:${use}`;
}

/** What the label of a key-encryption key says. Those of the first ceremonies have no kind: one for all of a purpose. */
export interface KekName {
  readonly purpose: Purpose;
  readonly kind: KekKind | undefined;
  readonly version: number;
}

/** The label of this version of a kind. */
export function kekLabel(kind: KekKind, version: number): string {
  return `kek:${kind}:v${version}`;
}

/** The label of its rotating handle. */
export function rotatingLabel(kek: string): string {
  return kek.replace(/^kek:/, 'kek-rotate:');
}

/** Reads the label of a key-encryption key; undefined when it is none. */
export function readKekLabel(label: string): KekName | undefined {
  const [, name, version] = /^kek:(.+):v([1-9][0-9]{0,8})$/.exec(label) ?? [];
  if (name === undefined) return undefined;
  const kind = KEK_KINDS.find((candidate) => candidate === name);
  const purpose = kind === undefined ? name : purposeOf(kind);
  if (purpose !== 'operate' && purpose !== 'release') return undefined;
  return { purpose, kind, version: Number(version) };
}

/** Whether a key of this kind is deposited under the key-encryption key of this label. */
export function isKekFor(label: string, kind: KekKind): boolean {
  const name = readKekLabel(label);
  return name?.purpose === purposeOf(kind) && (name.kind ?? kind) === kind;
}

/**
 * Of these labels the newest for each kind: the highest version of the kind or, where there is none, of those that are for
 * all of the purpose. A kind for which there is none is left out.
 */
export function newestKeks(labels: readonly string[]): Readonly<Partial<Record<KekKind, string>>> {
  const named = labels.flatMap((label) => {
    const name = readKekLabel(label);
    return name === undefined ? [] : [{ label, ...name }];
  });
  const newest = (kind: KekKind): string | undefined => {
    const own = named.filter((name) => name.kind === kind);
    const older = named.filter((name) => name.kind === undefined && name.purpose === purposeOf(kind));
    return (own.length > 0 ? own : older).toSorted((a, b) => b.version - a.version)[0]?.label;
  };
  return Object.fromEntries(
    KEK_KINDS.flatMap((kind) => {
      const label = newest(kind);
      return label === undefined ? [] : [[kind, label] as const];
    }),
  );
}

function purposeOf(kind: KekKind): Purpose {
  return kind.startsWith('operate:') ? 'operate' : 'release';
}
