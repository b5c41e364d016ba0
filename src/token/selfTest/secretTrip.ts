import {
  type KeyObject,
  constants,
  createCipheriv,
  createDecipheriv,
  createHmac,
  privateDecrypt,
  publicEncrypt,
  randomBytes,
} from 'node:crypto';

import { newId } from '../../escrow/records/ids.js';
import { sealed } from '../../escrow/records/sealing/sealed.js';
import { SECRET_CHECK_TEXT, SECRET_FRAME_BYTES } from '../../escrow/records/keySpecs.js';
import { importSpki } from '../service/findLongLived.js';
import type { OpenToken } from '../service/openToken.js';

/** The name of {@link secretTrip}. */
export const SECRET_TRIP = 'secret: imported, deposited, released';

/** RFC 5649 section 3: the alternative initial value. */
const KWP_INITIAL_VALUE = Buffer.from('A65959A6', 'hex');
const KWP = 'id-aes256-wrap-pad';
const KEY_BYTES = 32;

/**
 * createImportPair, unwrapSecret, wrapUnderKek, proveWrapped, unwrapForRelease, generateTransferKey, wrapToOwner, wrapUnderTransfer,
 * destroyImportPair: a secret of the longest frame goes in, is proven, and comes out as it was. It was made for this.
 */
export async function secretTrip(
  token: OpenToken,
  owner: { readonly publicKey: KeyObject; readonly privateKey: KeyObject },
): Promise<void> {
  const pair = newId('ImportId', (length) => randomBytes(length));
  const frame = randomBytes(SECRET_FRAME_BYTES[SECRET_FRAME_BYTES.length - 1] ?? 0);
  const checkValue = createHmac('sha256', frame).update(SECRET_CHECK_TEXT).digest();
  const oaep = {
    padding: constants.RSA_PKCS1_OAEP_PADDING,
    oaepHash: token.abilities.oaep === 'RSA-OAEP-256' ? 'sha256' : 'sha1',
  };
  const verbs = [
    'createImportPair',
    'destroyImportPair',
    'unwrapSecret',
    'wrapUnderKek',
    'proveWrapped',
    'unwrapForRelease',
    'generateTransferKey',
    'wrapToOwner',
    'wrapUnderTransfer',
  ] as const;
  const out = await token.lend(verbs, async (lent) => {
    const { publicKey } = await lent.createImportPair(pair);
    try {
      const x = randomBytes(KEY_BYTES);
      const cipher = createCipheriv(KWP, x, KWP_INITIAL_VALUE);
      const body = Buffer.concat([cipher.update(frame), cipher.final()]);
      const to = publicEncrypt({ key: importSpki(Buffer.from(publicKey)), ...oaep }, x);
      const wrapped = sealed('import', Buffer.concat([to, body]));
      const taken = await lent.unwrapSecret({ pair, wrapped, checkValue });
      if (!('opened' in taken) || !taken.opened.isClaimed) throw new Error('the secret was not taken');
      const of = { spec: 'secret', use: 'keep' } as const;
      const kept = await lent.wrapUnderKek(taken.opened.key, 'release', of);
      const order = { wrapped: kept, purpose: 'release', ...of, checkValue, made: taken.opened.key } as const;
      if ('refused' in (await lent.proveWrapped(order))) throw new Error('the secret did not come back');
      const back = await lent.unwrapForRelease({ wrapped: kept, spec: 'secret' });
      if (!('opened' in back)) throw new Error('the token refused its own ciphertext');
      const transfer = await lent.generateTransferKey('owner');
      const spki = owner.publicKey.export({ type: 'spki', format: 'der' });
      return {
        transfer: await lent.wrapToOwner(transfer, spki),
        key: await lent.wrapUnderTransfer(transfer, back.opened),
      };
    } finally {
      await lent.destroyImportPair(pair);
    }
  });
  const x = privateDecrypt({ key: owner.privateKey, ...oaep }, out.transfer);
  const decipher = createDecipheriv(KWP, x, KWP_INITIAL_VALUE);
  if (!Buffer.concat([decipher.update(out.key), decipher.final()]).equals(frame))
    throw new Error('the released secret is wrong');
}
