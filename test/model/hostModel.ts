import type { Hoard } from './closure.js';
import { closureOf, OWN } from './closure.js';
import type { Depositary, Key, Off, Purpose, TokenCheck } from './ceremony.js';
import { ceremony, DEPOSITARIES, depositaryPair, kekOf, KEYS, PURPOSES, serverPair } from './ceremony.js';
import type { Model, Move } from './explorer.js';
import type { Term } from './terms.js';
import { gcm, kwp, nameOf, oaep, privateHalf, value } from './terms.js';

/** What stands against the host: the token's templates, the onion, the depositary's client, and a clean rotation. */
export type HostCheck =
  | TokenCheck
  | 'client-opens-link'
  | 'link-names-key'
  | 'link-names-purpose'
  | 'layer-of-each-member'
  | 'rotated-on-clean-host'
  | 'old-keks-destroyed'
  | 'strays-destroyed'
  | 'replies-after-delay'
  | 'veto-shown';

/** What depositaries are asked for, truly shown to them: how they decide is up to them. */
export interface Request {
  readonly key: Key;
  readonly purpose: Purpose;
}

export interface HostWorld {
  /** Whether the second handles of the operate KEKs live, by which these can be rotated. */
  readonly rotates: boolean;
  readonly off: Off<HostCheck>;
}

type Delay = 'running' | 'vetoed' | 'over';

/** A depositary's yes to one request, in one generation of the deposits. */
interface Agreed extends Request {
  readonly by: Depositary;
  readonly generation: 1 | 2;
}

interface HostState {
  /** Grows when, on a clean host, all is sealed anew under new KEKs; the adversary comes back after that. */
  readonly generation: 1 | 2;
  /** Who has agreed to which request, in which generation. */
  readonly agreed: readonly Agreed[];
  /** Whether depositary 3 has handed over their private key. */
  readonly colludes: boolean;
  /** Of each request. The owner may veto a release while the delay runs, and calls whoever has not agreed. */
  readonly delays: readonly [Delay, Delay];
}

/** Depositary 1 has received the secret key before, from a clean host: its answer still lies in the database. */
const PAST_TRANSFER = 'key of a past transfer';
const REQUESTS = [0, 1] as const;
const ALL: readonly Request[] = (['pair', 'secret'] as const).flatMap((key) =>
  PURPOSES.map((purpose) => ({ key, purpose })),
);

/** Every two different requests that there can be. */
function pairsOfRequests(): readonly (readonly [Request, Request])[] {
  return ALL.flatMap((one, at) => ALL.slice(at + 1).map((other) => [one, other] as const));
}

/**
 * The host: it runs the token with the user PIN, reads the database, attests whatever it likes, a transport key of its own
 * among it, and shows depositaries whatever share and link it has. It was clean when keys were born.
 */
export function hostModels(world: HostWorld): readonly Model<HostState>[] {
  const hoards = new Map<string, Hoard>();
  const hoardOf = (state: HostState): Hoard => {
    const name = `${state.generation} ${String(state.colludes)} ${JSON.stringify(state.agreed)}`;
    const known = hoards.get(name) ?? hoardIn(state, world, hoardOf);
    hoards.set(name, known);
    return known;
  };
  return pairsOfRequests().map((requests) => ({
    initial: { generation: 1, agreed: [], colludes: false, delays: ['running', 'running'] },
    key: (state) => JSON.stringify(state),
    moves: (state) => movesIn(state, requests, world),
    broken: (state) => brokenIn(state, requests, hoardOf(state), world),
  }));
}

function* movesIn(
  state: HostState,
  requests: readonly [Request, Request],
  { rotates, off }: HostWorld,
): Iterable<Move<HostState>> {
  for (const to of REQUESTS) {
    const { key, purpose } = requests[to];
    const delay = state.delays[to];
    const isHeld = purpose === 'release' && !off.has('replies-after-delay') && delay === 'running';
    for (const by of DEPOSITARIES) {
      // a host that has fallen after the veto finds depositaries who know of it; one that hides it finds others
      const isEnded = delay === 'vetoed' && !off.has('veto-shown');
      if (isHeld || isEnded || agreedTo(state, requests[to]).some((one) => one.by === by)) continue;
      const agreed = [...state.agreed, { key, purpose, by, generation: state.generation }].sort(inOrder);
      yield { what: `depositary ${by} agrees to ${purpose} the ${key}`, to: { ...state, agreed } };
    }
    if (purpose !== 'release' || delay !== 'running') continue;
    yield { what: `the owner vetoes the release of the ${key}`, to: delayed(state, to, 'vetoed') };
    yield { what: `the delay of the release of the ${key} is over`, to: delayed(state, to, 'over') };
  }
  if (!state.colludes) yield { what: 'depositary 3 colludes', to: { ...state, colludes: true } };
  if (rotates && state.generation === 1 && state.agreed.length > 0)
    yield {
      what: 'on a clean host, the KEKs are rotated and all is sealed anew',
      to: { ...state, generation: 2 },
    };
}

function agreedTo({ agreed }: HostState, { key, purpose }: Request): readonly Agreed[] {
  return agreed.filter((one) => one.key === key && one.purpose === purpose);
}

function inOrder(a: Agreed, b: Agreed): number {
  return a.key.localeCompare(b.key) || a.purpose.localeCompare(b.purpose) || a.by - b.by;
}

function delayed(state: HostState, of: 0 | 1, delay: Delay): HostState {
  const delays = [...state.delays] as [Delay, Delay];
  delays[of] = delay;
  return { ...state, delays };
}

/* ------------------------------------------------- what the adversary has */

function hoardIn(state: HostState, world: HostWorld, hoardOf: (state: HostState) => Hoard): Hoard {
  const { generation, agreed, colludes } = state;
  const { off, rotates } = world;
  const stored = [...depositsOf(generation, off), ...pastTransfer()];
  const before =
    generation === 1
      ? { bytes: [], objects: [] }
      : afterRotation(
          hoardOf({ ...state, generation: 1, agreed: agreed.filter((one) => one.generation === 1) }),
          world,
        );
  const replies = agreed
    .filter((one) => one.generation === generation)
    .flatMap((one) => replied(one, [...before.bytes, ...stored], off));
  return closureOf({
    bytes: [
      ...before.bytes,
      ...stored,
      ...replies,
      ...(colludes ? [value(privateHalf(depositaryPair(3)))] : []),
    ],
    objects: [...before.objects, ...ceremony(generation, rotates, off)],
  });
}

/** Bytes stay for ever. What is in the token is what the people left there who rotated. */
function afterRotation(before: Hoard, world: HostWorld): Hoard {
  const { off, rotates } = world;
  const { bytes, objects } = off.has('rotated-on-clean-host') ? whileBothLive(before, world) : before;
  const old = new Set(ceremony(1, rotates, off).map(({ value: name }) => name));
  return {
    bytes,
    objects: [
      ...(off.has('old-keks-destroyed') ? ceremony(1, rotates, off) : []),
      ...(off.has('strays-destroyed')
        ? objects.filter((one) => one.token !== false && !old.has(one.value) && one.value !== OWN)
        : []),
    ],
  };
}

/** What a host makes of what it has while old and new KEKs live: it puts one under the other as the daemon does. */
function whileBothLive({ bytes, objects }: Hoard, { off, rotates }: HostWorld): Hoard {
  return closureOf({ bytes, objects: [...objects, ...ceremony(2, rotates, off)] });
}

/** Share, link and sealed quorums of every key and purpose, as its deposit left them in the database. */
function depositsOf(generation: 1 | 2, off: Off<HostCheck>): readonly Term[] {
  return ALL.flatMap(({ key, purpose }) => {
    const r = (i: Depositary): string => `R of ${key} ${purpose} ${i} v${generation}`;
    const l = (i: Depositary): string => `L of ${key} ${purpose} ${i} v${generation}`;
    const c = kwp(kekOf(key, purpose, generation, off), key);
    return [
      ...DEPOSITARIES.map((i) => oaep(depositaryPair(i), r(i))),
      ...DEPOSITARIES.map((i) =>
        gcm(r(i), linkContext({ key, purpose }, i, generation, off), oaep(serverPair(i), l(i))),
      ),
      ...DEPOSITARIES.flatMap((a) =>
        DEPOSITARIES.filter((b) => a < b).map((b) => {
          const inner = off.has('layer-of-each-member') ? c : gcm(l(b), `quorum ${a} ${b}`, c);
          return gcm(l(a), `quorum ${a} ${b}`, inner);
        }),
      ),
    ];
  });
}

function pastTransfer(): readonly Term[] {
  return [oaep(depositaryPair(1), PAST_TRANSFER), kwp(PAST_TRANSFER, 'secret')];
}

/** The associated data that birth seals a link under, and that a depositary's client computes from what it shows. */
function linkContext(
  { key, purpose }: Request,
  i: Depositary,
  generation: number,
  off: Off<HostCheck>,
): string {
  const ofKey = off.has('link-names-key') ? '' : key;
  const ofPurpose = off.has('link-names-purpose') ? '' : purpose;
  return `link of ${ofKey} ${ofPurpose} ${i} v${generation}`;
}

/**
 * What one yes gives the host, at most: every R that the client sends of what it may be shown. More than a host gets, which
 * shows one share; but what is not broken by this is not broken by less.
 */
function replied(yes: Agreed, shown: readonly Term[], off: Off<HostCheck>): readonly Term[] {
  const { by, generation } = yes;
  const context = linkContext(yes, by, generation, off);
  const opened = shown.flatMap((term) =>
    term.form === 'oaep' && term.to === depositaryPair(by) ? [term.of] : [],
  );
  return opened
    .filter(
      (share) =>
        off.has('client-opens-link') ||
        shown.some((term) => term.form === 'gcm' && term.under === share && term.aad === context),
    )
    .map(value);
}

/* ------------------------------------------------------------- the promises */

function brokenIn(
  state: HostState,
  requests: readonly Request[],
  hoard: Hoard,
  world: HostWorld,
): string | undefined {
  const names = new Set(hoard.bytes.map(nameOf));
  for (const key of ['pair', 'secret'] as const) {
    const isReleased = hasQuorum(state, { key, purpose: 'release' });
    const inUse = hoard.objects.filter((one) => one.value === key && one.uses.length > 0);
    if (names.has(key) && !isReleased) return 'what must not leave cannot leave';
    if (isReleased || inUse.length === 0) continue;
    if (!hasQuorum(state, { key, purpose: 'operate' })) return 'a quorum or nothing';
    // by the rotating handle, what lies under one KEK can be laid under another
    if (world.rotates) continue;
    const kind = key === 'pair' ? 'private' : 'secret';
    const isOtherwise = inUse.some(
      (one) => one.kind !== kind || one.uses.some((use) => use !== KEYS[key].use),
    );
    if (isOtherwise) return 'a key is for the use that it was deposited for';
  }
  const isVetoed = requests.some(
    (request, at) => state.delays[at] === 'vetoed' && agreedTo(state, request).length >= 2,
  );
  return isVetoed ? 'a veto within the delay leaves nobody a quorum of replies' : undefined;
}

/** Whether two depositaries, of whom one may collude, have agreed to just this: for use, since all was sealed anew. */
function hasQuorum(state: HostState, asked: Request): boolean {
  return ([1, 2] as const).some((then) => {
    if (asked.purpose === 'operate' && then !== state.generation) return false;
    const yes = agreedTo(state, asked).filter(({ generation }) => generation === then);
    return new Set([...yes.map(({ by }) => by), ...(state.colludes ? [3] : [])]).size >= 2;
  });
}
