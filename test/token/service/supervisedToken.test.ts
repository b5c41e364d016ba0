import { createHash, createPublicKey, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import pkcs11 from 'pkcs11js';
import { EscrowError } from '../../../src/escrow/records/errors.js';
import type { GrantId } from '../../../src/escrow/records/ids.js';
import type { TokenGeneration } from '../../../src/token/service/openToken.js';
import { openToken, withWorkbench } from '../../../src/token/service/openToken.js';
import type { SupervisedToken, Supervision } from '../../../src/token/service/supervisedToken.js';
import { superviseToken } from '../../../src/token/service/supervisedToken.js';
import type { TestDeposit } from '../../support/escrowChain.js';
import { deposit, raiseGrant } from '../../support/escrowChain.js';
import type { SoftHsm, TestDepositary } from '../../support/softhsm.js';
import { enrolledSoftHsm, makeSoftHsm } from '../../support/softhsm.js';
import { letPass, until } from '../../support/waiting.js';
import { LIMITS_MS } from '../../support/limits.js';
import { freshName } from '../../support/fresh.js';
import { signOne } from '../../support/signOne.js';

jest.setTimeout(LIMITS_MS.token);

const MESSAGE = Buffer.from('an invoice');
const DIGEST = createHash('sha256').update(MESSAGE).digest();

let hsm: SoftHsm;
/** Another token under the same label. */
let other: SoftHsm;
let alice: TestDepositary;
let kept: TestDeposit;
let publicKey: KeyObject;
/** The driver takes its calls from the prototype when it is made, so they are watched before any is. */
const watched = {
  initialise: jest.spyOn(pkcs11.PKCS11.prototype, 'C_Initialize'),
  finalise: jest.spyOn(pkcs11.PKCS11.prototype, 'C_Finalize'),
  logIn: jest.spyOn(pkcs11.PKCS11.prototype, 'C_Login'),
  findFinal: jest.spyOn(pkcs11.PKCS11.prototype, 'C_FindObjectsFinal'),
};
/** Calls that would end every key in flight of the process. */
const forbidden = [
  jest.spyOn(pkcs11.PKCS11.prototype, 'C_Logout'),
  jest.spyOn(pkcs11.PKCS11.prototype, 'C_CloseAllSessions'),
];

beforeAll(async () => {
  const made = await enrolledSoftHsm('alice');
  hsm = made.hsm;
  [alice] = made.people;
  other = await makeSoftHsm();
  // the ceremony's own
  for (const call of forbidden) call.mockClear();
  const token = await hsm.open();
  kept = await deposit(token, 'ec-p256', 'operate', [alice]);
  publicKey = createPublicKey({ key: Buffer.from(kept.publicKey ?? []), format: 'der', type: 'spki' });
  await token.close();
});
afterAll(() => {
  hsm.remove();
  other.remove();
});
beforeEach(() => {
  for (const call of Object.values(watched)) call.mockClear();
});
afterEach(() => {
  for (const call of forbidden) expect(call).not.toHaveBeenCalled();
});

/** The token's directory goes and comes back, as a mount does. */
function storage(of: SoftHsm): { readonly away: () => void; readonly back: () => void } {
  const tokens = join(of.directory, 'tokens');
  const aside = join(of.directory, 'aside');
  const [name = ''] = readdirSync(tokens);
  return {
    away: () => {
      renameSync(join(tokens, name), aside);
    },
    back: () => {
      renameSync(aside, join(tokens, name));
    },
  };
}

async function supervised<T>(
  use: (token: SupervisedToken, lines: readonly string[]) => Promise<T>,
  more: Partial<Supervision> = {},
): Promise<T> {
  const lines: string[] = [];
  const token = superviseToken(await hsm.open(), {
    open: () => hsm.open(),
    probeMs: 200,
    waitMs: 5_000,
    recycleAfterObjects: 0,
    log: (_level, message) => lines.push(message),
    ...more,
  });
  try {
    return await use(token, lines);
  } finally {
    await token.close();
  }
}

/** Signs, and fails when the answer is wrong. */
async function sign(token: SupervisedToken, grant: GrantId): Promise<void> {
  const signature = await token.lend(['sign'], (lent) => signOne(lent, grant, 'ec-p256', 'ES256', DIGEST));
  expect(verify('sha256', MESSAGE, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature)).toBe(true);
}

/** Everything that the daemon does with a token, over and over by several, until it is told to stop. */
function load(token: SupervisedToken, grant: GrantId): { readonly tally: Tally; stop(): Promise<Tally> } {
  const tally: Tally = { done: 0, codes: new Set(), others: [] };
  let stopped = false;
  const work: (() => Promise<unknown>)[] = [
    () => sign(token, grant),
    () => attested(token),
    () => deposit(token, 'ec-p256', 'operate', [alice]),
    async () => {
      expect(await token.enrolled()).toMatchObject([{ id: 'alice' }]);
    },
    async () => {
      expect((await token.standing()).grants).toContain(grant);
    },
    () => token.signCheckpoint(Buffer.from('text')),
    () => token.lend(['generateUserKey'], (lent) => lent.generateUserKey('rsa-2048')),
  ];
  const running = work.map(async (one) => {
    while (!stopped) {
      try {
        await one();
        tally.done += 1;
      } catch (error) {
        if (error instanceof EscrowError) tally.codes.add(error.code);
        else tally.others.push(error);
      }
      await letPass(5);
    }
  });
  return {
    tally,
    stop: async () => {
      stopped = true;
      await Promise.all(running);
      return tally;
    },
  };
}

interface Tally {
  done: number;
  readonly codes: Set<string>;
  readonly others: unknown[];
}

/** A message of its own by the identity key, verified. */
async function attested(token: SupervisedToken): Promise<void> {
  const input = Buffer.from(`input ${freshName()}`);
  const signature = await token.lend(['attest'], (lent) => lent.attest(input));
  const key = createPublicKey({ key: Buffer.from(token.identityKey), format: 'der', type: 'spki' });
  expect(verify('sha256', input, { key, dsaEncoding: 'ieee-p1363' }, signature)).toBe(true);
}

/** Resolves when it works, every try until then being refused with `token-unavailable`. */
function untilItWorks(work: () => Promise<unknown>): Promise<void> {
  return until(() =>
    work().then(
      () => true,
      (error: unknown) => {
        expect(error).toMatchObject({ code: 'token-unavailable' });
        return false;
      },
    ),
  );
}

const refused = (work: Promise<unknown>): Promise<void> =>
  expect(work).rejects.toMatchObject({ code: 'token-unavailable' });

test('a token that goes under load and comes back is used again by itself, and nothing wrong is said meanwhile', async () => {
  await supervised(async (token, lines) => {
    const grant = await raiseGrant(token, kept, 'sign', [alice]);
    const { away, back } = storage(hsm);
    for (const goneMs of [3_000, 500, 50]) {
      const before = load(token, grant);
      await until(() => before.tally.done > 20);
      expect(await before.stop()).toMatchObject({ codes: new Set(), others: [] });
      const during = load(token, grant);
      away();
      await letPass(goneMs);
      await until(() => during.tally.codes.size > 0);
      back();
      watched.initialise.mockClear();
      await untilItWorks(() => sign(token, grant));
      // the first try that began after the return; there is at most a second between two
      expect(watched.initialise.mock.calls.length).toBeLessThanOrEqual(2);
      const { codes, others } = await during.stop();
      expect(others).toEqual([]);
      expect(codes).toEqual(new Set(['token-unavailable']));
      const after = load(token, grant);
      await until(() => after.tally.done > 20);
      expect(await after.stop()).toMatchObject({ codes: new Set(), others: [] });
    }
    expect(lines).toContain('the token does not answer as it should: it is opened anew');
    expect(lines).toContain('the token is open');
  });
});

/** Uses the token until it is known to be gone. */
function untilUnavailable(token: SupervisedToken): Promise<void> {
  return until(() =>
    token.check().then(
      () => false,
      (error: unknown) => {
        expect(error).toMatchObject({ code: 'token-unavailable' });
        return true;
      },
    ),
  );
}

test('while the token is gone each use is refused at once, and opening it is tried at most once a second', async () => {
  await supervised(async (token) => {
    const { away, back } = storage(hsm);
    expect(() => {
      token.requireInService();
    }).not.toThrow();
    away();
    try {
      await untilUnavailable(token);
      expect(() => {
        token.requireInService();
      }).toThrow('token-unavailable');
      // by then there is a second between two tries
      await letPass(1_000);
      watched.initialise.mockClear();
      const startedAt = performance.now();
      for (let round = 0; round < 100 || watched.initialise.mock.calls.length === 0; round += 1) {
        await refused(token.check());
        await letPass(10);
      }
      const seconds = (performance.now() - startedAt) / 1_000;
      expect(watched.initialise.mock.calls.length).toBeLessThanOrEqual(Math.ceil(seconds) + 2);
    } finally {
      back();
    }
    await untilItWorks(() => token.check());
  });
});

test('a token that goes in the middle of being asked for what is enrolled does not say that there is nothing', async () => {
  const token = await hsm.open();
  const { away, back } = storage(hsm);
  // of few objects the search is the driver's
  await token.standing();
  const finish = watched.findFinal.getMockImplementation();
  expect(finish).toBeDefined();
  watched.findFinal.mockImplementationOnce(function (this: pkcs11.PKCS11, session) {
    finish?.call(this, session);
    away();
  });
  await refused(token.enrolled());
  back();
  await token.close();
});

test.each(['enrolled', 'standing'] as const)(
  'a token that goes while another thread searches it for what is %s does not say that there is nothing',
  async (question) => {
    const token = await hsm.open();
    const { away, back } = storage(hsm);
    let searches = 0;
    await withWorkbench(token, (parts) => {
      const search = parts.objects.search.bind(parts.objects);
      const { findHandles } = parts;
      const goneAfter = <T>(work: Promise<T>): Promise<T> =>
        work.finally(() => {
          searches += 1;
          if (searches === 1) away();
        });
      parts.objects.search = (...given) => goneAfter(search(...given));
      Object.assign(parts, {
        findHandles: (...given: Parameters<typeof findHandles>) => goneAfter(findHandles(...given)),
      });
      return Promise.resolve();
    });
    await refused(token[question]());
    expect(searches).toBeGreaterThan(0);
    back();
    await token.close();
  },
);

test('nothing is finalised while a key is being made', async () => {
  await supervised(async (token) => {
    const order: string[] = [];
    const finalise = watched.finalise.getMockImplementation();
    watched.finalise.mockImplementationOnce(function (this: pkcs11.PKCS11) {
      order.push('finalised');
      finalise?.call(this);
    });
    const { away, back } = storage(hsm);
    const making = token
      .lend(['generateUserKey'], (lent) => lent.generateUserKey('rsa-4096'))
      .catch(() => undefined)
      .then(() => order.push('made'));
    await letPass(20);
    away();
    await refused(token.check());
    back();
    await making;
    await untilItWorks(() => token.check());
    expect(order).toEqual(['made', 'finalised']);
  });
});

test('a PIN that is refused when the token is back is tried once, and then never again', async () => {
  const open = (): Promise<TokenGeneration> =>
    openToken({ ...hsm.place, pin: Buffer.from('not the PIN any more') });
  await supervised(
    async (token) => {
      watched.logIn.mockClear();
      const { away, back } = storage(hsm);
      away();
      await untilUnavailable(token);
      back();
      await expect(token.failed).resolves.toMatchObject({ name: 'TokenNotReady', reason: 'pin-refused' });
      expect(watched.logIn).toHaveBeenCalledTimes(1);
      for (let round = 0; round < 10; round += 1) {
        await refused(token.check());
        await letPass(100);
      }
      expect(watched.logIn).toHaveBeenCalledTimes(1);
    },
    { open },
  );
});

test('another token under the same label is not taken for the one that went', async () => {
  await supervised(
    async (token) => {
      const mine = storage(hsm);
      mine.away();
      await untilUnavailable(token);
      const [name = ''] = readdirSync(join(other.directory, 'tokens'));
      const here = join(hsm.directory, 'tokens', name);
      renameSync(join(other.directory, 'tokens', name), here);
      await expect(token.failed).resolves.toMatchObject({ reason: 'keys-changed' });
      await refused(token.lend(['attest'], (lent) => lent.attest(Buffer.from('x'))));
      renameSync(here, join(other.directory, 'tokens', name));
      mine.back();
    },
    { open: () => openToken({ ...hsm.place, pin: Buffer.from(other.userPin) }) },
  );
});

test('opening a working token anew under load refuses nothing, ends what is under way first, and gives objects back', async () => {
  await supervised(async (token) => {
    const grant = await raiseGrant(token, kept, 'sign', [alice]);
    const busy = load(token, grant);
    for (let round = 0; round < 10; round += 1) {
      const { done } = busy.tally;
      await until(() => busy.tally.done > done + 5);
      expect(await token.recycle()).toBe(true);
    }
    expect(watched.finalise).toHaveBeenCalledTimes(10);
    const { done, codes, others } = await busy.stop();
    expect(others).toEqual([]);
    expect(codes).toEqual(new Set());
    expect(done).toBeGreaterThan(50);
  });
});

test('so many objects made, and the token is opened anew by itself', async () => {
  await supervised(
    async (token, lines) => {
      watched.finalise.mockClear();
      // each makes the two halves of a pair, R and L
      for (let made = 0; made < 10; made += 1) await deposit(token, 'ec-p256', 'operate', [alice]);
      await letPass(500);
      expect(watched.finalise).not.toHaveBeenCalled();
      // a transport pair and a grant in the token, R and L
      await raiseGrant(token, kept, 'sign', [alice]);
      await until(() => lines.length >= 2);
      await deposit(token, 'ec-p256', 'operate', [alice]);
      expect(watched.finalise).toHaveBeenCalledTimes(1);
      expect(lines).toEqual(['the token is open', expect.stringMatching(/^the token was opened anew/)]);
    },
    { recycleAfterObjects: 45 },
  );
});

test('a token that does not come to rest is not opened anew, and who waited for that is served', async () => {
  await supervised(
    async (token) => {
      let finish = (): void => undefined;
      const long = token.lend(['attest'], async (lent) => {
        await new Promise<void>((resolve) => {
          finish = resolve;
        });
        return lent.attest(Buffer.from('x'));
      });
      const recycling = token.recycle();
      await letPass(10);
      const waiting = token.check();
      expect(await recycling).toBe(false);
      await waiting;
      finish();
      await expect(long).resolves.toHaveLength(64);
    },
    { waitMs: 1_000 },
  );
});

test('that all sessions are at work is not taken for a broken token', async () => {
  const small = { ...hsm.place.profile, sessions: 1 };
  const token = superviseToken(await hsm.open({ profile: small, waitMs: 50 }), {
    open: () => Promise.reject(new Error('it must not be opened')),
    probeMs: 50,
    waitMs: 50,
    recycleAfterObjects: 0,
    log: () => undefined,
  });
  try {
    watched.finalise.mockClear();
    await token.lend(['generateShareKey'], async (lent) => {
      await lent.generateShareKey();
      await refused(token.lend(['generateShareKey'], (second) => second.generateShareKey()));
      await letPass(300);
    });
    // the supervisor's own probe has the queue of token objects now and then, on a busy machine for longer than anybody waits here
    await untilItWorks(() => token.check());
    expect(watched.finalise).not.toHaveBeenCalled();
  } finally {
    await token.close();
  }
});

test('closing while the token is gone waits for nothing, and so does everything after it', async () => {
  await supervised(async (token) => {
    const { away, back } = storage(hsm);
    away();
    await untilUnavailable(token);
    // it does not come back before all is closed
    await token.close();
    await expect(token.check()).rejects.toMatchObject({ code: 'shutting-down' });
    expect(await token.recycle()).toBe(false);
    back();
  });
  // the module was given back
  const next = await hsm.open();
  await next.close();
});

test('closing waits for what is under way', async () => {
  await supervised(async (token) => {
    const order: string[] = [];
    const working = token
      .lend(['generateUserKey'], (lent) => lent.generateUserKey('rsa-2048'))
      .then(() => order.push('worked'));
    await token.close().then(() => order.push('closed'));
    await working;
    expect(order).toEqual(['worked', 'closed']);
  });
});
