import { generateKeyPairSync, sign } from 'node:crypto';
import type { CheckpointSigner } from '../../src/escrow/ports.js';
import { vkeyFor } from '../../src/log/noteKey.js';

/** A checkpoint signer with an Ed25519 key of its own, which no token holds. */
export function softwareSigner(origin = 'escrow.test/log'): CheckpointSigner {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  return {
    origin,
    vkey: vkeyFor({
      name: origin,
      algorithm: 'Ed25519',
      spkiDer: publicKey.export({ type: 'spki', format: 'der' }),
    }),
    sign: (text) => Promise.resolve(sign(null, text, privateKey)),
  };
}
