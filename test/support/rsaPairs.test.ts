import { sign, verify } from 'node:crypto';

import { rsaPair } from './rsaPairs.js';

test.each([2048, 3072] as const)('pairs of %i bits are pairs, and each is another', (bits) => {
  const pairs = Array.from({ length: 20 }, () => rsaPair(bits));
  const message = Buffer.from('a letter');
  const signatures = pairs.map(({ privateKey }) => sign('sha256', message, privateKey));
  const isSignedBy = signatures.map((signature) =>
    pairs.map(({ publicKey }) => verify('sha256', message, publicKey, signature)),
  );
  expect(isSignedBy).toEqual(pairs.map((_, at) => pairs.map((_, other) => at === other)));
  for (const { publicKey } of pairs) expect(publicKey.asymmetricKeyDetails?.modulusLength).toBe(bits);
});
