import { createHmac, randomBytes } from 'node:crypto';

import {
  MAX_SECRET_BYTES,
  SECRET_CHECK_TEXT,
  SECRET_FRAME_BYTES,
  SECRET_LENGTH_BYTES,
  SECRET_SALT_BYTES,
} from '../../escrow/records/keySpecs.js';
import { sameBytes } from '../../log/tree/merkle.js';

const HEAD_BYTES = SECRET_SALT_BYTES + SECRET_LENGTH_BYTES;

/** Why bytes are no secret that can be imported. */
export const SECRET_FAULTS = {
  'secret-empty': 'The secret is empty.',
  'secret-too-long': `The secret has more than ${MAX_SECRET_BYTES} bytes.`,
} as const satisfies Record<string, string>;

/** Bytes that are not imported. Nothing of them was sent, and the message says nothing of them. */
export class SecretError extends Error {
  override readonly name = 'SecretError';

  constructor(readonly code: keyof typeof SECRET_FAULTS) {
    super(SECRET_FAULTS[code]);
  }
}

/** @throws SecretError */
export function requireSecret(secret: Uint8Array): void {
  if (secret.length === 0) throw new SecretError('secret-empty');
  if (secret.length > MAX_SECRET_BYTES) throw new SecretError('secret-too-long');
}

/** A secret in its frame. Call {@link destroyFramed} when it has been wrapped. */
export interface FramedSecret {
  readonly frame: Buffer;
  /** What says which secret it is, and nothing about it to anybody who guesses. */
  readonly checkValue: Buffer;
}

/**
 * A secret in the smallest frame that holds it (see `records/keySpecs.ts`).
 * @param secret not changed
 * @throws SecretError
 */
export function frameSecret(secret: Buffer): FramedSecret {
  requireSecret(secret);
  const frame = Buffer.alloc(frameBytesFor(secret.length));
  randomBytes(SECRET_SALT_BYTES).copy(frame);
  frame.writeUInt16BE(secret.length, SECRET_SALT_BYTES);
  secret.copy(frame, HEAD_BYTES);
  return { frame, checkValue: checkValueOf(frame) };
}

/** Overwrites what can be overwritten. */
export function destroyFramed({ frame }: FramedSecret): void {
  frame.fill(0);
}

/** What is wrong with what should be the frame of a secret. */
export type FrameFault = 'length' | 'another-secret' | 'secret-length' | 'bucket' | 'padding';

/**
 * The secret of a frame: a copy, to be overwritten. Each byte of the frame is looked at: its length is that of the smallest frame for
 * the secret, its check value the one that was deposited, and nothing but zeros is behind the secret.
 */
export function readFrame(
  frame: Buffer,
  checkValue: Uint8Array,
): { readonly secret: Buffer } | { readonly fault: FrameFault } {
  if (!SECRET_FRAME_BYTES.some((bytes) => bytes === frame.length)) return { fault: 'length' };
  if (!sameBytes(checkValueOf(frame), checkValue)) return { fault: 'another-secret' };
  const length = frame.readUInt16BE(SECRET_SALT_BYTES);
  if (length === 0 || length > MAX_SECRET_BYTES) return { fault: 'secret-length' };
  if (frameBytesFor(length) !== frame.length) return { fault: 'bucket' };
  if (frame.subarray(HEAD_BYTES + length).some((byte) => byte !== 0)) return { fault: 'padding' };
  return { secret: Buffer.from(frame.subarray(HEAD_BYTES, HEAD_BYTES + length)) };
}

function checkValueOf(frame: Buffer): Buffer {
  return createHmac('sha256', frame).update(SECRET_CHECK_TEXT).digest();
}

function frameBytesFor(secretBytes: number): number {
  const bytes = SECRET_FRAME_BYTES.find((room) => room >= HEAD_BYTES + secretBytes);
  if (bytes === undefined) throw new RangeError('no frame holds so many bytes');
  return bytes;
}
