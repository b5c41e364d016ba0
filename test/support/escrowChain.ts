import { constants, createPublicKey, privateDecrypt, publicEncrypt, randomBytes } from 'node:crypto';
import type { GrantId, PrincipalId, RecoveryId } from '../../src/escrow/ids.js';
import { newId, parsePrincipalId } from '../../src/escrow/ids.js';
import type { KeySpec } from '../../src/escrow/keySpecs.js';
import type { Purpose } from '../../src/escrow/policy.js';
import type { Opened, TokenVerbs, Wrapped } from '../../src/escrow/ports.js';
import type { Held, Sealed } from '../../src/escrow/sealed.js';
import { sealed } from '../../src/escrow/sealed.js';
import type { OpenToken } from '../../src/token/openToken.js';
import type { TestDepositary } from './softhsm.js';

/** A deposit of one key under one quorum, as the token suites need it. */
export interface TestDeposit {
  readonly spec: KeySpec;
  readonly publicKey: Uint8Array | undefined;
  readonly kek: string;
  readonly members: readonly {
    readonly depositary: PrincipalId;
    readonly share: Sealed<'depositary'>;
    readonly link: Sealed<'share-key'>;
  }[];
  /** Sealed under the layers of all members, the first outermost. */
  readonly sealedQuorum: Sealed<'layer-key'>;
}

export const AAD = Buffer.alloc(32, 7);

export function principal(text: string): PrincipalId {
  const id = parsePrincipalId(text);
  if (id === undefined) throw new Error(`no principal: ${text}`);
  return id;
}

export const newRecovery = (): RecoveryId => newId('RecoveryId', (length) => randomBytes(length));
export const newGrant = (): GrantId => newId('GrantId', (length) => randomBytes(length));

/** Generates a key and deposits it under one quorum of these depositaries, in one loan. */
export function deposit(
  token: OpenToken,
  spec: KeySpec,
  purpose: Purpose,
  depositaries: readonly TestDepositary[],
): Promise<TestDeposit> {
  const verbs = [
    'generateUserKey',
    'wrapUnderKek',
    'generateShareKey',
    'generateLayerKey',
    'wrapToDepositary',
    'wrapToServerFor',
    'sealUnder',
  ] as const;
  return token.lend(verbs, async (lent) => {
    const { key, publicKey } = await lent.generateUserKey(spec);
    const wrapped = await lent.wrapUnderKek(key, purpose);
    const members = [];
    let inner: Sealed<'kek'> | Sealed<'layer-key'> = wrapped.sealed;
    let sealedQuorum: Sealed<'layer-key'> | undefined;
    for (const { id } of [...depositaries].reverse()) {
      const depositary = principal(id);
      const share = await lent.generateShareKey();
      const layer = await lent.generateLayerKey();
      const wrappedShare = await lent.wrapToDepositary(share, depositary);
      const link = await lent.sealUnder(share, await lent.wrapToServerFor(layer, depositary), AAD);
      sealedQuorum = await lent.sealUnder(layer, inner, AAD);
      inner = sealedQuorum;
      members.unshift({ depositary, share: wrappedShare, link });
    }
    if (sealedQuorum === undefined) throw new Error('a quorum has members');
    return { spec, publicKey, kek: wrapped.kek, members, sealedQuorum };
  });
}

/** What a depositary's client does with its share, for the OAEP of SoftHSM. */
export function reencrypt(
  depositary: TestDepositary,
  share: Sealed<'depositary'>,
  transportKey: Uint8Array,
): Sealed<'transport'> {
  const oaep = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' };
  const secret = privateDecrypt({ key: depositary.privateKey, ...oaep }, share);
  const key = createPublicKey({ key: Buffer.from(transportKey), format: 'der', type: 'spki' });
  return sealed('transport', publicEncrypt({ key, ...oaep }, secret));
}

/** The opened value, or a failed test. */
export function opened<T>(result: Opened<T>): T {
  if ('refused' in result) throw new Error('the token refused the ciphertext');
  return result.opened;
}

/** Verbs that open a quorum. */
export const OPENING = ['unwrapReply', 'openUnder', 'unwrapLayer'] as const;
type Opening = Pick<TokenVerbs, (typeof OPENING)[number]>;

/** Opens a quorum down to the key under its KEK. */
export async function openQuorum(
  lent: Opening,
  recovery: RecoveryId,
  kept: TestDeposit,
  replies: readonly Sealed<'transport'>[],
): Promise<Wrapped> {
  const layers: Held<'layer-key'>[] = [];
  for (const [index, member] of kept.members.entries()) {
    const reply = replies[index];
    if (reply === undefined) throw new Error('a reply is missing');
    const share = opened(await lent.unwrapReply(recovery, reply));
    const link = opened(await lent.openUnder(share, member.link, AAD, 'server-for'));
    layers.push(opened(await lent.unwrapLayer(member.depositary, link)));
  }
  let rest = kept.sealedQuorum;
  for (const layer of layers.slice(0, -1)) rest = opened(await lent.openUnder(layer, rest, AAD, 'layer-key'));
  const last = layers.at(-1);
  if (last === undefined) throw new Error('a quorum has members');
  return { sealed: opened(await lent.openUnder(last, rest, AAD, 'kek')), kek: kept.kek };
}
