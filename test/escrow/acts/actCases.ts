import type { Act } from '../../../src/escrow/ledger/means.js';
import { MEANS } from '../../../src/escrow/ledger/means.js';
import type { ErrorCode } from '../../../src/escrow/records/errors.js';
import { EscrowError } from '../../../src/escrow/records/errors.js';
import type { Entry } from '../../../src/log/entry/entry.js';
import type { SymbolicWorld } from '../symbolicWorld.js';

/** What stands in the records and in the token. */
function records({ deposits, recoveries, grants, device }: SymbolicWorld): string {
  const objects = [device.grants, device.transports, device.imports, device.serversFor].map((set) =>
    [...set].sort(),
  );
  return JSON.stringify([[...deposits], [...recoveries], [...grants], objects]);
}

/** The entries of this act that the work adds, and the verbs of the token that it calls. */
async function during(
  world: SymbolicWorld,
  act: Act,
  work: () => Promise<unknown>,
): Promise<{ readonly entries: readonly Entry[]; readonly verbs: readonly string[] }> {
  const from = world.entries.length;
  const { before } = world.device;
  const verbs: string[] = [];
  world.device.before = (verb) => {
    verbs.push(verb);
    return before(verb);
  };
  try {
    await work();
  } finally {
    world.device.before = before;
  }
  return { entries: world.entries.slice(from).filter((entry) => entry.act === act), verbs };
}

/** It is refused with this code, before anything is attempted: the log says so, the token does nothing, and no record changes. */
export async function expectRefused(
  world: SymbolicWorld,
  act: Act,
  code: ErrorCode,
  call: () => Promise<unknown>,
): Promise<void> {
  const then = records(world);
  const { entries, verbs } = await during(world, act, () =>
    expect(call()).rejects.toMatchObject({ name: 'EscrowError', code }),
  );
  expect(entries).toMatchObject([{ act, phase: 'denied', error: code }]);
  expect(verbs).toEqual([]);
  expect(records(world)).toBe(then);
}

/** It is done, by no other verbs of the token than it is lent; answers with its two entries. */
export async function expectDone(
  world: SymbolicWorld,
  act: Act,
  call: () => Promise<unknown>,
): Promise<readonly [Entry, Entry]> {
  const { entries, verbs } = await during(world, act, call);
  const lent: readonly string[] = MEANS[act];
  const ends = ['destroyTransport', 'destroyGrant', 'destroyImportPair'];
  expect(verbs.filter((verb) => !lent.includes(verb) && !ends.includes(verb))).toEqual([]);
  expect(entries).toMatchObject([{ phase: 'attempted' }, { phase: 'done' }]);
  const [attempted, done, ...others] = entries;
  if (attempted === undefined || done === undefined || others.length > 0) throw new Error('not two entries');
  return [attempted, done];
}

/** The token goes at this verb: what was attempted has failed, says the log, and the caller is told so. */
export async function expectFailedAt(
  world: SymbolicWorld,
  act: Act,
  verb: string,
  call: () => Promise<unknown>,
): Promise<void> {
  const { before } = world.device;
  world.device.before = (name) => {
    if (name === verb) throw new EscrowError('token-unavailable');
  };
  const { entries, verbs } = await during(world, act, () =>
    expect(call()).rejects.toMatchObject({ code: 'token-unavailable' }),
  );
  world.device.before = before;
  expect(verbs).toContain(verb);
  expect(entries).toMatchObject([{ phase: 'attempted' }, { phase: 'failed', error: 'token-unavailable' }]);
}

/** As {@link expectFailedAt}, and no record changes, nor anything in the token. */
export async function expectNothingLeftAt(
  world: SymbolicWorld,
  act: Act,
  verb: string,
  call: () => Promise<unknown>,
): Promise<void> {
  const then = records(world);
  await expectFailedAt(world, act, verb, call);
  expect(records(world)).toBe(then);
}

/** Each thing that the token makes for a deposit and that can be damaged unseen: which call of which verb makes it, and what is said of it. */
export const DAMAGED = {
  'the key under its key-encryption key': { verb: 'wrapUnderKek', nth: 1, said: /the key under kek:/ },
  'the layer key to the server': {
    verb: 'wrapToServerFor',
    nth: 1,
    said: /the copy sealed for|the layer of/,
  },
  'the link of the first': { verb: 'sealUnder', nth: 1, said: /the link of dana/ },
  'the link of the second': { verb: 'sealUnder', nth: 2, said: /the link of dave/ },
  'the inner layer of a sealed copy': {
    verb: 'sealUnder',
    nth: 3,
    said: /the copy sealed for dana and dave/,
  },
  'the outer layer of a sealed copy': {
    verb: 'sealUnder',
    nth: 4,
    said: /the copy sealed for dana and dave/,
  },
} as const;

/** What the token answers to this call is of something else; and that comes to nothing, of which nothing is left. */
export async function expectDamageFound(
  world: SymbolicWorld,
  act: Act,
  { verb, nth, said }: (typeof DAMAGED)[keyof typeof DAMAGED],
  call: () => Promise<unknown>,
): Promise<void> {
  const then = records(world);
  const { [verb]: real = () => undefined } = world.verbs;
  let calls = 0;
  world.verbs[verb] = async (...given) => {
    const made = (await real(...given)) as Uint8Array | { readonly sealed: Uint8Array };
    calls += 1;
    if (calls !== nth) return made;
    const spoilt = (bytes: Uint8Array): Uint8Array =>
      Buffer.from(
        Buffer.from(bytes)
          .toString()
          .replace(/"inside":"./, '"inside":"~'),
      );
    return 'sealed' in made ? { ...made, sealed: spoilt(made.sealed) } : spoilt(made);
  };
  try {
    const { entries } = await during(world, act, () =>
      expect(call()).rejects.toMatchObject({
        code: 'token-unavailable',
        detail: expect.stringMatching(said) as unknown,
      }),
    );
    expect(entries).toMatchObject([{ phase: 'attempted' }, { phase: 'failed', error: 'token-unavailable' }]);
  } finally {
    world.verbs[verb] = real;
  }
  expect(records(world)).toBe(then);
}
