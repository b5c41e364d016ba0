import { decodeBase64, encodeBase64 } from './base64.js';
import { isWellFormed } from '../entry/canonical.js';
import { isKeyName, NoteError, type NoteVerifier } from './noteKey.js';

export interface NoteSignature {
  readonly name: string;
  /** The key id, an unsigned 32-bit number. */
  readonly keyId: number;
  /** As the algorithm makes it: 64 bytes for Ed25519, ASN.1 DER for ECDSA. */
  readonly signature: Uint8Array;
}

/** A note whose signatures have been checked. */
export interface OpenedNote {
  /** The text that is signed, with its final newline. */
  readonly text: string;
  /** The signatures by known keys, at least one; all of them hold. */
  readonly signatures: readonly NoteSignature[];
}

/** A note as it is read: nobody has checked whether those who are said to have signed it did. */
export interface ParsedNote {
  readonly text: string;
  readonly claimed: readonly NoteSignature[];
}

/** How many signatures a note may carry, known and unknown; C2SP signed-note asks for 16 at least. */
export const maximumSignatures = 100;

/**
 * The bytes that a key signs: the text with its final newline (C2SP signed-note, "Format").
 * @throws NoteError when `text` does not end in a newline, or has control characters or lone surrogates.
 */
export function noteSigningBytes(text: string): Uint8Array {
  checkText(text);
  return new TextEncoder().encode(text);
}

/**
 * Writes a signed note (C2SP signed-note, "Format"). The signatures are not checked.
 * @throws NoteError when the text or a key name cannot be in a note, or there is no signature or one
 *   without bytes.
 */
export function formatNote(text: string, signatures: readonly NoteSignature[]): string {
  checkText(text);
  if (signatures.length === 0) throw new NoteError('a note has a signature');
  return `${text}\n${signatures.map(signatureLine).join('')}`;
}

/**
 * Reads a signed note and checks it (C2SP signed-note, "Signatures"): signatures by keys that are not among
 * `verifiers` are ignored, whatever they are; those by known keys must hold, all of them, and there must be
 * one.
 * @throws NoteError when the note is malformed or cannot be believed, or two verifiers have the same name
 *   and key id.
 */
export function openNote(note: string, verifiers: readonly NoteVerifier[]): OpenedNote {
  const { text, claimed } = parseNote(note);
  const message = noteSigningBytes(text);
  const known: NoteSignature[] = [];
  for (const signature of claimed) {
    const verifier = findVerifier(verifiers, signature);
    if (verifier === undefined) continue;
    if (!verifier.verify(message, signature.signature)) {
      throw new NoteError(`the signature by ${signature.name} does not hold`);
    }
    known.push(signature);
  }
  if (known.length === 0) throw new NoteError('no signature by a known key');
  return { text, signatures: known };
}

/**
 * Reads a signed note without believing it: the signatures are not checked.
 * @throws NoteError when it is malformed.
 */
export function parseNote(note: string): ParsedNote {
  // The text may have empty lines of its own; the last one ends it.
  const textEnd = note.lastIndexOf('\n\n') + 1;
  if (textEnd === 0 || !note.endsWith('\n')) throw new NoteError('malformed note');
  const text = note.slice(0, textEnd);
  checkText(text);
  return { text, claimed: parseSignatureLines(note.slice(textEnd + 1)) };
}

/**
 * Reads signature lines, each ended by a newline, without believing them.
 * @throws NoteError when they are malformed, more than {@link maximumSignatures}, or none.
 */
export function parseSignatureLines(lines: string): readonly NoteSignature[] {
  if (!lines.endsWith('\n')) throw new NoteError('malformed signature line');
  const each = lines.slice(0, -1).split('\n');
  if (each.length > maximumSignatures) throw new NoteError('the note has too many signatures');
  return each.map(parseSignatureLine);
}

/**
 * Whether a note can have this text (C2SP signed-note, "Format"): it ends in a newline, and has no other
 * ASCII control character below U+0020 and no lone surrogate.
 */
export function isNoteText(text: string): boolean {
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  return text.endsWith('\n') && !/[\0-\x09\x0B-\x1F]/.test(text) && isWellFormed(text);
}

/**
 * A signature as a line of a note, with its newline: `— <name> base64(key id || signature)`, with an em dash (C2SP
 * signed-note, "Format").
 * @throws NoteError when no note can hold it.
 */
export function signatureLine({ name, keyId, signature }: NoteSignature): string {
  if (!isKeyName(name) || signature.length === 0) throw new NoteError('not a signature that a note can hold');
  const bytes = Buffer.alloc(4 + signature.length);
  bytes.writeUInt32BE(keyId);
  bytes.set(signature, 4);
  return `\u2014 ${name} ${encodeBase64(bytes)}\n`;
}

/**
 * What a line says that may be by anybody: its name is no wider than C2SP signed-note asks (not empty, no spaces, no plus), and its
 * base64 may have stray bits. A signature that is not written as {@link signatureLine} writes it is empty here, and holds by no key.
 */
function parseSignatureLine(line: string): NoteSignature {
  const [, name = '', base64 = ''] = /^\u2014 ([^ ]+) ([^ ]+)$/u.exec(line) ?? [];
  const exact = decodeBase64(base64);
  const bytes = exact ?? decodeBase64Loosely(base64);
  if (!isClaimedName(name) || bytes === undefined || bytes.length <= 4)
    throw new NoteError('malformed signature line');
  const isOwn = exact !== undefined && isKeyName(name);
  const signature = isOwn ? bytes.subarray(4) : new Uint8Array(0);
  return { name, keyId: Buffer.from(bytes).readUInt32BE(), signature };
}

function isClaimedName(name: string): boolean {
  return /^[^+\p{White_Space}]+$/u.test(name) && isWellFormed(name);
}

/** Standard base64 with padding, of which the last character may have bits that say nothing. */
function decodeBase64Loosely(text: string): Uint8Array | undefined {
  const isBase64 = text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);
  return isBase64 ? Buffer.from(text, 'base64') : undefined;
}

function findVerifier(
  verifiers: readonly NoteVerifier[],
  { name, keyId }: NoteSignature,
): NoteVerifier | undefined {
  const [verifier, another] = verifiers.filter((each) => each.name === name && each.keyId === keyId);
  if (another !== undefined) throw new NoteError(`two keys are known as ${name} with one key id`);
  return verifier;
}

function checkText(text: string): void {
  if (!isNoteText(text)) throw new NoteError('malformed text of a note');
}
