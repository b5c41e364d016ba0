import { createPublicKey } from 'node:crypto';
import pkcs11 from 'pkcs11js';
import { trustedTemplate } from '../../../src/token/profile/ceremonyTemplates.js';
import { Mechanisms } from '../../../src/token/profile/mechanisms.js';
import { fingerprint, rsaNumbers } from '../../../src/token/cryptoki/spki.js';
import { openRaw } from '../../support/rawToken.js';
import type { TestToken } from '../../support/testToken.js';

/** What the security officer does, beside a daemon that has the token open. */
export interface OfficersOrder {
  readonly token: Pick<TestToken, 'place' | 'userPin' | 'soPin'>;
  readonly label: string;
  /** PEM of the key to make trusted; without one, the trusted key of this label is destroyed. */
  readonly publicKey?: string;
}

const { token, label, publicKey } = JSON.parse(process.argv[2] ?? '') as OfficersOrder;
const raw = openRaw(token, 'security officer');
if (publicKey === undefined) {
  const trusted = [
    { type: pkcs11.CKA_LABEL, value: label },
    { type: pkcs11.CKA_TRUSTED, value: true },
  ];
  for (const object of raw.find(trusted)) raw.driver.C_DestroyObject(raw.session, object);
} else {
  const key = createPublicKey(publicKey);
  const numbers = rsaNumbers(key);
  if (numbers === undefined) throw new Error('not RSA');
  const id = fingerprint(key.export({ type: 'spki', format: 'der' }));
  const oaep = new Mechanisms(token.place.profile).number('rsaOaep');
  raw.driver.C_CreateObject(raw.session, trustedTemplate(label, { ...numbers, id }, oaep));
}
raw.close();
