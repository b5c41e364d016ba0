import { isDeepStrictEqual } from 'node:util';

import type { Config } from '../config.js';

/** What a daemon takes anew while it works, by the members of its configuration; of these everything below them. */
const RELOADED = [
  'logLevel',
  'notifications',
  'tls',
  'witnesses',
  'requests.answerMs',
  'requests.atOnce',
  'requests.connections',
  'requests.maxBodyBytes',
  'requests.perAddress',
  'requests.perCaller',
  'requests.receiveMs',
  'requests.unknownBytes',
] as const;

/** The members, by name, in which a configuration differs from the one a daemon was started with, and that only a start takes. */
export function restartNeeded(started: Config, now: Config): readonly string[] {
  return differing(started, now, '');
}

function differing(a: unknown, b: unknown, at: string): readonly string[] {
  if (RELOADED.some((name) => name === at) || isDeepStrictEqual(a, b)) return [];
  if (!isObject(a) || !isObject(b)) return [at];
  const names = [...new Set([...Object.keys(a), ...Object.keys(b)])].sort();
  return names.flatMap((name) => differing(a[name], b[name], at === '' ? name : `${at}.${name}`));
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
