import { constants, createCipheriv, createPublicKey, publicEncrypt, verify } from 'node:crypto';
import type { OpenedKey } from '../../src/client/depositary/release.js';
import { openRelease } from '../../src/client/depositary/release.js';
import type { ScopeOrder } from '../../src/api/orders.js';
import type { KeyReply, RecoveryReply } from '../../src/api/replies.js';
import { grantOf, releaseOf } from './oneKey.js';
import type { PersonName, System } from './system.js';
import { freshBytes } from './fresh.js';

/** What is left after all that can happen to keys has happened once. */
export interface Life {
  /** ec-p256, operate only. Used up by one grant; another is live; a third request has one approval. */
  readonly signing: KeyReply;
  /** rsa-2048, for both purposes, with a copy for the owner; its grant was revoked, and it was released. */
  readonly decrypting: KeyReply;
  /** aes-256, as that, without a grant. */
  readonly secret: KeyReply;
  readonly liveGrant: string;
  /** Released to the manager, and what the manager's client made of it. */
  readonly releases: readonly {
    readonly key: string;
    readonly recovery: string;
    readonly opened: OpenedKey;
  }[];
  /** Pending: the manager has approved. */
  readonly pending: string;
  /** Ended: their transport keys are gone. */
  readonly ended: readonly string[];
}

const message = Buffer.from('an invoice').toString('base64url');

/** What an app may do in the tests, unless it says otherwise. */
export function signingScope(more: Partial<ScopeOrder> = {}): ScopeOrder {
  const usual = { operations: ['sign'], mechanisms: ['ES256'], input: 'message' } as const;
  return { app: 'app', ...usual, maxUses: 3, duration: 'PT1H', ...more };
}

/** A key of the owner, ordered by an administrator. */
export async function makeKey(
  system: System,
  order: Pick<Parameters<ReturnType<System['client']>['generateKey']>[0], 'spec' | 'use' | 'deliver'>,
): Promise<KeyReply> {
  return (await system.client('admin-1').generateKey({ owner: 'owner', ...order })).result;
}

/** The manager asks that an app may use a key. */
export async function askToOperate(
  system: System,
  key: string,
  scope: ScopeOrder = signingScope(),
): Promise<RecoveryReply> {
  const common = { keys: [key], reason: 'the owner is away', validFor: 'PT1H' };
  const order = { ...common, purpose: 'operate', scope } as const;
  return (await system.client('manager').requestRecovery(order)).result;
}

/** A depositary asks for a key. */
export async function askForRelease(
  system: System,
  key: string,
  recipient: PersonName = 'manager',
): Promise<RecoveryReply> {
  const common = { keys: [key], reason: 'the owner has left', validFor: 'PT1H' };
  const order = { ...common, purpose: 'release' } as const;
  return (await system.client(recipient).requestRecovery(order)).result;
}

/** Two of three agree; the grant, when it was asked to operate. */
export async function agree(system: System, recovery: string): Promise<RecoveryReply> {
  await system.approve('manager', recovery);
  return system.approve('officer-1', recovery);
}

/** Asks for a key, has two agree, has it released, and opens it as the recipient's client does. */
export async function releaseToManager(
  system: System,
  key: KeyReply,
): Promise<{ readonly recovery: string; readonly opened: OpenedKey }> {
  const { recovery } = await askForRelease(system, key.key);
  await agree(system, recovery);
  const { result } = await system.client('manager').release(recovery);
  const recipientKey = await system.identity('manager').depositaryKey();
  return {
    recovery,
    opened: openRelease(releaseOf(result), recipientKey, { publicKeyPem: key.publicKeyPem }),
  };
}

/** Keys are made, used on behalf until the fourth use is refused, revoked, released and opened. */
export async function liveThrough(system: System): Promise<Life> {
  const signing = await makeKey(system, { spec: 'ec-p256', use: 'sign' });
  const decrypting = await makeKey(system, { spec: 'rsa-2048', use: 'decrypt', deliver: true });
  const secret = await makeKey(system, { spec: 'aes-256', use: 'decrypt', deliver: true });

  const usedUp = await askToOperate(system, signing.key);
  const grant = grantOf(await agree(system, usedUp.recovery));
  for (let use = 0; use < 3; use += 1) await signOnce(system, grant, signing);
  await expect(
    system.client('app').sign(grant, { mechanism: 'ES256', messages: [message] }),
  ).rejects.toMatchObject({ code: 'grant-exhausted' });

  const revoked = await decryptThenRevoke(system, decrypting, secret);
  const releases = [];
  for (const key of [decrypting, secret])
    releases.push({ key: key.key, ...(await releaseToManager(system, key)) });

  const live = await askToOperate(system, signing.key);
  const liveGrant = grantOf(await agree(system, live.recovery));
  await signOnce(system, liveGrant, signing);
  const pending = await askToOperate(system, signing.key);
  await system.approve('manager', pending.recovery);
  const ended = [usedUp.recovery, ...revoked, ...releases.map(({ recovery }) => recovery), live.recovery];
  return { signing, decrypting, secret, liveGrant, releases, pending: pending.recovery, ended };
}

async function signOnce(system: System, grant: string, key: KeyReply): Promise<void> {
  const order = { mechanism: 'ES256', messages: [message] } as const;
  const [signature] = (await system.client('app').sign(grant, order)).result.signatures;
  const publicKey = { key: key.publicKeyPem ?? '', dsaEncoding: 'ieee-p1363' } as const;
  const isGood = verify(
    'sha256',
    Buffer.from(message, 'base64url'),
    publicKey,
    Buffer.from(signature ?? '', 'base64url'),
  );
  expect(isGood).toBe(true);
}

async function decryptThenRevoke(
  system: System,
  pair: KeyReply,
  secret: KeyReply,
): Promise<readonly string[]> {
  const decrypting = { operations: ['decrypt'], input: 'message' } as const;
  const forPair = await askToOperate(
    system,
    pair.key,
    signingScope({ ...decrypting, mechanisms: ['RSA-OAEP'] }),
  );
  const grant = grantOf(await agree(system, forPair.recovery));
  const key = { key: createPublicKey(pair.publicKeyPem ?? ''), oaepHash: 'sha1' };
  const ciphertext = publicEncrypt(
    { ...key, padding: constants.RSA_PKCS1_OAEP_PADDING },
    Buffer.from('hello'),
  );
  const { result } = await system.client('app').decrypt(grant, {
    mechanism: 'RSA-OAEP',
    ciphertexts: [{ ciphertext: ciphertext.toString('base64url') }],
  });
  expect(result.plaintexts.map((plain) => Buffer.from(plain, 'base64url').toString())).toEqual(['hello']);
  await system.client('owner').revoke(grant, 'enough');

  const forSecret = await askToOperate(
    system,
    secret.key,
    signingScope({ ...decrypting, mechanisms: ['A256GCM'] }),
  );
  const second = grantOf(await agree(system, forSecret.recovery));
  const cipher = createCipheriv('aes-256-gcm', freshBytes(32), freshBytes(12));
  const foreign = Buffer.concat([cipher.update('hello'), cipher.final(), cipher.getAuthTag()]);
  const refused = system.client('app').decrypt(second, {
    mechanism: 'A256GCM',
    ciphertexts: [{ ciphertext: foreign.toString('base64url'), iv: freshBytes(12).toString('base64url') }],
  });
  await expect(refused).rejects.toMatchObject({ code: 'ciphertext-invalid' });
  await system.client('owner').revoke(second, 'enough');
  return [forPair.recovery, forSecret.recovery];
}
