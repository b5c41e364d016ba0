import { existsSync } from 'node:fs';
import { decodeText, TextError } from '../../log/entry/plainText.js';
import { readNamedFile } from '../../system/namedFile.js';
import { fileReason } from '../../system/errors.js';
import { replaceFile } from '../../system/files.js';
import { CeremonyRefused } from './ceremonySession.js';

/** Reads a text file. Throws {@link CeremonyRefused} that names it. */
export function readText(file: string): string {
  try {
    return decodeText(readNamedFile(file).bytes, file);
  } catch (error) {
    const why = error instanceof TextError ? `${error.message}.` : `The file ${file} cannot be read.`;
    throw new CeremonyRefused(why, { cause: error });
  }
}

/** Writes a public file whole or not at all; it is on disk when this resolves. */
export async function writeText(file: string, text: string): Promise<void> {
  try {
    await replaceFile(file, text, 0o644);
  } catch (error) {
    throw new CeremonyRefused(`The file ${file} cannot be written: ${fileReason(error)}.`, { cause: error });
  }
}

/** Refuses to write over what is there. */
export function requireAbsent(file: string): void {
  if (existsSync(file)) throw new CeremonyRefused(`The file ${file} is there already. Give another name.`);
}
