import { decodeText } from '../log/entry/plainText.js';
import { parsePolicy } from '../http/policyDocument.js';
import type { Policy } from '../escrow/records/policy.js';
import { readFileSync } from 'node:fs';
import { allOf, type Config, ConfigError, unreadable } from './config.js';
import { readAuthorities } from './start/tlsPair.js';
import { messageOf } from '../system/errors.js';
import type { WitnessAt } from '../cosigning/submission.js';

/** Version 0 of the policy: the first administrators, who sign the first real one. */
export function readAdministrators(file: string): Policy {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw unreadable(file, error);
  }
  try {
    const people = JSON.parse(decodeText(bytes, file)) as readonly {
      readonly id: string;
      readonly keys: unknown;
    }[];
    // the first policy names the hash of this one: the order of people in the file means nothing
    const principals = [...people]
      .sort((a, b) => (a.id < b.id ? -1 : 1))
      .map(({ id, keys }) => ({ id, kind: 'person', name: id, roles: ['admin'], keys }));
    return parsePolicy(JSON.stringify({ version: 1, principals, rules: [] }), 0);
  } catch (error) {
    const what = `it is not a list of administrators: ${messageOf(error)}`;
    const remedy = 'write the members id and keys of the first administrators into it, as they gave them';
    throw new ConfigError([{ where: `administrators: ${file}`, what, do: remedy }], { cause: error });
  }
}

/** The witnesses of the configuration, each with its key. Throws {@link ConfigError}. */
export function readWitnesses({ witnesses }: Config): readonly WitnessAt[] {
  return allOf(
    witnesses.map(({ key, url, ca: file }) => () => ({
      key,
      url,
      ...(file === undefined ? {} : { ca: readAuthorities(file) }),
    })),
  );
}
