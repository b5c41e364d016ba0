import { constants, createPublicKey, privateDecrypt, publicEncrypt } from 'node:crypto';
import type { GrantId, PrincipalId, RecoveryId } from '../../src/escrow/records/ids.js';
import { newId, parsePrincipalId } from '../../src/escrow/records/ids.js';
import type { GeneratedSpec, Operation } from '../../src/escrow/records/keySpecs.js';
import { KEY_SPECS } from '../../src/escrow/records/keySpecs.js';
import { mechanismsFor } from '../../src/escrow/records/mechanisms.js';
import { sha256Hex } from '../../src/escrow/records/digests.js';
import type { Purpose } from '../../src/escrow/records/policy.js';
import type { DepositaryKey, Opened, TokenVerbs, Wrapped } from '../../src/escrow/ports/token.js';
import type { ServerForVersion } from '../../src/escrow/records/deposit.ts';
import type { Held, Sealed } from '../../src/escrow/records/sealing/sealed.js';
import { sealed } from '../../src/escrow/records/sealing/sealed.js';
import type { OpenToken } from '../../src/token/service/openToken.js';
import type { TestDepositary } from './testToken.js';
import { freshBytes } from './fresh.js';

/** A deposit of one key under one quorum, as the token suites need it. */
export interface TestDeposit {
  readonly spec: GeneratedSpec;
  readonly publicKey: Uint8Array | undefined;
  readonly kek: string;
  readonly members: readonly {
    readonly depositary: PrincipalId;
    readonly version: ServerForVersion;
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

/** The key of somebody, as the token is asked to wrap to it. */
export function keyOf({ id, publicKeyPem }: Pick<TestDepositary, 'id' | 'publicKeyPem'>): DepositaryKey {
  const spki = createPublicKey(publicKeyPem).export({ type: 'spki', format: 'der' });
  return { id: principal(id), fingerprint: sha256Hex(spki) };
}

/** That of somebody who has none. */
export const keyOfNobody = (id: string): DepositaryKey => ({ id: principal(id), fingerprint: sha256Hex(id) });

export const newRecovery = (): RecoveryId => newId('RecoveryId', (length) => freshBytes(length));
export const newGrant = (): GrantId => newId('GrantId', (length) => freshBytes(length));

/** Generates a key and deposits it for one purpose under one quorum of these depositaries, in one loan. */
export async function deposit(
  token: OpenToken,
  spec: GeneratedSpec,
  purpose: Purpose,
  depositaries: readonly TestDepositary[],
  use?: Operation,
): Promise<TestDeposit> {
  const [made] = await depositFor(token, spec, [purpose], depositaries, use);
  if (made === undefined) throw new Error('nothing was deposited');
  return made;
}

/** The same for several purposes: one key, and one deposit for each. */
export function depositFor(
  token: OpenToken,
  spec: GeneratedSpec,
  purposes: readonly Purpose[],
  depositaries: readonly TestDepositary[],
  use: Operation = KEY_SPECS[spec].uses[0],
): Promise<readonly TestDeposit[]> {
  const verbs = ['generateUserKey', ...SEALING] as const;
  return token.lend(verbs, async (lent) => {
    const { key, publicKey } = await lent.generateUserKey(spec);
    const made: TestDeposit[] = [];
    for (const purpose of purposes) {
      const wrapped = await lent.wrapUnderKek(key, purpose, { spec, use });
      made.push({ spec, publicKey, ...(await sealQuorum(lent, wrapped, depositaries)) });
    }
    return made;
  });
}

const SEALING = [
  'wrapUnderKek',
  'generateShareKey',
  'generateLayerKey',
  'wrapToDepositary',
  'wrapToServerFor',
  'sealUnder',
] as const;

async function sealQuorum(
  lent: Pick<TokenVerbs, (typeof SEALING)[number]>,
  wrapped: Wrapped,
  depositaries: readonly TestDepositary[],
): Promise<Omit<TestDeposit, 'spec' | 'publicKey'>> {
  const members = [];
  let inner: Sealed<'kek'> | Sealed<'layer-key'> = wrapped.sealed;
  let sealedQuorum: Sealed<'layer-key'> | undefined;
  for (const person of [...depositaries].reverse()) {
    const depositary = principal(person.id);
    const share = await lent.generateShareKey();
    const layer = await lent.generateLayerKey();
    const wrappedShare = await lent.wrapToDepositary(share, keyOf(person));
    const { sealed: linked, version } = await lent.wrapToServerFor(layer, depositary);
    const link = await lent.sealUnder(share, linked, AAD);
    sealedQuorum = await lent.sealUnder(layer, inner, AAD);
    inner = sealedQuorum;
    members.unshift({ depositary, version, share: wrappedShare, link });
  }
  if (sealedQuorum === undefined) throw new Error('a quorum has members');
  return { kek: wrapped.kek, members, sealedQuorum };
}

/** RSA-OAEP by its JOSE name, for node:crypto. */
export function nodeOaep(how: string): { readonly padding: number; readonly oaepHash: string } {
  const oaepHash = how === 'RSA-OAEP-256' ? 'sha256' : 'sha1';
  return { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash };
}

/** What a depositary's client does with its share. */
export function reencrypt(
  depositary: TestDepositary,
  share: Sealed<'depositary'>,
  transportKey: Uint8Array,
  how = 'RSA-OAEP',
): Sealed<'transport'> {
  const oaep = nodeOaep(how);
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
    layers.push(opened(await lent.unwrapLayer(member, link)));
  }
  let rest = kept.sealedQuorum;
  for (const layer of layers.slice(0, -1)) rest = opened(await lent.openUnder(layer, rest, AAD, 'layer-key'));
  const last = layers.at(-1);
  if (last === undefined) throw new Error('a quorum has members');
  return { sealed: opened(await lent.openUnder(last, rest, AAD, 'kek')), kek: kept.kek };
}

/** A recovery, and what was answered to its transport key. */
export interface Gathered {
  readonly recovery: RecoveryId;
  readonly replies: readonly Sealed<'transport'>[];
}

/** Makes the transport key of a new recovery, and has everyone in `people` answer to it. */
export async function gatherReplies(
  token: OpenToken,
  kept: TestDeposit,
  people: readonly TestDepositary[],
): Promise<Gathered> {
  const recovery = newRecovery();
  const { publicKey } = await token.lend(['createTransport'], (lent) => lent.createTransport(recovery));
  const replies = kept.members.map(({ depositary, share }) => {
    const person = people.find(({ id }) => id === depositary);
    if (person === undefined) throw new Error(`${depositary} is not there`);
    return reencrypt(person, share, publicKey, token.abilities.oaep);
  });
  return { recovery, replies };
}

/** Brings a deposit back as a grant that may do all that the key can. */
export async function raiseGrant(
  token: OpenToken,
  kept: TestDeposit,
  use: Operation,
  people: readonly TestDepositary[],
): Promise<GrantId> {
  return raiseFrom(token, kept, use, await gatherReplies(token, kept, people));
}

/** The same from replies that were gathered before. */
export async function raiseFrom(
  token: OpenToken,
  kept: TestDeposit,
  use: Operation,
  { recovery, replies }: Gathered,
): Promise<GrantId> {
  const grant = newGrant();
  const { spec } = kept;
  const mechanisms = mechanismsFor(spec, use).filter((name) => token.abilities.mechanisms.includes(name));
  await token.lend([...OPENING, 'raiseGrant', 'destroyTransport'], async (lent) => {
    const wrapped = await openQuorum(lent, recovery, kept, replies);
    opened(await lent.raiseGrant({ grant, wrapped, spec, use, mechanisms }));
    await lent.destroyTransport(recovery);
  });
  return grant;
}

/** Releases a deposit to the first of `people`: what the client gets. */
export async function release(
  token: OpenToken,
  kept: TestDeposit,
  people: readonly [TestDepositary, ...TestDepositary[]],
): Promise<{ readonly transferKey: Sealed<'depositary'>; readonly key: Sealed<'transfer-key'> }> {
  return releaseFrom(token, kept, people[0], await gatherReplies(token, kept, people));
}

/** The same from replies that were gathered before. */
export function releaseFrom(
  token: OpenToken,
  kept: TestDeposit,
  person: TestDepositary,
  { recovery, replies }: Gathered,
): Promise<{ readonly transferKey: Sealed<'depositary'>; readonly key: Sealed<'transfer-key'> }> {
  return token.lend([...OPENING, ...RELEASING], async (lent) => {
    const wrapped = await openQuorum(lent, recovery, kept, replies);
    const key = opened(await lent.unwrapForRelease({ wrapped, spec: kept.spec }));
    const transfer = await lent.generateTransferKey('depositary');
    const transferKey = await lent.wrapToDepositary(transfer, keyOf(person));
    const answer = { transferKey, key: await lent.wrapUnderTransfer(transfer, key) };
    await lent.destroyTransport(recovery);
    return answer;
  });
}

const RELEASING = [
  'unwrapForRelease',
  'generateTransferKey',
  'wrapToDepositary',
  'wrapUnderTransfer',
  'destroyTransport',
] as const;
