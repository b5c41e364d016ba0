import { createHash, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { type Listener, listen, prepareDirectory } from '../../../src/agent/listener.js';
import { pkcs11Agent } from '../../../src/agent/pkcs11/pkcs11Agent.js';
import {
  type DecryptUse,
  type OfferedKey,
  type SignUse,
  type Told,
  type Use,
  UseRefused,
} from '../../../src/agent/use.js';
import { rsaPair } from '../../support/rsaPairs.js';

/** The handles of the private objects of {@link servedKeys}: none has a certificate. */
export const RSA_KEY = 2;
export const EC_KEY = 4;

/** An agent of PKCS#11 alone, without a server behind it. */
export interface Served {
  readonly path: string;
  /** Uses of keys, in their order. */
  readonly uses: readonly Use[];
  readonly told: readonly Told[];
  stop(): Promise<void>;
}

/** How a use of the key ends: the signature or plaintext. */
export type Outcome = (use: Use) => Promise<Buffer>;

export const SIGNATURE_BYTES = { rsa: 256, ec: 64 } as const;

/** What is answered here for a signature: as long as one, and another for another input. */
export function madeUp({ key, input }: Use): Buffer {
  const outputLength = key.name === 'rsa' ? SIGNATURE_BYTES.rsa : SIGNATURE_BYTES.ec;
  return createHash('shake256', { outputLength }).update(input.bytes).digest();
}

export async function serve(outcome: Outcome = (use) => Promise.resolve(madeUp(use))): Promise<Served> {
  const directory = mkdtempSync(join(tmpdir(), 'escrowd-pkcs11-'));
  await prepareDirectory(directory);
  const uses: Use[] = [];
  const told: Told[] = [];
  const use = (one: Use): Promise<Buffer> => {
    uses.push(one);
    return outcome(one);
  };
  const listener: Listener = await listen(
    join(directory, 'pkcs11'),
    pkcs11Agent({
      keys: servedKeys(),
      uses: { sign: (one: SignUse) => use(one), decrypt: (one: DecryptUse) => use(one) },
      tell: (one) => told.push(one),
    }),
  );
  return {
    ...{ path: listener.path, uses, told },
    stop: async () => {
      await listener.close();
      rmSync(directory, { recursive: true });
    },
  };
}

export function refused(): Promise<never> {
  return Promise.reject(new UseRefused('no-grant', 'No grant allows this.'));
}

/** An RSA and an EC key, without certificates. */
export function servedKeys(): readonly OfferedKey[] {
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey;
  const rsa = rsaPair(2048).publicKey;
  return [...[{ name: 'rsa', publicKey: rsa }], ...[{ name: 'ec', publicKey: ec }]].map((key) => ({
    ...key,
    key: `key_${key.name}`,
    certificate: undefined,
    request: undefined,
  }));
}
