import type { System } from '../../support/system.js';
import { MOST_USES } from './underLoad.js';
import { KEYS, type KeyWord } from './cells.js';

/** A key that the app may sign with for as long as a bench takes. */
export interface UsableKey {
  readonly grant: string;
  /** PEM. */
  readonly publicKey: string;
}

/** Makes a key, asks for it, and has a quorum agree. */
export async function makeUsableKey(system: System, word: KeyWord): Promise<UsableKey> {
  const { spec } = KEYS[word];
  const { result } = await system.client('admin-1').generateKey({ owner: 'owner', spec, use: 'sign' });
  const [grant] = await activate(system, [result.key], word);
  if (grant === undefined || result.publicKeyPem === undefined)
    throw new Error(`there is no grant for ${word}`);
  return { grant, publicKey: result.publicKeyPem };
}

/** Asks for these keys in one request, and has a quorum agree; resolves with the grants, in the order of the keys. */
export async function activate(
  system: System,
  keys: readonly string[],
  word: KeyWord,
): Promise<readonly string[]> {
  const recovery = await askFor(system, keys, word);
  await system.approve('manager', recovery);
  const { keys: activated } = await system.approve('officer-1', recovery);
  return activated.map(({ key, grant }) => {
    if (grant === undefined) throw new Error(`there is no grant for ${key}`);
    return grant.grant;
  });
}

/** Asks that the app may sign with these keys. */
export async function askFor(system: System, keys: readonly string[], word: KeyWord): Promise<string> {
  const { result } = await system.client('manager').requestRecovery({
    keys: [...keys],
    reason: 'the owner has left',
    validFor: 'PT1H',
    purpose: 'operate',
    scope: {
      app: 'app',
      operations: ['sign'],
      mechanisms: [KEYS[word].mechanism],
      input: 'message',
      maxUses: MOST_USES,
      duration: 'P7D',
    },
  });
  return result.recovery;
}
