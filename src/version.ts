import { readFileSync } from 'node:fs';

/** What a program of this package says of itself: all have the version of the package. */
export function versionLine(program: string): string {
  return `${program} ${packageVersion()}`;
}

/** The version in package.json. */
export function packageVersion(): string {
  const file = new URL('../package.json', import.meta.url);
  const { version } = JSON.parse(readFileSync(file, 'utf8')) as { readonly version: string };
  return version;
}
