import type { Config } from '../config.js';
import { configuredToken, type ConfiguredToken, proveToken, requirePin } from '../startToken.js';
import type { Anchor } from '../../log/anchor.js';
import { vkeyFor } from '../../log/note/noteKey.js';
import type { FileSystem } from '../../system/place.js';
import { lookAtTokenPlace } from '../start/tokenPlace.js';
import type { Findings } from './findings.js';

/** What a token has and remembers of a log. */
export interface CheckedToken {
  readonly origin: string;
  readonly vkey: string;
  readonly anchor: Anchor;
}

/** The files of the token: its profile, the record of the ceremony, the PIN. Undefined when it cannot be opened by them. */
export async function checkTokenFiles(
  config: Config,
  {
    configFile,
    packageDirectory,
    fileSystemAt,
  }: {
    readonly configFile: string;
    readonly packageDirectory: string;
    readonly fileSystemAt: ((path: string) => FileSystem) | undefined;
  },
  findings: Findings,
): Promise<ConfiguredToken | undefined> {
  const { profile, pinFile } = config.token;
  const configured = await findings.attempt({ code: 'token', where: `token.profile: ${profile}` }, () =>
    configuredToken(config, configFile, packageDirectory),
  );
  const hasPin = await findings.attempt({ code: 'file', where: `token.pinFile: ${pinFile}` }, () => {
    requirePin(config);
    return true;
  });
  const cautions =
    configured === undefined
      ? []
      : await findings.attempt({ code: 'place', where: 'token' }, () =>
          lookAtTokenPlace(config, configured.profile, fileSystemAt),
        );
  for (const caution of cautions ?? []) findings.add('warning', { code: 'place', ...caution });
  return hasPin === undefined ? undefined : configured;
}

/**
 * Opens the token as a start does, once, so that the PIN is tried once, looks for what the ceremony has made, and gives it back. Makes
 * nothing in it, unless it `provesItself`: that needs keys to be made. Undefined when it cannot be opened.
 */
export async function checkToken(
  config: Config,
  configured: ConfiguredToken | undefined,
  { provesItself, findings }: { readonly provesItself: boolean; readonly findings: Findings },
): Promise<CheckedToken | undefined> {
  const { label, record, allowSpy } = config.token;
  const where = `token "${label}"`;
  if (record === undefined)
    findings.add('warning', {
      code: 'token-objects',
      where: 'token.record',
      what: "it is not configured: a key-encryption key that somebody planted may pass for the ceremony's",
      do: 'name the record that the ceremony wrote',
    });
  if (allowSpy)
    findings.add('warning', {
      code: 'token',
      where: 'token.allowSpy',
      what: 'a spy on the token is allowed: it writes the PIN down',
      do: 'take it away when the diagnosis is over',
    });
  if (configured === undefined) return undefined;
  return findings.attempt({ code: 'token', where }, async () => {
    const token = await configured.open((level, message, fields) => {
      if (level === 'info') return;
      const objects = fields === undefined ? '' : ` (${Object.values(fields).join(' ')})`;
      findings.add('warning', {
        code: 'token-objects',
        where,
        what: `${message}${objects}`,
        do: 'see "Alarms" in docs/operations.md',
      });
    });
    try {
      // that it does not prove itself says nothing of what it remembers
      if (provesItself)
        await findings.attempt({ code: 'token-test', where }, () =>
          proveToken(token, configured.profile, config.token),
        );
      if (token.older.length > 0)
        findings.add('warning', {
          code: 'token-objects',
          where,
          what: `keys of an older ceremony are in use, which insist on less: ${token.older.join(', ')}`,
          do: 'run `scripts/ceremony renew`',
        });
      const { algorithm, publicKey } = token.logKey;
      const vkey = vkeyFor({ name: config.origin, algorithm, spkiDer: publicKey });
      return { origin: config.origin, vkey, anchor: await token.readAnchor() };
    } finally {
      await token.close();
    }
  });
}
