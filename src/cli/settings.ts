import { readFileSync } from 'node:fs';

import { dirname, isAbsolute, join, resolve } from 'node:path';

import { parse } from 'yaml';
import { z } from 'zod';

import { decodeText, TextError } from '../log/entry/plainText.js';
import { codeOf, fileReason } from '../system/errors.js';
import { UsageError } from './failures.js';
import type { CommandArguments } from './commandArguments.js';

const path = z.string().min(1).max(4096);

const schema = z.strictObject({
  identity: path.optional(),
  timeout: z.string().min(1).max(64).optional(),
  passphraseFile: path.optional(),
  cardPinFile: path.optional(),
  clientCert: path.optional(),
  clientKey: path.optional(),
  management: z.string().min(1).max(1024).optional(),
});

/** What holds for every command unless its command line says otherwise. Paths are absolute. */
export type Settings = Readonly<Record<keyof z.infer<typeof schema>, string | undefined>>;

type Variables = Readonly<Record<string, string | undefined>>;

/**
 * The settings of one run: an option, else its variable (ESCROWCTL_IDENTITY and so on), else the configuration file. That is
 * the file that ESCROWCTL_CONFIG names, else `escrowctl/config.yaml` under XDG_CONFIG_HOME or ~/.config when it is there.
 * Paths in it are relative to the file itself, or begin with `~/` for the home directory.
 * @throws UsageError when the file is not as it must be, or is named and not there
 */
export function readSettings(given: Pick<CommandArguments, 'find'>, variables: Variables): Settings {
  const file = readFile(variables);
  const pick = (option: string, variable: string, inFile: string | undefined): string | undefined =>
    given.find(option) ?? nonEmpty(variables[variable]) ?? inFile;
  return {
    identity: pick('as', 'ESCROWCTL_IDENTITY', file.identity),
    timeout: pick('timeout', 'ESCROWCTL_TIMEOUT', file.timeout),
    passphraseFile: pick('passphraseFile', 'ESCROWCTL_PASSPHRASE_FILE', file.passphraseFile),
    clientCert: pick('clientCert', 'ESCROWCTL_CLIENT_CERT', file.clientCert),
    clientKey: pick('clientKey', 'ESCROWCTL_CLIENT_KEY', file.clientKey),
    cardPinFile: pick('cardPinFile', 'ESCROWCTL_CARD_PIN_FILE', file.cardPinFile),
    management: pick('management', 'ESCROWCTL_MANAGEMENT', file.management),
  };
}

function readFile(variables: Variables): Partial<Settings> {
  const named = nonEmpty(variables['ESCROWCTL_CONFIG']);
  const file = named === undefined ? usualFile(variables) : resolve(named);
  const text = file === undefined ? undefined : readText(file, named !== undefined);
  if (file === undefined || text === undefined) return {};
  const read = schema.safeParse(parseYaml(text, file));
  if (!read.success) {
    const [issue] = read.error.issues;
    throw new UsageError(`${file}: ${[issue?.path.join('.'), issue?.message].filter(Boolean).join(': ')}`);
  }
  const at = (value: string | undefined): string | undefined =>
    value === undefined ? undefined : pathIn(file, value, variables);
  return {
    identity: at(read.data.identity),
    timeout: read.data.timeout,
    passphraseFile: at(read.data.passphraseFile),
    clientCert: at(read.data.clientCert),
    clientKey: at(read.data.clientKey),
    cardPinFile: at(read.data.cardPinFile),
    management: read.data.management,
  };
}

/** A path as people write it in a file: no shell has read it. @throws UsageError for somebody else's home, or where there is none */
function pathIn(file: string, path: string, variables: Variables): string {
  if (!/^~(?:$|[^/]*(?:\/|$))/.test(path)) return resolve(dirname(file), path);
  const home = nonEmpty(variables['HOME']);
  const [user, ...rest] = path.split('/');
  if (user !== '~' || home === undefined || !isAbsolute(home))
    throw new UsageError(
      `${file}: ${path}: ~ is your home directory, and is followed by /`,
      'write the whole path',
    );
  return join(home, ...rest);
}

/** XDG Base Directory Specification: a relative path in the variable is not used. */
function usualFile(variables: Variables): string | undefined {
  const home = nonEmpty(variables['HOME']);
  const xdg = nonEmpty(variables['XDG_CONFIG_HOME']);
  const base = xdg?.startsWith('/') === true ? xdg : home && join(home, '.config');
  return base === undefined ? undefined : join(base, 'escrowctl', 'config.yaml');
}

function readText(file: string, mustBe: boolean): string | undefined {
  try {
    return decodeText(readFileSync(file), file);
  } catch (error) {
    if (error instanceof TextError) throw error;
    if (codeOf(error) === 'ENOENT' && !mustBe) return undefined;
    throw new UsageError(
      `${file} cannot be read: ${fileReason(error)}`,
      'unset ESCROWCTL_CONFIG, or make the file',
    );
  }
}

/** An empty file sets nothing. */
function parseYaml(text: string, file: string): unknown {
  try {
    const value: unknown = parse(text);
    return value ?? {};
  } catch {
    throw new UsageError(`${file} is not YAML`);
  }
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}
