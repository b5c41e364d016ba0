import { type Config, readSecretFile } from '../config.js';
import { configuredToken } from '../startToken.js';
import type { Anchor } from '../../log/anchor.js';
import { vkeyFor } from '../../log/note/noteKey.js';
import type { Findings } from './findings.js';

/** What a token has and remembers of a log. */
export interface CheckedToken {
  readonly origin: string;
  readonly vkey: string;
  readonly anchor: Anchor;
}

/**
 * Opens the token as a start does, once, so that the PIN is tried once, looks for what the ceremony has made, and gives it back. Makes
 * nothing in it. What it does is not tried: that needs keys to be made. Undefined when it cannot be opened.
 */
export async function checkToken(
  config: Config,
  configFile: string,
  packageDirectory: string,
  findings: Findings,
): Promise<CheckedToken | undefined> {
  const { label, record, allowSpy, profile } = config.token;
  const where = `token "${label}"`;
  const configured = await findings.attempt({ code: 'token', where: `token.profile: ${profile}` }, () =>
    configuredToken(config, configFile, packageDirectory),
  );
  if (configured === undefined) return undefined;
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
  const { pinFile } = config.token;
  const hasPin = await findings.attempt({ code: 'file', where: `token.pinFile: ${pinFile}` }, () => {
    readSecretFile(pinFile).fill(0);
    return true;
  });
  if (hasPin === undefined) return undefined;
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
