import { readFileSync, statSync } from 'node:fs';
import { basename } from 'node:path';

import { messageOf } from '../../system/errors.js';

/** The variable that names the configuration of SoftHSM. */
const VARIABLE = 'SOFTHSM2_CONF';

/** Variables by name, of which those of the process stand behind. */
type Variables = Readonly<Record<string, string | undefined>>;

/**
 * What SoftHSM would not find: its configuration, or the directory of tokens that this names (softhsm2.conf(5)), as a sentence
 * with what mends it; undefined when both are there, and when no configuration is named. SoftHSM itself says of each
 * only that it cannot be initialised.
 */
export function softHsmFault(variables: Variables): string | undefined {
  const file = variables[VARIABLE];
  if (file === undefined) return undefined;
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    return `SoftHSM's configuration ${file} cannot be read (${messageOf(error)}). It names the directory of its tokens: directories.tokendir = DIR. \`escrowd init DIR --softhsm\` makes both.`;
  }
  const [, directory] = /^\s*directories\.tokendir\s*=\s*(\S.*?)\s*$/m.exec(text) ?? [];
  if (directory === undefined)
    return `SoftHSM's configuration ${file} names no directory of tokens: directories.tokendir = DIR.`;
  if (statSync(directory, { throwIfNoEntry: false })?.isDirectory() === true) return undefined;
  return `The directory of tokens ${directory}, which SoftHSM's configuration ${file} names, is not there. Make it: mkdir -m 0700 ${directory}`;
}

/** Where a module looks for its tokens, as far as that is known: for the sentence that one is not there. */
export function lookedIn(module: string, variables: Variables): string {
  if (!basename(module).includes('softhsm')) return module;
  const file = variables[VARIABLE];
  return file === undefined
    ? `${module} with the system's configuration of SoftHSM (no --token-conf, no ${VARIABLE})`
    : `${module} with ${VARIABLE}=${file}`;
}

/** The tokens that a module shows, in words. */
export function shownTokens(labels: readonly string[]): string {
  if (labels.length === 0) return 'It shows no token';
  return `It shows ${labels.map((label) => `"${label}"`).join(', ')}`;
}
