import { createHash } from 'node:crypto';
import type { Handle } from 'pkcs11js';
import { EscrowError } from '../../escrow/records/errors.js';
import type { GrantId } from '../../escrow/records/ids.js';
import { type KeySpec, KEY_SPECS } from '../../escrow/records/keySpecs.js';
import type { Mechanism, SignMechanism } from '../../escrow/records/mechanisms.js';
import { DIGEST_BYTES, MECHANISMS, mechanismsFor } from '../../escrow/records/mechanisms.js';
import type { DecryptInput, Opened, TokenVerbs } from '../../escrow/ports/token.js';
import { holding } from '../cryptoki/attributes.js';
import type { Loan } from './loan.js';
import { WORTH_A_THREAD } from '../cryptoki/signingThreads.js';
import { type Mechanisms, GCM } from '../profile/mechanisms.js';
import { objectNames } from '../objects/objectNames.js';
import type { OpenParts } from '../objects/openParts.js';
import { MOST_BYTES, requireBytes } from './limits.js';
import { confirmedBy, openedOrRefused } from './recovery.js';

/** The verbs that use a key. */
export type OperateVerbs = Pick<TokenVerbs, 'sign' | 'decrypt' | 'attest'>;

/** The verbs of one loan that use a key. */
export function operateVerbs(parts: OpenParts, loan: Loan): OperateVerbs {
  const { driver, mechanisms, objects } = parts;

  const withGrant = <T>(grant: GrantId, spec: KeySpec, use: (handle: Handle) => Promise<T>): Promise<T> =>
    objects.using(
      objectNames.grant(grant, spec),
      confirmedBy(parts, () => new EscrowError('token-object-missing')),
      use,
    );

  return {
    sign: async (grant, spec, mechanism, data, made) => {
      requireMechanism(parts, spec, 'sign', mechanism);
      for (const item of data) requireSignable(mechanism, item);
      const inputs = data.map((item) => mechanisms.signing(mechanism, Buffer.from(item)));
      // when a handle turns out stale, what was made is not made again
      let done = 0;
      const note = (signature: Uint8Array): void => {
        done += 1;
        made(signature);
      };
      await withGrant(grant, spec, (key) =>
        loan.step((session) => signEach(parts, { session, key, spec }, inputs.slice(done), note)),
      );
      if (done !== data.length)
        throw new EscrowError('internal', 'Not as many were signed as were asked for.');
    },

    decrypt: async (grant, spec, mechanism, input) => {
      requireMechanism(parts, spec, 'decrypt', mechanism);
      return withGrant(grant, spec, (handle) =>
        mechanism === 'A256GCM'
          ? decryptGcm(parts, loan, handle, input)
          : decryptRsa(parts, loan, handle, { spec, mechanism, input }),
      );
    },

    attest: async (signingInput) => {
      requireBytes(signingInput, 'signing input');
      const digest = createHash('sha256').update(signingInput).digest();
      const name = objectNames.signing('identity');
      const gone = (): EscrowError => new EscrowError('token-unavailable');
      return objects.using(name, confirmedBy(parts, gone), (handle) =>
        loan.step((session) => {
          driver.C_SignInit(session, mechanisms.plain('ecdsa'), handle);
          return Buffer.from(driver.C_Sign(session, digest, Buffer.alloc(64)));
        }),
      );
    },
  };
}

/** Signs in one session, and hands over each signature when it is made, or all that one thread has made. */
async function signEach(
  { driver, signingThreads }: OpenParts,
  { session, key, spec }: { readonly session: Handle; readonly key: Handle; readonly spec: KeySpec },
  orders: readonly ReturnType<Mechanisms['signing']>[],
  made: (signature: Uint8Array) => void,
): Promise<void> {
  const bytes = signatureBytes(spec);
  const [first] = orders;
  if (first !== undefined && signingThreads !== undefined && orders.length >= WORTH_A_THREAD) {
    const inputs = orders.map(({ input }) => input);
    await signingThreads.sign({ session, key, mechanism: first.mechanism, inputs, bytes }, made);
    return;
  }
  for (const { mechanism, input } of orders) {
    const room = Buffer.alloc(bytes);
    driver.C_SignInit(session, mechanism, key);
    // RSA gains from another thread; for one signature by a curve the way there costs more than it.
    const signature =
      KEY_SPECS[spec].kind === 'RSA'
        ? await holding([input, room], () => driver.C_SignAsync(session, input, room))
        : driver.C_Sign(session, input, room);
    made(signature);
  }
}

/** RSAES-OAEP decryption; a ciphertext of another length than the modulus is none (RFC 8017 section 7.1.2). */
async function decryptRsa(
  parts: OpenParts,
  loan: Loan,
  handle: Handle,
  order: {
    readonly spec: KeySpec;
    readonly mechanism: 'RSA-OAEP' | 'RSA-OAEP-256';
    readonly input: DecryptInput;
  },
): Promise<Opened<Uint8Array>> {
  const { driver, mechanisms } = parts;
  const ciphertext = Buffer.from(order.input.ciphertext);
  if (ciphertext.length !== signatureBytes(order.spec)) return { refused: true };
  const mechanism = mechanisms.oaep(order.mechanism);
  return openedOrRefused(parts, () =>
    loan.step(async (session) => {
      const room = Buffer.alloc(ciphertext.length);
      driver.C_DecryptInit(session, mechanism, handle);
      const plain = await holding([ciphertext, room, mechanism], () =>
        driver.C_DecryptAsync(session, ciphertext, room),
      );
      return copyAndClear(plain, room);
    }),
  );
}

/** AES-256-GCM decryption (SP 800-38D section 7.2); the tag is the end of the ciphertext. */
async function decryptGcm(
  parts: OpenParts,
  loan: Loan,
  handle: Handle,
  input: DecryptInput,
): Promise<Opened<Uint8Array>> {
  const { driver, mechanisms } = parts;
  const iv = Buffer.from(input.iv ?? []);
  const aad = Buffer.from(input.aad ?? []);
  if (iv.length !== GCM.ivBytes)
    throw new EscrowError('request-malformed', 'A256GCM needs an IV of 12 bytes.');
  if (input.ciphertext.length > MOST_BYTES || aad.length > MOST_BYTES)
    throw new EscrowError('request-too-large');
  // a tag alone is of the empty plaintext (SP 800-38D section 7.2)
  if (input.ciphertext.length < GCM.tagBytes) return { refused: true };
  const ciphertext = Buffer.from(input.ciphertext);
  return openedOrRefused(parts, () =>
    loan.step((session) => {
      const room = Buffer.alloc(ciphertext.length);
      driver.C_DecryptInit(session, mechanisms.gcm(iv, aad), handle);
      return copyAndClear(driver.C_Decrypt(session, ciphertext, room), room);
    }),
  );
}

function copyAndClear(plain: Buffer, room: Buffer): Buffer {
  const copy = Buffer.from(plain);
  room.fill(0);
  return copy;
}

function requireMechanism(
  parts: OpenParts,
  spec: KeySpec,
  use: 'sign' | 'decrypt',
  mechanism: Mechanism,
): void {
  if (!parts.profile.grantMechanisms.includes(mechanism)) throw new EscrowError('mechanism-unsupported');
  if (!mechanismsFor(spec, use).includes(mechanism)) {
    throw new EscrowError('operation-not-granted', 'The mechanism does not fit the key.');
  }
}

function requireSignable(mechanism: SignMechanism, data: Uint8Array): void {
  const digest = MECHANISMS[mechanism].digest;
  if (digest === undefined) {
    requireBytes(data, 'message');
  } else if (data.length !== DIGEST_BYTES[digest]) {
    throw new EscrowError(
      'request-malformed',
      `${mechanism} signs a digest of ${DIGEST_BYTES[digest]} bytes.`,
    );
  }
}

/** Bytes of a signature, and for RSA of a ciphertext. */
function signatureBytes(spec: KeySpec): number {
  const row = KEY_SPECS[spec];
  if ('modulusBits' in row) return row.modulusBits / 8;
  return 'orderBytes' in row ? 2 * row.orderBytes : 64;
}
