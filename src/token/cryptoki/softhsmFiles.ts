import { accessSync, constants, readFileSync } from 'node:fs';
import { basename } from 'node:path';

import { codeOf } from '../../system/errors.js';

/**
 * What is wrong with the files that SoftHSM goes by, in a sentence: of itself it says CKR_GENERAL_ERROR, or shows no tokens. Undefined
 * when nothing is found, or when the module is another one.
 *
 * @param variables SOFTHSM2_CONF is what the module is given, or what the process has
 */
export function whatSoftHsmLacks(
  modulePath: string,
  variables: Readonly<Record<string, string | undefined>>,
): string | undefined {
  const file = variables['SOFTHSM2_CONF'];
  if (!basename(modulePath).includes('softhsm') || file === undefined) return undefined;
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    return `The configuration of SoftHSM that SOFTHSM2_CONF names, ${file}, ${whyNot(error)}.`;
  }
  // softhsm2.conf(5): one setting a line
  const directory = /^\s*directories\.tokendir\s*=\s*(.+?)\s*$/m.exec(text)?.[1];
  if (directory === undefined) return `The configuration of SoftHSM, ${file}, has no directories.tokendir.`;
  try {
    accessSync(directory, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    return `The directory of tokens that ${file} names (directories.tokendir), ${directory}, ${whyNot(error)}.`;
  }
  return undefined;
}

function whyNot(error: unknown): string {
  switch (codeOf(error) ?? '') {
    case 'ENOENT':
      return 'is not there';
    case 'EACCES':
      return 'is not for the user of this program to use';
    default:
      return `cannot be used (${codeOf(error) ?? 'no reason was told'})`;
  }
}
