import { constants, createCipheriv, publicEncrypt, randomBytes } from 'node:crypto';
import pkcs11 from 'pkcs11js';
import { EscrowError } from '../../escrow/records/errors.js';
import type { Opened, TokenVerbs } from '../../escrow/ports/token.js';
import { type Sealed, sealed } from '../../escrow/records/sealing/sealed.js';
import { rsaSpki } from '../cryptoki/spki.js';
import { readAttribute } from '../objects/objectCheck.js';
import { objectNames, serverForLabel } from '../objects/objectNames.js';
import type { OpenParts } from '../objects/openParts.js';
import { GCM } from '../profile/mechanisms.js';
import { importSpki } from '../service/findLongLived.js';
import { depositVerbs, wrapUnderTrusted } from './deposit.js';
import type { Loan } from './loan.js';
import { confirmedBy, recoveryVerbs } from './recovery.js';

/** The verbs that show that what was sealed can be opened, and open nothing that was. */
export type ProvingVerbs = Pick<TokenVerbs, 'proveServerFor'>;
type Pair = Parameters<TokenVerbs['proveServerFor']>[0];

const PROOF_BYTES = 32;

/** A key under the public key of a pair, and something under that key, by which it is told from every other. */
interface Trial {
  readonly wrapped: Uint8Array;
  readonly under: Sealed<'layer-key'>;
}

export function provingVerbs(parts: OpenParts, loan: Loan): ProvingVerbs {
  const { generateLayerKey, sealUnder } = depositVerbs(parts, loan);
  const { openUnder, unwrapLayer } = recoveryVerbs(parts, loan);

  /** By a key of the token, under the half that is trusted; undefined when that is not there. */
  const byTrustedHalf = async (
    label: ReturnType<typeof labelOf>,
    proof: Buffer,
  ): Promise<Trial | undefined> => {
    const layer = await generateLayerKey();
    const wrapped = await wrapUnderTrusted(parts, loan, { label }, loan.handleOf(layer)).catch(unlessThere);
    if (wrapped === undefined) return undefined;
    return { wrapped, under: await sealUnder(layer, sealed('kek', proof), Buffer.from(label)) };
  };

  /** By a key of this process, under the numbers of the private half: an older pair has no other, and opens what was sealed to it. */
  const byPrivateHalf = async (pair: Pair, proof: Buffer): Promise<Trial> => {
    const label = labelOf(pair);
    const missing = (): EscrowError => new EscrowError('token-object-missing');
    // after somebody was retired anybody with the PIN can make a pair that is called so
    if (parts.pins?.labels.has(label) === false) throw await confirmedBy(parts, missing)();
    const name = objectNames.serverFor(pair.depositary, pair.version);
    const modulus = await parts.objects.using(name, confirmedBy(parts, missing), (handle) =>
      loan.step((session) => readAttribute(parts.driver, session, handle, pkcs11.CKA_MODULUS)),
    );
    if (modulus === undefined) throw missing();
    const key = randomBytes(32);
    return {
      wrapped: publicEncrypt({ key: importSpki(rsaSpki(modulus, EXPONENT)), ...oaepOf(parts) }, key),
      under: sealedWith(key, proof, Buffer.from(label)),
    };
  };

  return {
    proveServerFor: async (pair): Promise<Opened<void>> => {
      const label = labelOf(pair);
      // no key comes out to be compared: what one of them has sealed the other opens, or they are two
      const proof = randomBytes(PROOF_BYTES);
      const trial = (await byTrustedHalf(label, proof)) ?? (await byPrivateHalf(pair, proof));
      const back = await unwrapLayer(pair, sealed('server-for', trial.wrapped));
      if ('refused' in back) return back;
      const opened = await openUnder(back.opened, trial.under, Buffer.from(label), 'kek');
      if ('refused' in opened || !proof.equals(opened.opened)) return { refused: true };
      return { opened: undefined };
    },
  };
}

/** 65537, which every pair of the server is made with. */
const EXPONENT = Buffer.from([1, 0, 1]);

function labelOf({ depositary, version }: Pair): ReturnType<typeof serverForLabel> {
  return serverForLabel(depositary, version);
}

function unlessThere(error: unknown): undefined {
  if (!(error instanceof EscrowError) || error.code !== 'depositary-not-enrolled') throw error;
}

function oaepOf({ profile }: OpenParts): { readonly padding: number; readonly oaepHash: string } {
  const oaepHash = profile.oaep === 'RSA-OAEP-256' ? 'sha256' : 'sha1';
  return { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash };
}

function sealedWith(key: Buffer, inner: Buffer, aad: Buffer): Sealed<'layer-key'> {
  const iv = randomBytes(GCM.ivBytes);
  const cipher = createCipheriv('aes-256-gcm', key, iv);
  cipher.setAAD(aad);
  return sealed('layer-key', Buffer.concat([iv, cipher.update(inner), cipher.final(), cipher.getAuthTag()]));
}
