import { GrantRoom } from '../../src/escrow/rules/grantRoom.js';
import { HouseMemory } from '../../src/escrow/acts/houseMemory.js';
import { createHmac } from 'node:crypto';

import type { Escrow } from '../../src/escrow/escrow.js';
import type { Deposit } from '../../src/escrow/records/deposit.js';
import { sha256Hex } from '../../src/escrow/records/digests.js';
import type { Directory } from '../../src/escrow/directory.js';
import { EscrowError } from '../../src/escrow/records/errors.js';
import type { Grant } from '../../src/escrow/records/grant.js';
import { CheckedGrants } from '../../src/escrow/rules/checkedGrant.js';
import type { RandomBytes } from '../../src/escrow/records/ids.js';
import { Ledger } from '../../src/escrow/ledger/ledger.js';
import type { FollowedLog, LogFacts } from '../../src/escrow/logged/logFacts.js';
import { DEFAULT_OPEN_REQUESTS, OpenRequests } from '../../src/escrow/rules/openRequests.js';
import { OwnerChains } from '../../src/escrow/logged/ownerChains.js';
import type { Policy } from '../../src/escrow/records/policy.js';
import type { Token } from '../../src/escrow/ports/token.js';
import type { LogReader } from '../../src/escrow/ports/log.ts';
import type { Store } from '../../src/escrow/ports/store.ts';
import type { Recovery } from '../../src/escrow/records/recovery.js';
import { type Entry, encodeEntry } from '../../src/log/entry/entry.js';
import { policyApplied } from './loggedEntries.js';
import { MemoryJournal } from './memoryJournal.js';
import { chance } from '../support/chance.js';

/** A ciphertext says who can open it and what is inside; nobody else opens it. */
interface Box {
  readonly to: string;
  readonly inside: string;
  readonly aad?: string;
}

function boxed(box: Box, length = 0): Uint8Array {
  return Buffer.from(JSON.stringify(box).padEnd(length));
}

function opened(bytes: Uint8Array, to: string, aad?: string): string | undefined {
  try {
    const box = JSON.parse(Buffer.from(bytes).toString()) as Box;
    return box.to === to && box.aad === aad ? box.inside : undefined;
  } catch {
    return undefined;
  }
}

/** A private key as it is wrapped to an import pair; its public half is `SPKI of` it. */
export function wrappedTo(pair: string, secret: string): Uint8Array {
  return boxed({ to: `import:${pair}`, inside: secret });
}

/** What a depositary makes of their share for a request: 384 bytes, as a ciphertext of its one-time key has. */
export function reencrypted(share: Uint8Array, depositary: string, recovery: string): Uint8Array {
  return boxed(
    { to: `transport:${recovery}`, inside: opened(share, `depositary:${depositary}`) ?? 'nothing' },
    384,
  );
}

/** The token's identity key, which nobody else has. */
const IDENTITY = Buffer.from('of the token alone');

function identityOver(input: string): Buffer {
  return createHmac('sha256', IDENTITY).update(input).digest();
}

function signedByIdentity(jws: string, typ: string): Readonly<Record<string, unknown>> | undefined {
  const [header = '', payload = '', signature = ''] = jws.split('.');
  const said = (part: string): Record<string, unknown> =>
    JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, unknown>;
  const isSigned = identityOver(`${header}.${payload}`).toString('base64url') === signature;
  return isSigned && said(header)['typ'] === typ ? said(payload) : undefined;
}

/** The token as a thing. */
export interface Device {
  readonly grants: Set<string>;
  readonly transports: Set<string>;
  readonly imports: Set<string>;
  readonly serversFor: Set<string>;
  isOut: boolean;
  /** Whether a daemon on another copy of the records uses it. */
  isForeign: boolean;
  /** What happens before the token does something. */
  before: (verb: string) => void | Promise<void>;
}

/** The use cases, the ledger and the judge of the journal as they are; rows and token in memory, the token's ciphers by name. */
export interface SymbolicWorld {
  readonly escrow: Escrow;
  readonly journal: MemoryJournal;
  readonly entries: Entry[];
  readonly recoveries: Map<string, Recovery>;
  readonly grants: Map<string, Grant>;
  readonly deposits: Map<string, Deposit>;
  /** What the token does; to be replaced by who wants it to fail. */
  readonly verbs: Record<string, (...given: never[]) => unknown>;
  /** The grants that stand in the token now. */
  readonly raised: ReadonlySet<string>;
  readonly device: Device;
  policy: Policy;
  /** Shows another policy than the log has last. */
  showPolicy(shown: Policy): void;
  /** What the log says; to be replaced by who does not ask it. */
  facts: LogFacts;
  now: Date;
  /** How long an act that is in the way of another is waited for. */
  contentionTimeoutMs: number;
}

export const ORIGIN = 'escrow.test/log';
export const LOG_KEY = `${ORIGIN}+00000000+AQ`;
/** The root of the tree that statements of this world name, in base64. */
export const ROOT = 'root';

export function symbolicWorld(policy: Policy, enrolled: readonly string[]): SymbolicWorld {
  const journal = new MemoryJournal();
  const { entries, recoveries, grants, deposits } = journal;
  const { bytes } = chance('symbolic world');
  const apply = (next: Policy): void => {
    for (const entry of policyApplied(next)) journal.follow(entry);
  };
  apply(policy);
  const followed: FollowedLog = {
    ...journal.followed,
    get facts() {
      return world.facts;
    },
  };
  journal.policyVersion = policy.version;
  let inForce = policy;
  const world = {
    now: new Date('2026-03-01T12:00:00.000Z'),
    contentionTimeoutMs: 0,
    facts: journal.followed.facts,
    get policy(): Policy {
      return inForce;
    },
    showPolicy(shown: Policy): void {
      inForce = shown;
      journal.policyVersion = shown.version;
    },
    set policy(next: Policy) {
      world.showPolicy(next);
      apply(next);
    },
  };
  const clock = {
    now: () => world.now,
    pause: (ms: number) => {
      if (world.contentionTimeoutMs > 0) world.now = new Date(world.now.getTime() + ms);
      return Promise.resolve();
    },
  };
  const store = { ...journal.rows } as Partial<Store> as Store;

  const device: Device = {
    grants: new Set(),
    transports: new Set(),
    imports: new Set(),
    serversFor: new Set(enrolled),
    isOut: false,
    isForeign: false,
    before: () => undefined,
  };
  const { token, verbs } = symbolicToken(enrolled, device, bytes);
  const identity: Escrow['identity'] = {
    verify: (jws, typ) => Promise.resolve(signedByIdentity(jws, typ)),
  };
  const escrow: Escrow = {
    ledger: new Ledger({
      journal,
      token,
      followed,
      clock,
      random: bytes,
      memory: {
        anchored: () => Promise.resolve(),
        requireOwnToken: () =>
          device.isForeign
            ? Promise.reject(new Error('the token is in use on another copy'))
            : Promise.resolve(),
      },
      notice: () => undefined,
      policy: () => Promise.resolve(world.policy),
      get contentionTimeoutMs() {
        return world.contentionTimeoutMs;
      },
    }),
    directory: {
      current: () => Promise.resolve(world.policy),
      floor: 2,
      idProblem: () => Promise.resolve(undefined),
      signersNeeded: () => 2,
    } as Partial<Directory> as Directory,
    store,
    // statements of this world name the tree of one entry
    log: {
      rootAt: (size) => Promise.resolve(size === 1 ? Buffer.from(ROOT, 'base64') : undefined),
      entries: (from, limit) =>
        Promise.resolve(
          entries
            .slice(from, from + limit)
            .map((entry, at) => ({ index: from + at, entry: encodeEntry(entry) })),
        ),
    } as Partial<LogReader> as LogReader,
    followed,
    grants: new CheckedGrants({ origin: ORIGIN, logKey: LOG_KEY }, identity),
    owners: new OwnerChains({ entries: () => Promise.resolve([]) }),
    openRequests: new OpenRequests(DEFAULT_OPEN_REQUESTS),
    grantRoom: new GrantRoom(undefined),
    drillEveryMs: 90 * 24 * 60 * 60 * 1000,
    token,
    statements: {
      verify: (jws, typ, keys) => {
        const said = JSON.parse(jws) as { typ: string; by: string; payload: Record<string, unknown> };
        const isTheirs = said.typ === typ && keys.some(({ thumbprint }) => thumbprint === said.by);
        return Promise.resolve(isTheirs ? { jws, payload: said.payload } : undefined);
      },
      signerOf: (jws, typ) => {
        const said = JSON.parse(jws) as { typ: string; by: string };
        return said.typ === typ ? said.by : undefined;
      },
    },
    identity,
    clock,
    random: bytes,
    origin: ORIGIN,
    logKey: LOG_KEY,
    tokenId: sha256Hex('the identity key of this token'),
  };
  return Object.assign(world, {
    escrow,
    journal,
    entries,
    recoveries,
    grants,
    deposits,
    verbs,
    raised: device.grants,
    device,
  });
}

/** A reference to what the token holds. */
interface InFlight {
  readonly reference: number;
}

function symbolicToken(
  enrolled: readonly string[],
  device: Device,
  bytes: RandomBytes,
): { readonly token: Token; readonly verbs: SymbolicWorld['verbs'] } {
  const { grants: raised, transports, imports, serversFor } = device;
  const requireHeld = (objects: ReadonlySet<string>, id: string): void => {
    if (!objects.has(id)) throw new EscrowError('token-object-missing');
  };
  const requireInService = (): void => {
    if (device.isOut) throw new EscrowError('token-unavailable');
  };
  const held = new Map<number, string>();
  const hold = (kind: string, secret: string): { held: string; reference: number } => {
    held.set(held.size, secret);
    return { held: kind, reference: held.size - 1 };
  };
  const secretOf = ({ reference }: { reference: number }): string => held.get(reference) ?? 'gone';
  const fresh = (): string => Buffer.from(bytes(16)).toString('hex');
  const answer = (found: string | undefined, use: (found: string) => unknown): unknown =>
    Promise.resolve(found === undefined ? { refused: true } : { opened: use(found) });
  const hex = (aad: Uint8Array): string => Buffer.from(aad).toString('hex');
  const verbs: SymbolicWorld['verbs'] = {
    generateUserKey: () =>
      Promise.resolve({ key: hold('user-key', fresh()), publicKey: Buffer.from('SPKI') }),
    wrapUnderKek: (key: InFlight, purpose: string) =>
      Promise.resolve({
        // as long as a whole RSA-2048 key is
        sealed: boxed({ to: `kek:${purpose}`, inside: secretOf(key) }, 1232),
        kek: `kek:${purpose}`,
      }),
    generateShareKey: () => Promise.resolve(hold('share-key', fresh())),
    generateLayerKey: () => Promise.resolve(hold('layer-key', fresh())),
    generateTransferKey: () => Promise.resolve(hold('transfer-key', fresh())),
    wrapToDepositary: (key: InFlight, { id }: { id: string }) =>
      Promise.resolve(boxed({ to: `depositary:${id}`, inside: secretOf(key) })),
    wrapToServerFor: (key: InFlight, id: string) =>
      Promise.resolve({ sealed: boxed({ to: `server-for:${id}:v1`, inside: secretOf(key) }), version: 1 }),
    wrapUnderTransfer: (x: InFlight, key: InFlight) =>
      Promise.resolve(boxed({ to: secretOf(x), inside: secretOf(key) })),
    sealUnder: (key: InFlight, inner: Uint8Array, aad: Uint8Array) =>
      Promise.resolve(boxed({ to: secretOf(key), inside: Buffer.from(inner).toString(), aad: hex(aad) })),
    proveSealed: (
      key: InFlight,
      { inner, aad, outer }: Record<'inner' | 'aad' | 'outer', Uint8Array>,
    ): unknown =>
      Promise.resolve(
        opened(outer, secretOf(key), hex(aad)) === Buffer.from(inner).toString()
          ? { opened: undefined }
          : { refused: true },
      ),
    proveWrapped: ({
      wrapped,
      purpose,
      made,
    }: {
      wrapped: { sealed: Uint8Array };
      purpose: string;
      made?: InFlight;
    }) => {
      const inside = opened(wrapped.sealed, `kek:${purpose}`);
      const isIt = made === undefined || inside === secretOf(made);
      return answer(isIt ? inside : undefined, () => undefined);
    },
    createTransport: (id: string) =>
      Promise.resolve({ publicKey: Buffer.from([...transports.add(id)].at(-1) ?? '') }),
    destroyTransport: (id: string) => Promise.resolve(void transports.delete(id)),
    createImportPair: (id: string) =>
      Promise.resolve({ publicKey: Buffer.from([...imports.add(id)].at(-1) ?? '') }),
    destroyImportPair: (id: string) => Promise.resolve(void imports.delete(id)),
    unwrapImported: ({
      pair,
      wrapped,
      claimed,
    }: {
      pair: string;
      wrapped: Uint8Array;
      claimed: Uint8Array;
    }) => {
      requireHeld(imports, pair);
      return answer(opened(wrapped, `import:${pair}`), (secret) => ({
        key: hold('user-key', secret),
        isClaimed: Buffer.from(claimed).toString() === `SPKI of ${secret}`,
      }));
    },
    attest: (input: Uint8Array) => Promise.resolve(identityOver(Buffer.from(input).toString())),
    unwrapReply: (id: string, reply: Uint8Array) => {
      requireHeld(transports, id);
      return answer(opened(reply, `transport:${id}`), (secret) => hold('share-key', secret));
    },
    openUnder: (key: InFlight, layer: Uint8Array, aad: Uint8Array) =>
      answer(opened(layer, secretOf(key), hex(aad)), (inside) => Buffer.from(inside)),
    unwrapLayer: ({ depositary, version }: { depositary: string; version: number }, layer: Uint8Array) => {
      requireHeld(serversFor, depositary);
      const box = `server-for:${depositary}:v${version}`;
      return answer(opened(layer, box), (secret) => hold('layer-key', secret));
    },
    proveServerFor: ({ depositary }: { depositary: string }) => {
      requireHeld(serversFor, depositary);
      return Promise.resolve({ opened: undefined });
    },
    raiseGrant: ({ grant, wrapped }: { grant: string; wrapped: { sealed: Uint8Array } }) =>
      answer(opened(wrapped.sealed, 'kek:operate'), () => void raised.add(grant)),
    destroyGrant: (id: string) => Promise.resolve(void raised.delete(id)),
    unwrapForRelease: ({ wrapped }: { wrapped: { sealed: Uint8Array } }) =>
      answer(opened(wrapped.sealed, 'kek:release'), (secret) => hold('user-key', secret)),
    sign: async (
      id: string,
      _spec: unknown,
      _mechanism: unknown,
      data: readonly Uint8Array[],
      made: (signature: Uint8Array) => void,
    ) => {
      for (const [at] of data.entries()) {
        // before the first it was done already
        if (at > 0) await device.before('sign');
        requireInService();
        requireHeld(raised, id);
        made(Buffer.from('signed'));
      }
    },
    decrypt: (
      id: string,
      _spec: unknown,
      _mechanism: unknown,
      { ciphertext }: { ciphertext: Uint8Array },
    ) => {
      requireHeld(raised, id);
      return answer(ciphertext.length === 256 ? 'opened' : undefined, (text) => Buffer.from(text));
    },
  };
  const working = Object.keys(verbs).map((name) => [
    name,
    async (...given: never[]): Promise<unknown> => {
      await device.before(name);
      requireInService();
      return verbs[name]?.(...given);
    },
  ]);
  const token = {
    abilities: {
      profile: 'symbolic',
      keySpecs: ['rsa-2048', 'rsa-3072'],
      mechanisms: ['RS256', 'RSA-OAEP'],
      oaep: 'RSA-OAEP',
    },
    enrolled: () =>
      Promise.resolve(enrolled.map((id) => ({ id, publicKey: Buffer.from(id), fingerprint: sha256Hex(id) }))),
    requireInService,
    lend: async (_names: unknown, use: (lent: unknown) => Promise<unknown>) => {
      requireInService();
      return use(Object.fromEntries(working));
    },
    openings: 1,
    keks: () =>
      Promise.resolve(
        ['operate', 'release'].map((purpose) => ({ label: `kek:${purpose}`, hasRotatingHandle: false })),
      ),
    standing: async () => {
      requireInService();
      return Promise.resolve({
        transports: [...transports],
        grants: [...raised],
        imports: [...imports],
      });
    },
  } as unknown as Token;
  return { token, verbs };
}

/** As a round before left it: whatever stands in the token and is a stray was one long ago. */
export function strayLongAgo({ device }: Pick<SymbolicWorld, 'device'>): HouseMemory {
  const labels = [
    ...[...device.transports].map((id) => `transport:${id}`),
    ...[...device.grants].map((id) => `grant:${id}`),
    ...[...device.imports].map((id) => `import:${id}`),
  ];
  const memory = new HouseMemory();
  for (const label of labels) memory.token.strays.set(label, 0);
  return memory;
}
