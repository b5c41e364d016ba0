import type { Operation } from '../../escrow/records/keySpecs.js';
import type { ImportOrder, SecretOrder } from '../../api/orders.js';
import type { Acted, ImportKeyReply, KeyReply } from '../../api/replies.js';
import type { EscrowClient } from '../escrowClient.js';
import type { ServerPins } from '../serverPins.js';
import { type ImportPair, believeImportPair, wrapFor } from './importPair.js';
import { type ImportableKey, destroyImportable } from './privateKey.js';
import { destroyFramed, frameSecret } from './secretFrame.js';

/** For whom a key is imported, and what for. */
export interface ImportWanted extends SecretWanted {
  readonly use: Operation;
}

/** For whom a secret is imported. */
export interface SecretWanted {
  readonly owner: string;
  readonly label?: string;
  readonly deliver?: boolean;
}

/** By what the server's import keys are believed. */
export interface ImportBasis {
  readonly client: EscrowClient;
  readonly pins: Pick<ServerPins, 'origin' | 'identityKey' | 'logKey'>;
  readonly now: () => Date;
}

/** Asks for an import key, and believes it. @throws NotBelieved, and what the client throws */
export async function preparePair(
  { client, pins, now }: ImportBasis,
  validFor: string,
): Promise<{ readonly pair: ImportPair; readonly shown: ImportKeyReply; readonly entry: number }> {
  const { result: shown, entry } = await client.prepareImport({ validFor });
  const pair = await believeImportPair(shown, { ...pins, caller: client.caller }, now());
  return { pair, shown, entry };
}

/** So long an import key stands that is used at once. */
export const AT_ONCE = 'PT15M';

/** Lends an import key that is believed; throws what `use` throws, and what {@link preparePair} does. */
export type LendPair = <T>(use: (pair: ImportPair) => Promise<T>) => Promise<T>;

/** One that was made for this import. */
function ownPair(basis: ImportBasis): LendPair {
  return async (use) => use((await preparePair(basis, AT_ONCE)).pair);
}

/**
 * Imports one key under an import key of its own, or one that is lent. The key is overwritten, whatever comes of it.
 * @throws NotBelieved before anything of the key was sent, and what the client throws
 */
export async function importOne(
  basis: ImportBasis,
  key: ImportableKey,
  wanted: ImportWanted,
  lend: LendPair = ownPair(basis),
): Promise<Acted<KeyReply>> {
  try {
    return await lend((pair) =>
      basis.client.importKey(pair.id, {
        ...wanted,
        spec: key.spec,
        publicKey: key.publicKey.toString('base64url'),
        wrapped: wrapFor(pair, key.pkcs8).toString('base64url'),
      } satisfies ImportOrder),
    );
  } finally {
    destroyImportable(key);
  }
}

/**
 * Imports one secret, in its frame, under an import key of its own. It is overwritten, whatever comes of it.
 * @throws SecretError; NotBelieved before anything of it was sent, and what the client throws
 */
export async function importSecret(
  basis: ImportBasis,
  secret: Buffer,
  wanted: SecretWanted,
): Promise<Acted<KeyReply>> {
  try {
    const framed = frameSecret(secret);
    try {
      const { pair } = await preparePair(basis, AT_ONCE);
      return await basis.client.importSecret(pair.id, {
        ...wanted,
        checkValue: framed.checkValue.toString('base64url'),
        wrapped: wrapFor(pair, framed.frame).toString('base64url'),
      } satisfies SecretOrder);
    } finally {
      destroyFramed(framed);
    }
  } finally {
    secret.fill(0);
  }
}
