import { constants, privateDecrypt } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { rmSync } from 'node:fs';
import pkcs11 from 'pkcs11js';
import { makeChallenge } from '../../src/token/ceremony/challenge.js';
import { enrol } from '../../src/token/ceremony/enrol.js';
import { initialise } from '../../src/token/ceremony/initialise.js';
import type { CeremonyRecord } from '../../src/token/ceremony/record.js';
import { readRecord } from '../../src/token/ceremony/record.js';
import type { TokenLocation } from '../../src/token/ceremony/ceremonySession.js';
import { CKR, readFault, TokenNotReady } from '../../src/token/cryptoki/faults.js';
import { findModule } from '../../src/token/cryptoki/module.js';
import type { OpenTokenOptions, TokenGeneration } from '../../src/token/service/openToken.js';
import { openToken } from '../../src/token/service/openToken.js';
import { rsaPair } from './rsaPairs.js';
import { freshBytes } from './fresh.js';

/** A person's own key, as a depositary keeps it. */
export interface TestDepositary {
  readonly id: string;
  readonly privateKey: KeyObject;
  readonly privateKeyPem: string;
  readonly publicKeyPem: string;
}

/** A fresh token that went through the ceremony. */
export interface TestToken {
  readonly directory: string;
  readonly place: TokenLocation;
  readonly soPin: string;
  readonly userPin: string;
  /** As the last ceremony left it. */
  readonly record: () => CeremonyRecord;
  /** Enrols a new RSA-2048 key. Only while this process has no token open: the officer cannot log in beside a user. */
  enrolDepositary(id: string): Promise<TestDepositary>;
  /** Opens it as the daemon does. Close what you open: the module is the process's. */
  open(
    options?: Partial<Pick<OpenTokenOptions, 'waitMs' | 'log' | 'profile' | 'startPairs' | 'startSigning'>>,
  ): Promise<TokenGeneration>;
  /** Deletes the token. */
  remove(): void;
}

/** What stands behind a token that went through the ceremony. */
export interface TokenSecrets {
  readonly soPin: string;
  readonly userPin: string;
  readonly record: CeremonyRecord;
}

/** Takes an empty token at `place`, whose files are all in `directory`, through the ceremony's own functions. */
export async function makeTestToken<Place extends TokenLocation>(
  directory: string,
  place: Place,
): Promise<TestToken & { readonly place: Place }> {
  const soPin = `so-${freshBytes(8).toString('hex')}`;
  const userPin = `user-${freshBytes(8).toString('hex')}`;
  const record = await atFreeTable(place, () =>
    initialise({ ...place, soPin: Buffer.from(soPin), userPin: Buffer.from(userPin), now: new Date() }),
  );
  return testTokenAt(directory, place, { soPin, userPin, record });
}

/** Does what needs the module to itself, again when a suite that failed in this worker had left it initialised. */
export function atFreeTable<T>({ profile }: TokenLocation, work: () => Promise<T>): Promise<T> {
  return work().catch((error: unknown) => {
    finaliseLeftover(error, findModule(profile, undefined));
    return work();
  });
}

/** A token at `place` that went through the ceremony already. */
export function testTokenAt<Place extends TokenLocation>(
  directory: string,
  place: Place,
  { soPin, userPin, record: first }: TokenSecrets,
): TestToken & { readonly place: Place } {
  let record = first;
  const pins = (): { soPin: Buffer; userPin: Buffer } => ({
    soPin: Buffer.from(soPin),
    userPin: Buffer.from(userPin),
  });

  return {
    directory,
    place,
    soPin,
    userPin,
    record: () => record,
    enrolDepositary: async (id) => {
      const depositary = makeDepositary(id);
      const challenge = makeChallenge(id, depositary.publicKeyPem, freshBytes(32));
      const nonce = privateDecrypt(
        { key: depositary.privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' },
        Buffer.from(challenge.ciphertext, 'base64'),
      );
      const answer = { id, nonce: nonce.toString('base64url') };
      record = await enrol({
        ...place,
        ...pins(),
        id,
        challenge: JSON.stringify(challenge),
        answer: JSON.stringify(answer),
        now: new Date(),
        before: readRecord(JSON.stringify(record), place),
      });
      return depositary;
    },
    open: (options = {}) => openToken({ ...place, pin: pins().userPin, ...options }),
    remove: () => {
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** A suite that failed in this worker may have left the module initialised; anything else is thrown again. */
function finaliseLeftover(error: unknown, modulePath: string): void {
  const cause = error instanceof TokenNotReady ? error.cause : undefined;
  if (readFault(cause)?.code !== CKR.CKR_CRYPTOKI_ALREADY_INITIALIZED) throw error;
  const driver = new pkcs11.PKCS11();
  driver.load(modulePath);
  driver.C_Finalize();
}

/** A depositary's key pair, not enrolled. */
export function makeDepositary(id: string): TestDepositary {
  const { privateKey, publicKey } = rsaPair(2048);
  return {
    id,
    privateKey,
    privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  };
}
