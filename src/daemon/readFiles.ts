import { decodeText } from '../log/entry/plainText.js';
import { parsePolicy } from '../http/policyDocument.js';
import type { Policy } from '../escrow/records/policy.js';
import { readFileSync } from 'node:fs';
import { type Config, ConfigError } from './config.js';
import type { WitnessAt } from '../cosigning/submission.js';

/** Certificate and key in PEM. Throws {@link ConfigError}. */
export function readTls(config: Config): { readonly cert: string; readonly key: string } {
  try {
    return { cert: read(config.tls.certificate), key: read(config.tls.key) };
  } catch (error) {
    throw new ConfigError('the TLS certificate or key cannot be read', { cause: error });
  }
}

/** Version 0 of the policy: the first administrators, who sign the first real one. */
export function readAdministrators(file: string): Policy {
  try {
    const people = JSON.parse(decodeText(readFileSync(file), file)) as readonly {
      readonly id: string;
      readonly keys: unknown;
    }[];
    // the first policy names the hash of this one: the order of people in the file means nothing
    const principals = [...people]
      .sort((a, b) => (a.id < b.id ? -1 : 1))
      .map(({ id, keys }) => ({ id, kind: 'person', name: id, roles: ['admin'], keys }));
    return parsePolicy(JSON.stringify({ version: 1, principals, rules: [] }), 0);
  } catch (error) {
    throw new ConfigError(
      `${file} is not a list of administrators: ${error instanceof Error ? error.message : ''}`,
      {
        cause: error,
      },
    );
  }
}

const read = (file: string): string => decodeText(readFileSync(file), file);
/** The witnesses of the configuration, each with its key. Throws {@link ConfigError}. */
export function readWitnesses({ witnesses }: Config): readonly WitnessAt[] {
  return witnesses.map(({ key, url, ca: file }) => {
    try {
      return { key, url, ...(file === undefined ? {} : { ca: decodeText(readFileSync(file), file) }) };
    } catch (error) {
      throw new ConfigError(`the CA of the witness ${key.name} cannot be read`, { cause: error });
    }
  });
}
