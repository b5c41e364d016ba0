import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import type { Certifier, CheckpointSigner } from '../../src/escrow/ports/signers.ts';
import { vkeyFor } from '../../src/log/note/noteKey.js';

/** A checkpoint signer with an Ed25519 key of its own, which no token holds. */
export function softwareSigner(origin = 'escrow.test/log'): CheckpointSigner {
  return signerOf(softwareLogKey(), origin);
}

/** An Ed25519 private key: PKCS#8 in PEM. */
export function softwareLogKey(): string {
  const { privateKey } = generateKeyPairSync('ed25519');
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** A checkpoint signer with this key; several processes can be one log's with it. */
export function signerOf(logKey: string, origin = 'escrow.test/log'): CheckpointSigner {
  const privateKey = createPrivateKey(logKey);
  const spkiDer = createPublicKey(privateKey).export({ type: 'spki', format: 'der' });
  return {
    origin,
    vkey: vkeyFor({ name: origin, algorithm: 'Ed25519', spkiDer }),
    sign: (text) => Promise.resolve(sign(null, text, privateKey)),
  };
}

/** A certifier with an EC P-256 key of its own, which no token holds. */
export function softwareCertifier(): Certifier {
  return certifierOf(softwareIdentityKey());
}

/** An EC P-256 private key: PKCS#8 in PEM. */
export function softwareIdentityKey(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** A certifier with this key; several processes can be one token's with it. */
export function certifierOf(identityKey: string): Certifier {
  const privateKey = createPrivateKey(identityKey);
  return {
    publicKey: createPublicKey(privateKey).export({ type: 'spki', format: 'der' }),
    attest: (input) => Promise.resolve(sign('sha256', input, { key: privateKey, dsaEncoding: 'ieee-p1363' })),
  };
}
