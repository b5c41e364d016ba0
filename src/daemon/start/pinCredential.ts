import { join } from 'node:path';

import type { Environment } from './environment.js';
import type { Fault } from './fault.js';

/** NAME of `credential:NAME`; undefined when the PIN is in a file of its own. */
function credentialName(pinFile: string): string | undefined {
  return /^credential:(.*)$/s.exec(pinFile)?.[1];
}

/** What is wrong with a PIN that is to be a credential of systemd. */
export function credentialFaults(file: string, pinFile: string, environment: Environment): readonly Fault[] {
  const name = credentialName(pinFile);
  const where = `${file}: token.pinFile`;
  if (name === undefined) return [];
  if (!/^[^/]+$/.test(name) || name.startsWith('.')) {
    const what = `"${name}" is no name of a credential`;
    return [{ where, what, do: 'write it as LoadCredential= of the unit has it, without a path' }];
  }
  if (environment['CREDENTIALS_DIRECTORY'] === undefined) {
    const what = `systemd has given no credentials (LoadCredential=${name}:...)`;
    const remedy = 'start it as a service whose unit has that line, or name a file';
    return [{ where, what, do: remedy }];
  }
  return [];
}

/** The file that `credential:NAME` means: a credential that systemd has loaded for this service (systemd.exec(5)). */
export function credentialOf(pinFile: string, environment: Environment): string | undefined {
  const [name, directory] = [credentialName(pinFile), environment['CREDENTIALS_DIRECTORY']];
  return name === undefined || directory === undefined ? undefined : join(directory, name);
}
