import { parsePolicy } from '../http/policyDocument.js';
import type { Policy } from '../escrow/records/policy.js';
import type { Config } from './config.js';
import { allOf, ConfigError } from './start/configError.js';
import { readText } from './start/namedFiles.js';
import { readAuthorities } from './start/tlsPair.js';
import { messageOf } from '../system/errors.js';
import type { WitnessAt } from '../cosigning/submission.js';

/** Version 0 of the policy: the first administrators, who sign the first real one. */
export function readAdministrators(file: string): Policy {
  const where = `administrators: ${file}`;
  const remedy = 'write the members id and keys of the first administrators into it, as they gave them';
  const text = readText(file, remedy, where);
  try {
    const people: unknown = JSON.parse(text);
    if (!isListOfPeople(people)) throw new Error('each must be { "id": ..., "keys": [...] }');
    // the first policy names the hash of this one: the order of people in the file means nothing
    const principals = [...people]
      .sort((a, b) => (a.id < b.id ? -1 : 1))
      .map(({ id, keys }) => ({ id, kind: 'person', name: id, roles: ['admin'], keys }));
    return parsePolicy(JSON.stringify({ version: 1, principals, rules: [] }), 0);
  } catch (error) {
    const what = `it is not a list of administrators: ${messageOf(error)}`;
    throw new ConfigError([{ where, what, do: remedy }], { cause: error });
  }
}

function isListOfPeople(
  people: unknown,
): people is readonly { readonly id: string; readonly keys: unknown }[] {
  const isPerson = (one: unknown): boolean =>
    typeof one === 'object' && one !== null && 'id' in one && typeof one.id === 'string' && 'keys' in one;
  return Array.isArray(people) && people.every(isPerson);
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
