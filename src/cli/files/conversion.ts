import { open } from 'node:fs/promises';

import { parseCanonicalJson } from '../../log/entry/canonical.js';
import { jsonOrUndefined } from '../../system/json.js';
import type { Result } from '../command.js';

/** What was done to a file of ours on its way, and what undoes it. */
interface Conversion {
  readonly sentence: string;
  readonly undo: string;
}

/** Enough of a file to see what it is. */
const HEAD_BYTES = 256 * 1024;

/** Files of other kinds, by what they begin with. */
const MAGIC: readonly (readonly [hex: string, what: string, undo: string])[] = [
  ['1f8b', 'it is compressed by gzip', 'gunzip -c FILE > NEW'],
  ['504b0304', 'it is a zip archive', 'unzip FILE'],
  ['fd377a585a00', 'it is compressed by xz', 'xz -dc FILE > NEW'],
  ['28b52ffd', 'it is compressed by zstd', 'zstd -dc FILE > NEW'],
  ['425a68', 'it is compressed by bzip2', 'bzip2 -dc FILE > NEW'],
  ['fffe', 'it was saved as UTF-16', 'iconv -f utf-16 -t utf-8 FILE > NEW'],
  ['feff', 'it was saved as UTF-16', 'iconv -f utf-16 -t utf-8 FILE > NEW'],
  ['efbbbf', 'an editor has put a byte order mark before it', 'tail -c +4 FILE > NEW'],
];

/**
 * How an export that is not believed differs from one by what mail programs, editors and scripts do to files. Says nothing of
 * whether what it tells is true: that is looked at when it is undone.
 * @throws an error of the system with `code` and `path`
 */
async function conversionOf(path: string): Promise<Conversion | undefined> {
  const head = await headOf(path);
  if (head.length === 0) return { sentence: 'it is empty', undo: 'export it again, or copy it again' };
  const found = MAGIC.find(([hex]) => head.toString('hex', 0, hex.length / 2) === hex);
  if (found !== undefined) return { sentence: found[1], undo: found[2] };
  const text = head.toString('utf8');
  const [line = '', ...more] = text.split('\n');
  if (more.length > 0 && line.endsWith('\r'))
    return { sentence: 'its lines end by CR LF, and not by LF', undo: "tr -d '\\r' < FILE > NEW" };
  if (/^\s*<(?:!doctype|html)/i.test(text))
    return { sentence: 'it is a web page', undo: 'export it again, or copy it again' };
  return isRewritten(text, line)
    ? {
        sentence: 'its JSON was written anew, with other spaces, order or line breaks',
        undo: 'the file as it was exported: what wrote it anew cannot be undone',
      }
    : undefined;
}

/** Whether it is JSON, and not in the one form in which an export has it. */
function isRewritten(text: string, line: string): boolean {
  if (jsonOrUndefined(line) === undefined) return /^\s*[[{]\s*(?:\r?\n|$)/.test(text);
  try {
    parseCanonicalJson(line);
    return false;
  } catch {
    // JSON it is
    return true;
  }
}

async function headOf(path: string): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/**
 * What is said of an export that is not believed: where it was converted on its way that, and how it is undone; else that it is not to be
 * believed, and whom to tell.
 * @param fault why, and the entry to blame if there is one
 */
export async function disbelieved(
  path: string,
  { index, reason }: { readonly index: number | undefined; readonly reason: string },
): Promise<Result> {
  const conversion = await conversionOf(path);
  if (conversion !== undefined)
    return {
      json: { ok: false, index: index ?? null, reason, converted: conversion.sentence },
      lines: [
        `This is not the file as it was exported: ${conversion.sentence}.`,
        'Whether what it says holds cannot be told from it.',
      ],
      next: `take the file as it was, or undo it: ${conversion.undo}; then verify that`,
      exit: 'usage',
    };
  const tell = 'tell the security team, and keep the file';
  return {
    json: { ok: false, index: index ?? null, reason },
    lines: [`Do not believe it: ${index === undefined ? '' : `entry ${index}: `}${reason}.`],
    next: reason.endsWith('truncated')
      ? `a copy that was cut off looks like this: copy or export it again; where it is so again, ${tell}`
      : tell,
    exit: 'disbelieved',
  };
}
