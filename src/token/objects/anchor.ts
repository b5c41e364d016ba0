import pkcs11 from 'pkcs11js';
import type { Handle, PKCS11 } from 'pkcs11js';
import { EscrowError } from '../../escrow/records/errors.js';
import type { Anchor, Anchoring } from '../../log/anchor.js';
import { anchorAfter, decodeAnchor, emptyAnchor, encodeAnchor } from '../../log/anchor.js';
import type { Template } from '../cryptoki/attributes.js';
import { type TokenObjects, findAll, readBytes } from './objects.js';

/*
 * The anchor of the log: a small data object in the token, which a restored database does not bring back with it. It is
 * never changed: a newer one is made first, and older ones are destroyed then. The one before stays until the next, since
 * SoftHSM does no fsync and a loss of power may tear the newest.
 */

const LABEL = 'anchor:log';

/** What finds it. */
export const ANCHOR: Template = [
  { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_DATA },
  { type: pkcs11.CKA_TOKEN, value: true },
  { type: pkcs11.CKA_LABEL, value: LABEL },
];

interface Found {
  readonly handle: Handle;
  /** Undefined when it was torn. */
  readonly anchor: Anchor | undefined;
}

/**
 * The anchor that stands in the token: the one over most entries. Undefined when there is none.
 * Throws EscrowError `token-unavailable` when there is nothing that can be read under its name.
 */
export function readAnchor(
  driver: PKCS11,
  session: Handle,
  handles: readonly Handle[] = findAll(driver, session, ANCHOR),
): Anchor | undefined {
  const found = readAll(driver, session, handles);
  const newest = found[0]?.anchor;
  if (newest === undefined && found.length > 0) throw unreadable();
  return newest;
}

/**
 * Makes this the anchor, unless one over as many entries or more stands already: of several daemons the one that is
 * ahead wins. A loss that people have accepted stays in it until it is recorded.
 */
export async function moveAnchor(objects: TokenObjects, session: Handle, onward: Anchoring): Promise<void> {
  const { driver } = objects;
  const found = readAll(driver, session, await objects.search(session, ANCHOR));
  const newest = found[0]?.anchor;
  if (newest !== undefined && newest.size >= onward.size) return;
  make(driver, session, anchorAfter(onward, newest ?? emptyAnchor));
  for (const { handle } of newest === undefined ? found : found.slice(1))
    await objects.destroyHandle(session, handle);
}

/** Makes this the anchor, in the place of every other. For the ceremony. */
export function putAnchor(driver: PKCS11, session: Handle, anchor: Anchor): void {
  const found = findAll(driver, session, ANCHOR);
  make(driver, session, anchor);
  for (const handle of found) driver.C_DestroyObject(session, handle);
}

function make(driver: PKCS11, session: Handle, anchor: Anchor): void {
  const made = driver.C_CreateObject(session, [
    ...ANCHOR,
    { type: pkcs11.CKA_PRIVATE, value: true },
    { type: pkcs11.CKA_MODIFIABLE, value: false },
    { type: pkcs11.CKA_APPLICATION, value: 'escrowd' },
    { type: pkcs11.CKA_VALUE, value: Buffer.from(encodeAnchor(anchor)) },
  ]);
  if (read(driver, session, made) === undefined) throw unreadable();
}

/** Newest first; what cannot be read last. */
function readAll(driver: PKCS11, session: Handle, handles: readonly Handle[]): readonly Found[] {
  const found = handles.map((handle) => ({ handle, anchor: read(driver, session, handle) }));
  return found.sort((a, b) => (b.anchor?.size ?? -1) - (a.anchor?.size ?? -1));
}

function read(driver: PKCS11, session: Handle, handle: Handle): Anchor | undefined {
  const [value] = readBytes(driver, session, handle, [pkcs11.CKA_VALUE]);
  return value === undefined ? undefined : decodeAnchor(value);
}

function unreadable(): EscrowError {
  return new EscrowError('token-unavailable', undefined, {
    cause: new Error(`what is called ${LABEL} in the token cannot be read`),
  });
}
