import { constants, createDecipheriv, createPublicKey, publicEncrypt } from 'node:crypto';

import { type DecryptionKey, type OaepName, oaepHash } from '../identity/decryptionKey.js';
import { NotBelieved } from '../errors.js';

/** R is an AES-256 key. */
const SECRET_BYTES = 32;
/** A link has its 96-bit IV in front and its tag behind (SP 800-38D section 5.2.1). */
const IV_BYTES = 12;
const TAG_BYTES = 16;

export interface ShareToOpen {
  /** OAEP(depositary's public key, R). */
  readonly share: Uint8Array;
  /** AES-256-GCM under R: what proves that R is of this deposit. */
  readonly link: Uint8Array;
  /** The associated data that the link must have been sealed with. */
  readonly context: Uint8Array;
  readonly depositaryKey: DecryptionKey;
  readonly oaep: OaepName;
}

export interface ShareToPassOn extends ShareToOpen {
  /** DER SubjectPublicKeyInfo of the one-time key, attested. */
  readonly transportKey: Uint8Array;
}

/**
 * OAEP(transport key, R), once the link has opened under R. R stands in this process between two calls into OpenSSL, and is
 * overwritten whatever happens.
 * @throws NotBelieved `share-malformed` when the share does not open to 32 bytes, `share-mismatch` when R is of another
 *   deposit than the associated data says
 */
export async function reencryptShare(order: ShareToPassOn): Promise<Buffer> {
  const { transportKey, oaep } = order;
  const transport = createPublicKey({ key: Buffer.from(transportKey), format: 'der', type: 'spki' });
  return withSecret(order, (secret) => {
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    return publicEncrypt({ key: transport, padding, oaepHash: oaepHash(oaep) }, secret);
  });
}

/**
 * Opens a share and its link as {@link reencryptShare} does, and makes nothing of it: a share that could not be passed on is
 * found now.
 * @throws NotBelieved as there
 */
export function checkShare(order: ShareToOpen): Promise<void> {
  return withSecret(order, () => undefined);
}

/** What a drill finds: what is in the link, which the caller overwrites, or what did not open. */
export type OpenedLink =
  { readonly opening: Buffer } | { readonly failed: 'share-unopened' | 'link-unopened' };

/** Opens a share, and with what is in it the link. R is overwritten before this resolves. */
export async function openLinkOf(order: ShareToOpen): Promise<OpenedLink> {
  const { share, link, context, depositaryKey, oaep } = order;
  const secret = await depositaryKey.open(share, oaep);
  if (secret === undefined) return { failed: 'share-unopened' };
  try {
    const opening = secret.length === SECRET_BYTES ? openLink(secret, link, context) : undefined;
    return opening === undefined ? { failed: 'link-unopened' } : { opening };
  } finally {
    secret.fill(0);
  }
}

async function withSecret<T>(order: ShareToOpen, use: (secret: Buffer) => T): Promise<T> {
  const { share, link, context, depositaryKey, oaep } = order;
  const secret = await depositaryKey.open(share, oaep);
  if (secret === undefined) {
    throw new NotBelieved('share-malformed', 'the share does not open with this depositary key');
  }
  try {
    if (secret.length !== SECRET_BYTES) throw new NotBelieved('share-malformed');
    if (!opensLink(secret, link, context)) throw new NotBelieved('share-mismatch');
    return use(secret);
  } finally {
    secret.fill(0);
  }
}

/** Whether the tag holds. What is inside is ciphertext for the server's own key, and is dropped. */
function opensLink(secret: Buffer, link: Uint8Array, context: Uint8Array): boolean {
  return openLink(secret, link, context) !== undefined;
}

/** What is inside; undefined when the tag does not hold. */
function openLink(secret: Buffer, link: Uint8Array, context: Uint8Array): Buffer | undefined {
  if (link.length <= IV_BYTES + TAG_BYTES) return undefined;
  const decipher = createDecipheriv('aes-256-gcm', secret, link.subarray(0, IV_BYTES), {
    authTagLength: TAG_BYTES,
  });
  decipher.setAAD(context);
  decipher.setAuthTag(link.subarray(-TAG_BYTES));
  try {
    return Buffer.concat([decipher.update(link.subarray(IV_BYTES, -TAG_BYTES)), decipher.final()]);
  } catch {
    return undefined;
  }
}
