import { canonicalJson, isJsonObject, parseCanonicalJson, type Json } from '../entry/canonical.js';
import { sha256 } from '../tree/merkle.js';

/*
 * An export of the log is NDJSON: one canonical JSON value a line, each line ended by a line feed, also the last.
 *
 *   {"escrowd-export":1,"logKey":"<vkey>","origin":"<origin>"}   one header
 *   {"document":{...},"sha256":"<hex>"}                          each directory document that was ever applied, once
 *   {"act":...}                                                  each entry in its exact bytes, from index 0 on
 *   {"checkpoint":"<signed note>"}                               the signed head of just these entries
 */

/** The first line of an export: whose log it is, and the key (vkey) that is said to sign it. */
export interface ExportHeader {
  readonly origin: string;
  readonly logKey: string;
}

/** A directory document, and the hash by which the entry that puts it in force names it. */
export interface ExportDocument {
  readonly document: Json;
  /** See {@link documentHash}. */
  readonly sha256: string;
}

/** A line that is not what an export has in its place; the message says why. */
export class ExportError extends Error {
  override readonly name = 'ExportError';
}

/** SHA-256, in lower-case hexadecimal, of the canonical JSON of a document in UTF-8. */
export function documentHash(document: Json): string {
  return Buffer.from(sha256(Buffer.from(canonicalJson(document)))).toString('hex');
}

/** The header of an export, without its line feed. */
export function headerLine({ origin, logKey }: ExportHeader): string {
  return canonicalJson({ 'escrowd-export': 1, logKey, origin });
}

/** The line of a document, without its line feed. */
export function documentLine(document: Json): string {
  return canonicalJson({ document, sha256: documentHash(document) });
}

/**
 * The last line of an export, without its line feed.
 * @param note the signed checkpoint
 */
export function checkpointLine(note: string): string {
  return canonicalJson({ checkpoint: note });
}

/**
 * What a line after the header is, by its beginning, which canonical form fixes: anything else has to be an
 * entry.
 */
export function lineKind(line: string): 'document' | 'entry' | 'checkpoint' {
  if (line.startsWith('{"document":')) return 'document';
  return line.startsWith('{"checkpoint":') ? 'checkpoint' : 'entry';
}

/** Reads what {@link headerLine} writes. @throws ExportError */
export function parseHeaderLine(line: string): ExportHeader {
  const { 'escrowd-export': version, logKey, origin } = members(line, ['escrowd-export', 'logKey', 'origin']);
  if (version !== 1 || typeof logKey !== 'string' || typeof origin !== 'string') {
    throw new ExportError('not the header of an export of version 1');
  }
  return { origin, logKey };
}

/** Reads what {@link documentLine} writes. @throws ExportError also when the document has another hash. */
export function parseDocumentLine(line: string): ExportDocument {
  const { document, sha256: hash } = members(line, ['document', 'sha256']);
  if (document === undefined || hash !== documentHash(document)) {
    throw new ExportError('a document does not have the hash beside it');
  }
  return { document, sha256: hash };
}

/** Reads what {@link checkpointLine} writes, and returns the signed note. @throws ExportError */
export function parseCheckpointLine(line: string): string {
  const { checkpoint } = members(line, ['checkpoint']);
  if (typeof checkpoint !== 'string') throw new ExportError('the checkpoint is not a signed note');
  return checkpoint;
}

function members(line: string, names: readonly string[]): Readonly<Record<string, Json | undefined>> {
  const value = parsed(line);
  if (!isJsonObject(value)) throw new ExportError('a line is not an object');
  if (Object.keys(value).join() !== names.join())
    throw new ExportError(`a line does not have just ${names.join(', ')}`);
  return value;
}

function parsed(line: string): Json {
  try {
    return parseCanonicalJson(line);
  } catch (cause) {
    throw new ExportError('a line is not canonical JSON', { cause });
  }
}
