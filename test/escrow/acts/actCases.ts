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
