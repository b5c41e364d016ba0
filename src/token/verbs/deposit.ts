import { randomBytes } from 'node:crypto';
import pkcs11 from 'pkcs11js';
import type { Handle, Mechanism } from 'pkcs11js';
import { EscrowError } from '../../escrow/records/errors.js';
import { type GeneratedSpec, KEY_SPECS } from '../../escrow/records/keySpecs.js';
import type { DepositaryKey, TokenVerbs } from '../../escrow/ports/token.js';
import { type Held, sealed } from '../../escrow/records/sealing/sealed.js';
import { isStaleHandle } from '../cryptoki/faults.js';
import { kekKindFor } from '../../escrow/records/sealing/keks.js';
import type { Loan } from './loan.js';
import { GCM } from '../profile/mechanisms.js';
import { objectNames, serverForLabel } from '../objects/objectNames.js';
import { readBytes, readRsaSpki } from '../objects/objects.js';
import { ecSpki, readSpki, rsaNumbers } from '../cryptoki/spki.js';
import { deliveryKey, sealingKey, transferKey, userPair, userSecret } from '../profile/templates.js';
import { type SoughtKey, forgetTrustedKey, trustedKey } from '../objects/depositaries.js';
import type { OpenParts } from '../objects/openParts.js';
import { requireBytes } from './limits.js';
import { wrapOnce } from './wrapping.js';

/** The verbs that make keys and put them away, for a deposit and for the way out to a depositary or owner. */
export type DepositVerbs = Pick<
  TokenVerbs,
  | 'generateUserKey'
  | 'wrapUnderKek'
  | 'generateShareKey'
  | 'generateLayerKey'
  | 'wrapToDepositary'
  | 'wrapToServerFor'
  | 'sealUnder'
  | 'proveSealed'
  | 'generateTransferKey'
  | 'wrapToOwner'
  | 'wrapUnderTransfer'
>;

export function depositVerbs(parts: OpenParts, loan: Loan): DepositVerbs {
  const { driver, mechanisms, dialect } = parts;
  const kwp = mechanisms.plain('keyWrapWithPadding');
  const kwpNumber = mechanisms.number('keyWrapWithPadding');
  const gcmNumber = mechanisms.number('aesGcm');

  const generate = (template: pkcs11Template): Promise<Handle> =>
    loan.step((session) =>
      driver.C_GenerateKey(session, mechanisms.plain('aesKeyGen'), dialect.template(template)),
    );
  const wrap = (mechanism: Mechanism, wrapping: Handle, key: Handle): Promise<Buffer> =>
    wrapKey(parts, loan, mechanism, { wrapping, key });
  const seal = (
    key: Held<'share-key' | 'layer-key'>,
    inner: Uint8Array,
    aad: Uint8Array,
    iv: Buffer,
  ): Promise<Buffer> => {
    const handle = loan.handleOf(key);
    return loan.step((session) => {
      driver.C_EncryptInit(session, mechanisms.gcm(iv, Buffer.from(aad)), handle);
      const room = Buffer.alloc(inner.length + GCM.tagBytes);
      const copy = Buffer.from(inner);
      try {
        return Buffer.concat([iv, driver.C_Encrypt(session, copy, room)]);
      } finally {
        // it may be the key under its key-encryption key
        copy.fill(0);
      }
    });
  };
  return {
    generateUserKey: async (spec) => {
      if (!parts.profile.keySpecs.includes(spec)) throw new EscrowError('key-spec-unsupported');
      if (spec === 'aes-256') {
        return { key: loan.hold('user-key', await generate(userSecret(kwpNumber))), publicKey: undefined };
      }
      return generateUserPair(parts, loan, spec);
    },

    wrapUnderKek: async (key, purpose, { spec, use }) => {
      const kek = parts.newestKek[kekKindFor(purpose, spec, use)];
      const handle = loan.handleOf(key);
      return parts.objects.using(
        objectNames.kek(kek),
        () => objectMissing(kek),
        async (kekHandle) => ({
          sealed: sealed('kek', await wrap(kwp, kekHandle, handle)),
          kek,
        }),
      );
    },

    generateShareKey: async () => loan.hold('share-key', await generate(sealingKey(gcmNumber))),
    generateLayerKey: async () => loan.hold('layer-key', await generate(sealingKey(gcmNumber))),

    wrapToDepositary: async (key, depositary) =>
      sealed('depositary', await wrapUnderTrusted(parts, loan, keyOf(depositary), loan.handleOf(key))),
    wrapToServerFor: async (key, depositary) => {
      const handle = loan.handleOf(key);
      const version = await parts.serverPairs.newest(parts, depositary);
      const label = serverForLabel(depositary, version);
      return {
        sealed: sealed('server-for', await wrapUnderTrusted(parts, loan, { label }, handle)),
        version,
      };
    },

    sealUnder: async <By extends 'share-key' | 'layer-key'>(
      key: Held<By>,
      inner: Uint8Array,
      aad: Uint8Array,
    ) => {
      requireBytes(inner, 'ciphertext to seal');
      return sealed(key.held, await seal(key, inner, aad, randomBytes(GCM.ivBytes)));
    },

    // under the same IV the same comes out (SP 800-38D section 7.1), and it is what was sealed before: nothing new is seen of it
    proveSealed: async (key, { inner, aad, outer }) => {
      if (outer.length !== GCM.ivBytes + inner.length + GCM.tagBytes) return { refused: true };
      requireBytes(inner, 'ciphertext to seal');
      const again = await seal(key, inner, aad, Buffer.from(outer.subarray(0, GCM.ivBytes)));
      return again.equals(outer) ? { opened: undefined } : { refused: true };
    },

    generateTransferKey: async (to) => loan.hold('transfer-key', await generate(transferKey(to, kwpNumber))),

    wrapToOwner: async (key, spki) => {
      const read = readSpki(spki);
      const numbers = read === undefined ? undefined : rsaNumbers(read);
      if (numbers === undefined || numbers.bits < 2048 || numbers.bits > 8192) {
        throw new EscrowError(
          'request-malformed',
          'The delivery key is not an RSA key of 2048 to 8192 bits.',
        );
      }
      const handle = loan.handleOf(key);
      const template = dialect.template(deliveryKey(numbers, mechanisms.number('rsaOaep')));
      const recipient = await loan.step((session) => driver.C_CreateObject(session, template));
      loan.discardLater(recipient);
      return sealed('owner', await wrap(mechanisms.oaep(), recipient, handle));
    },

    wrapUnderTransfer: async (transfer, key) =>
      sealed('transfer-key', await wrap(kwp, loan.handleOf(transfer), loan.handleOf(key))),
  };
}

function keyOf({ id, fingerprint }: DepositaryKey): SoughtKey {
  return { label: `depositary:${id}`, fingerprint };
}

/** RSA-OAEP of a key in flight under a trusted public key of the token; EscrowError `depositary-not-enrolled` when it is not there. */
export async function wrapUnderTrusted(
  parts: OpenParts,
  loan: Loan,
  sought: SoughtKey,
  key: Handle,
): Promise<Buffer> {
  for (const attempt of ['remembered', 'looked for'] as const) {
    const wrapping = await trustedKey(parts, sought);
    try {
      return await wrapKey(parts, loan, parts.mechanisms.oaep(), { wrapping, key });
    } catch (error) {
      forgetTrustedKey(parts, sought.label);
      const stale = error instanceof EscrowError && isStaleHandle(error.cause);
      if (attempt === 'looked for' || !stale) throw error;
    }
  }
  throw new EscrowError('depositary-not-enrolled');
}

function wrapKey(
  { driver }: OpenParts,
  loan: Loan,
  mechanism: Mechanism,
  keys: { readonly wrapping: Handle; readonly key: Handle },
): Promise<Buffer> {
  return loan.step((session) => wrapOnce(driver, session, mechanism, keys));
}

type pkcs11Template = Parameters<OpenParts['driver']['C_GenerateKey']>[2];

async function generateUserPair(
  parts: OpenParts,
  loan: Loan,
  spec: Exclude<GeneratedSpec, 'aes-256'>,
): Promise<{ readonly key: Held<'user-key'>; readonly publicKey: Uint8Array }> {
  const { driver, generatePair, mechanisms, dialect } = parts;
  const { publicKey, privateKey } = dialect.pair(userPair(spec, mechanisms.number('keyWrapWithPadding')));
  const mechanism = mechanisms.generation(spec);
  // RSA takes up to seconds and goes to another thread; for curves the way there costs more than it saves.
  const pair = await loan.step((session) =>
    KEY_SPECS[spec].kind === 'RSA'
      ? generatePair(session, mechanism, publicKey, privateKey)
      : driver.C_GenerateKeyPair(session, mechanism, publicKey, privateKey),
  );
  loan.discardLater(pair.publicKey);
  const key = loan.hold('user-key', pair.privateKey);
  const spki = await loan.step((session) => readPublicKey(parts, session, pair.publicKey, spec));
  return { key, publicKey: spki };
}

function readPublicKey(
  parts: OpenParts,
  session: Handle,
  handle: Handle,
  spec: Exclude<GeneratedSpec, 'aes-256'>,
): Buffer {
  const row = KEY_SPECS[spec];
  if (!('curve' in row)) return readRsaSpki(parts.driver, session, handle);
  const [point] = readBytes(parts.driver, session, handle, [pkcs11.CKA_EC_POINT]);
  if (point === undefined) throw new Error('the token gave no EC point');
  return ecSpki(row.curve, point);
}

function objectMissing(label: string): Promise<EscrowError> {
  const cause = new Error(`${label} is not in the token`);
  return Promise.resolve(new EscrowError('token-unavailable', undefined, { cause }));
}
