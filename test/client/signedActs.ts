import { createHash } from 'node:crypto';

import { signPolicy } from '../../src/client/policy/policyDocument.js';
import type { Signer } from '../../src/client/identity/signingKey.js';
import type { Json } from '../../src/log/entry/canonical.js';
import { documentHash } from '../../src/log/export/format.js';

/** Half a second into a minute of the day on which the logs of the tests are written. */
export const at = (minute: number): string =>
  new Date(Date.UTC(2026, 2, 1, 12, minute, 0, 500)).toISOString();

/** The beginning of that minute, in seconds since the epoch. */
const seconds = (minute: number): number => Date.parse(at(minute)) / 1000 - 0.5;

/** The policy that is replaced by the first that is applied. */
export const BOOTSTRAP_HASH = '00'.repeat(32);

export function sha256Hex(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** What people sign for the server of this origin, the same bytes each time where their keys sign so. */
export class SignedActs {
  readonly #origin: string;

  constructor(origin: string) {
    this.#origin = origin;
  }

  /** A request: POST to this target, at this minute. `claims` replaces what an honest client says. */
  request(by: Signer, minute: number, htu: string, claims: object = {}): Promise<string> {
    return by.sign('escrowd-request+jwt', {
      iss: by.id,
      aud: this.#origin,
      iat: seconds(minute),
      exp: seconds(minute) + 60,
      jti: sha256Hex(`${by.id} ${minute}`).slice(0, 22),
      htm: 'POST',
      htu,
      cd: createHash('sha256').update('').digest('base64url'),
      ...claims,
    });
  }

  /** A depositary's approval of what `about` names; `claims` replaces what it says. */
  statement(
    by: Signer,
    about: { readonly recovery: string; readonly requestHash: string; readonly keys: readonly string[] },
    claims: object = {},
  ): Promise<string> {
    return by.sign('escrowd-approval+jwt', {
      iss: by.id,
      aud: this.#origin,
      iat: seconds(5),
      exp: seconds(600),
      decision: 'approve',
      ...about,
      ...claims,
    });
  }

  /** Signatures of these under a policy, the first where nothing else is said, as the log has them. */
  policySignatures(
    signers: readonly Signer[],
    document: Json,
    before: { readonly version: number; readonly hash?: string } = { version: 0 },
  ): Promise<readonly string[]> {
    const order = {
      hash: documentHash(document),
      base: before.version,
      replaces: before.hash ?? BOOTSTRAP_HASH,
      logKey: this.#origin,
      now: new Date(at(0)),
      lifetimeMs: 3_600_000,
    };
    return Promise.all(signers.map((signer) => signPolicy(signer, order)));
  }
}
