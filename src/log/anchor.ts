import { decodeBase64, encodeBase64 } from './note/base64.js';
import { canonicalJson, isJsonObject } from './entry/canonical.js';
import { emptyRoot, hashLengthBytes, sameBytes } from './tree/merkle.js';

/** A tree of the log, by its size and its root (32 bytes). */
export interface TreeHead {
  readonly size: number;
  readonly root: Uint8Array;
}

/**
 * What is remembered of the log outside the database: a tree that every later one must extend, and the policy that was
 * in force. A database that does not hold them is an older copy, or another one.
 */
export interface Anchor extends TreeHead {
  readonly policy: { readonly version: number; readonly hash: string } | undefined;
  /**
   * How many entries there were before each had a writer (see statements/writer.ts); undefined when it was remembered by a version that
   * knew of none.
   */
  readonly unsigned: number | undefined;
  /** What was remembered before people accepted that the database has lost it. Forgotten when the log says so, not before. */
  readonly lost: TreeHead | undefined;
}

/** The anchor of a log that has not begun. */
export const emptyAnchor: Anchor = {
  size: 0,
  root: emptyRoot,
  policy: undefined,
  unsigned: undefined,
  lost: undefined,
};

/** What is to be remembered from now on, in place of an anchor. */
export interface Anchoring extends Omit<Anchor, 'lost'> {
  /** A loss that people accepted and the tree has an entry of. One that is remembered and is not this one stays remembered. */
  readonly recorded: TreeHead | undefined;
}

/** The anchor that takes the place of another. */
export function anchorAfter({ recorded, ...newer }: Anchoring, { lost }: Pick<Anchor, 'lost'>): Anchor {
  return { ...newer, lost: isSameHead(lost, recorded) ? undefined : lost };
}

function isSameHead(a: TreeHead | undefined, b: TreeHead | undefined): boolean {
  if (a === undefined || b === undefined) return false;
  return a.size === b.size && sameBytes(a.root, b.root);
}

/** The bytes of an anchor: canonical JSON. At most 400 bytes. */
export function encodeAnchor({ size, root, policy, unsigned, lost }: Anchor): Uint8Array {
  const text = canonicalJson({
    v: 1,
    ...headToJson({ size, root }),
    ...(policy === undefined ? {} : { policy: { ...policy } }),
    ...(unsigned === undefined ? {} : { unsigned }),
    ...(lost === undefined ? {} : { lost: headToJson(lost) }),
  });
  return new TextEncoder().encode(text);
}

/** Reads an anchor; undefined for whatever {@link encodeAnchor} does not write. */
export function decodeAnchor(bytes: Uint8Array): Anchor | undefined {
  const anchor = parseAnchor(new TextDecoder().decode(bytes));
  return anchor !== undefined && Buffer.from(encodeAnchor(anchor)).equals(bytes) ? anchor : undefined;
}

function parseAnchor(text: string): Anchor | undefined {
  const value = parseObject(text);
  const head = readHead(value);
  if (head === undefined) return undefined;
  const { policy, unsigned, lost } = value;
  const policyRead = isJsonObject(policy) ? readPolicy(policy) : undefined;
  const lostRead = isJsonObject(lost) ? readHead(lost) : undefined;
  return { ...head, policy: policyRead, unsigned: isSize(unsigned) ? unsigned : undefined, lost: lostRead };
}

function readHead({ size, root }: Readonly<Record<string, unknown>>): TreeHead | undefined {
  const bytes = typeof root === 'string' ? decodeBase64(root) : undefined;
  if (!isSize(size)) return undefined;
  return bytes?.length === hashLengthBytes ? { size, root: bytes } : undefined;
}

function isSize(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function readPolicy({ version, hash }: Readonly<Record<string, unknown>>): Anchor['policy'] {
  if (typeof version !== 'number' || !Number.isSafeInteger(version)) return undefined;
  return typeof hash === 'string' && /^[0-9a-f]{64}$/.test(hash) ? { version, hash } : undefined;
}

function headToJson({ size, root }: TreeHead): { readonly size: number; readonly root: string } {
  return { size, root: encodeBase64(root) };
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value : {};
  } catch {
    return {};
  }
}
