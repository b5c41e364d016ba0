import type { KeyUse } from '../../escrow/records/keySpecs.js';
import type { ImportOrder } from '../../api/orders.js';
import type { Acted, ImportKeyReply, KeyReply } from '../../api/replies.js';
import type { EscrowClient } from '../escrowClient.js';
import type { ServerPins } from '../serverPins.js';
import { type ImportPair, believeImportPair, wrapFor } from './importPair.js';
import { type ImportableKey, destroyImportable } from './privateKey.js';

/** For whom a key is imported, and what for. */
export interface ImportWanted {
  readonly owner: string;
  readonly use: KeyUse;
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
const AT_ONCE = 'PT15M';

/**
 * Imports one key under an import key of its own. The key is overwritten, whatever comes of it.
 * @throws NotBelieved before anything of the key was sent, and what the client throws
 */
export async function importOne(
  basis: ImportBasis,
  key: ImportableKey,
  wanted: ImportWanted,
): Promise<Acted<KeyReply>> {
  try {
    const { pair } = await preparePair(basis, AT_ONCE);
    const wrapped = wrapFor(pair, key.pkcs8);
    return await basis.client.importKey(pair.id, {
      ...wanted,
      spec: key.spec,
      publicKey: key.publicKey.toString('base64url'),
      wrapped: wrapped.toString('base64url'),
    } satisfies ImportOrder);
  } finally {
    destroyImportable(key);
  }
}
