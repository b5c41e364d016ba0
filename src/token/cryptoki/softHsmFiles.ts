import { accessSync, constants, readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';

import { codeOf, messageOf } from '../../system/errors.js';
import { readNamedFile } from '../../system/namedFile.js';

/** The variable that names the configuration of SoftHSM. */
const VARIABLE = 'SOFTHSM2_CONF';

/** Variables by name, of which those of the process stand behind. */
type Variables = Readonly<Record<string, string | undefined>>;

/** Where SoftHSM looks when no configuration is named: as it is built by itself, and by Debian. */
const SYSTEM_FILES = ['/etc/softhsm2.conf', '/etc/softhsm/softhsm2.conf'];
const NONE_NAMED = `No configuration of SoftHSM is named: give --token-conf FILE in the ceremony, or ${VARIABLE} in token.environment of the daemon's configuration.`;

/**
 * What SoftHSM would not find: its configuration, or the directory of tokens that this names (softhsm2.conf(5)), as a sentence
 * with what mends it; undefined when both are there, and for other modules. SoftHSM itself says of each
 * only that it cannot be initialised.
 */
export function softHsmFault(module: string, variables: Variables): string | undefined {
  return faultIn(configurationOf(module, variables), directoryFault);
}

/**
 * Why the configuration cannot be read that SoftHSM would open when it is initialised, in the same way: of a pipe, for one, it would
 * wait for a writer for ever.
 */
export function unreadableSoftHsmFile(module: string, variables: Variables): string | undefined {
  return faultIn(configurationOf(module, variables), () => undefined);
}

/** A configuration of SoftHSM, and whether somebody named it or it is that of the system. */
interface Configuration {
  readonly file: string;
  readonly isNamed: boolean;
}

/** The one that SoftHSM opens. Undefined for other modules, and where it is not known: other builds look in other places. */
function configurationOf(module: string, variables: Variables): Configuration | undefined {
  if (!isSoftHsm(module)) return undefined;
  const named = variables[VARIABLE];
  if (named !== undefined) return { file: named, isNamed: true };
  const home = variables['HOME'];
  const files = [
    ...(home === undefined ? [] : [join(home, '.config/softhsm2/softhsm2.conf')]),
    ...SYSTEM_FILES,
  ];
  const file = files.find(isThere);
  return file === undefined ? undefined : { file, isNamed: false };
}

function faultIn(
  configuration: Configuration | undefined,
  faultOfText: (file: string, text: string) => string | undefined,
): string | undefined {
  if (configuration === undefined) return undefined;
  const { file, isNamed } = configuration;
  const read = readOrFault(file);
  const fault = 'fault' in read ? read.fault : faultOfText(file, read.text);
  return fault === undefined || isNamed ? fault : `${NONE_NAMED} Of the system's: ${fault}`;
}

/** What is said when SoftHSM does not start, and nothing that it needs was found missing. */
export function softHsmAdvice(module: string, variables: Variables): string | undefined {
  return isSoftHsm(module) && variables[VARIABLE] === undefined ? NONE_NAMED : undefined;
}

/**
 * The directories in which SoftHSM keeps the objects of each token that this user can read, as far as its configuration is found;
 * none for other modules.
 */
export function softHsmTokens(module: string, variables: Variables): readonly string[] {
  const file = variables[VARIABLE];
  if (!isSoftHsm(module) || file === undefined) return [];
  try {
    const directory = directoryIn(readNamedFile(file).bytes.toString());
    if (directory === undefined) return [];
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => join(directory, name))
      .filter(isReadable);
  } catch {
    return []; // whoever opens the token says so
  }
}

function isReadable(directory: string): boolean {
  try {
    accessSync(directory, constants.R_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** As softhsm2.conf(5) has it. */
function directoryIn(text: string): string | undefined {
  return /^\s*directories\.tokendir\s*=\s*(\S.*?)\s*$/m.exec(text)?.[1];
}

function isSoftHsm(module: string): boolean {
  return basename(module).includes('softhsm');
}

/** Also where one may not look. */
function isThere(file: string): boolean {
  try {
    statSync(file);
    return true;
  } catch (error) {
    return codeOf(error) !== 'ENOENT';
  }
}

function readOrFault(file: string): { readonly text: string } | { readonly fault: string } {
  try {
    return { text: readNamedFile(file).bytes.toString() };
  } catch (error) {
    return {
      fault: `SoftHSM's configuration ${file} cannot be read (${messageOf(error)}). It names the directory of its tokens: directories.tokendir = DIR. \`escrowd init DIR --softhsm\` makes both.`,
    };
  }
}

function directoryFault(file: string, text: string): string | undefined {
  const directory = directoryIn(text);
  if (directory === undefined)
    return `SoftHSM's configuration ${file} names no directory of tokens: directories.tokendir = DIR.`;
  if (statSync(directory, { throwIfNoEntry: false })?.isDirectory() === true)
    return isReadable(directory)
      ? undefined
      : `The directory of tokens ${directory}, which SoftHSM's configuration ${file} names, cannot be read by the user of this program. Give it to that user.`;
  return `The directory of tokens ${directory}, which SoftHSM's configuration ${file} names, is not there. Make it: mkdir -m 0700 ${directory}`;
}

/** Where a module looks for its tokens, as far as that is known: for the sentence that one is not there. */
export function lookedIn(module: string, variables: Variables): string {
  if (!isSoftHsm(module)) return module;
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
