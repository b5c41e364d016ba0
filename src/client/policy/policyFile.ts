import { isJsonObject } from '../../log/entry/canonical.js';
import { dirname, resolve } from 'node:path';
import { types } from 'node:util';
import { parse, YAMLParseError } from 'yaml';

import { TextError } from '../../log/entry/plainText.js';
import { fileReason } from '../../system/errors.js';
import { IdentityError, PolicyDocumentError } from '../errors.js';
import { readTextFile } from '../files/textFile.js';
import { type PublicPart, parsePublicPart } from '../identity/publicPart.js';

/**
 * Reads a policy document from YAML or JSON. A principal's `keysFrom: path` (relative to the file) is replaced by the
 * keys, with the fingerprint of the depositary key and the delivery key if any, of that `public.json`, so that what is signed holds the keys themselves.
 *
 * The form of the document is not checked: see `checkPolicyDocument`.
 * @throws TextError when it is not UTF-8 in NFC; PolicyDocumentError when it is not YAML, or a `keysFrom` does not lead to the keys of that principal
 */
export async function readPolicyFile(path: string): Promise<unknown> {
  const document = parseYaml(await readTextFile(path));
  if (!isJsonObject(document) || !Array.isArray(document['principals'])) return document;
  const principals = await Promise.all(
    document['principals'].map((principal, at) => withKeys(principal, `principals[${at}]`, dirname(path))),
  );
  return { ...document, principals };
}

function parseYaml(text: string): unknown {
  try {
    // YAML 1.2 core: a date or `yes` is a string; a member twice is an error; aliases are not what people sign
    return parse(text, { version: '1.2', schema: 'core', uniqueKeys: true, maxAliasCount: 0 });
  } catch (error) {
    const message =
      error instanceof YAMLParseError || types.isNativeError(error) ? error.message : 'unreadable';
    throw new PolicyDocumentError([`not YAML: ${message.split('\n', 1)[0] ?? message}`]);
  }
}

async function withKeys(principal: unknown, place: string, directory: string): Promise<unknown> {
  if (!isJsonObject(principal) || !('keysFrom' in principal)) return principal;
  const { keysFrom, ...rest } = principal;
  if (typeof keysFrom !== 'string' || 'keys' in principal) {
    throw new PolicyDocumentError([
      `${place}: keysFrom is the path of a public.json, and stands instead of keys`,
    ]);
  }
  const part = await readPart(resolve(directory, keysFrom), `${place}.keysFrom`);
  if (part.id !== rest['id']) {
    throw new PolicyDocumentError([`${place}.keysFrom: ${keysFrom} holds the keys of ${part.id}`]);
  }
  const { depositaryKey, deliveryKey } = part;
  return {
    ...(depositaryKey === undefined ? {} : { depositaryKey }),
    ...(deliveryKey === undefined ? {} : { deliveryKey }),
    ...rest,
    keys: part.keys,
  };
}

async function readPart(path: string, place: string): Promise<PublicPart> {
  let text: string;
  try {
    text = await readTextFile(path);
  } catch (error) {
    if (error instanceof TextError) throw error;
    throw new PolicyDocumentError([`${place}: ${path} cannot be read: ${fileReason(error)}`]);
  }
  try {
    return parsePublicPart(text);
  } catch (error) {
    if (!(error instanceof IdentityError)) throw error;
    throw new PolicyDocumentError([`${place}: ${path}: ${error.message}`]);
  }
}
