import { EscrowError } from '../../../src/escrow/records/errors.js';
import type { PrincipalId } from '../../../src/escrow/records/ids.js';
import type { Credential } from '../../../src/escrow/ledger/knownCaller.js';
import { KnownCaller } from '../../../src/escrow/ledger/knownCaller.js';
import { Ledger } from '../../../src/escrow/ledger/ledger.js';
import type { Policy } from '../../../src/escrow/records/policy.js';
import type { Token } from '../../../src/escrow/ports/token.js';
import type { Principal } from '../../../src/escrow/records/principals.js';
import { actorOf, callOf } from '../../../src/escrow/escrow.js';
import { errorCode } from '../../support/errorCode.js';
import { policyApplied } from '../loggedEntries.js';
import { MemoryJournal } from '../memoryJournal.js';

const app = (id: string, changes: Partial<Principal> = {}): Principal => ({
  id: id as PrincipalId,
  kind: 'app',
  name: id,
  roles: ['app'],
  attributes: {},
  keys: [{ jwk: {}, alg: 'ES256', thumbprint: `key of ${id}` }],
  certificates: [`certificate of ${id}`],
  depositaryKey: undefined,
  deliveryKey: undefined,
  retired: false,
  returns: undefined,
  ...changes,
});
const policyOf = (version: number, ...principals: Principal[]): Policy =>
  ({ version, principals: new Map(principals.map((one) => [one.id, one])) }) as unknown as Policy;

const mailer = app('mailer');
const byKey: Credential = { kid: 'key of mailer' };
const byCertificate: Credential = { certificate: 'certificate of mailer' };

function known(credential: Credential): KnownCaller {
  const found = KnownCaller.find(policyOf(3, mailer, app('printer')), credential);
  if (found === undefined) throw new Error('the policy lists mailer');
  return found;
}

describe.each([
  ['key', byKey],
  ['certificate', byCertificate],
])('a caller who is known by their %s', (_name, credential) => {
  test('claims the policy that lists them, and after another that one', () => {
    const caller = known(credential);
    expect([caller.principal.id, caller.claim]).toEqual(['mailer', { claim: 'policy-in-force', version: 3 }]);
    const later = app('mailer', { name: 'another name' });
    caller.renew(policyOf(4, later));
    expect([caller.principal, caller.claim]).toEqual([later, { claim: 'policy-in-force', version: 4 }]);
  });

  test.each([
    ['nobody', [app('mailer', { keys: [], certificates: [] })]],
    ['somebody else', [app('printer', { keys: mailer.keys, certificates: mailer.certificates })]],
    ['an app that is gone', []],
  ])('is nobody once that belongs to %s', (_whose, principals) => {
    const caller = known(credential);
    expect(
      errorCode(() => {
        caller.renew(policyOf(4, ...principals));
      }),
    ).toBe('caller-unknown');
    expect(caller.principal).toBe(mailer);
  });

  test('needs the role that the route asks for under each policy', () => {
    const caller = known(credential);
    expect(
      errorCode(() => {
        caller.requireRole(['admin', 'owner']);
      }),
    ).toBe('forbidden');
    caller.requireRole(['admin', 'app']);
    expect(
      errorCode(() => {
        caller.renew(policyOf(4, app('mailer', { roles: [] })));
      }),
    ).toBe('forbidden');
  });
});

describe('an act whose caller’s policy is replaced before its attempt is recorded', () => {
  /** A ledger whose database has gone on to this policy by the time of the attempt. */
  function underNext(next: Policy): { readonly ledger: Ledger; readonly journal: MemoryJournal } {
    const journal = new MemoryJournal();
    policyApplied({ version: next.version, hash: 'ab'.repeat(32) }).forEach((entry) => {
      journal.follow(entry);
    });
    journal.policyVersion = next.version;
    const ledger = new Ledger({
      journal,
      token: { requireInService: () => undefined } as unknown as Token,
      clock: { now: () => new Date(1_700_000_000_000), pause: () => Promise.resolve() },
      random: (length) => Buffer.alloc(length, 7),
      policy: () => Promise.resolve(next),
      followed: journal.followed,
      memory: { anchored: () => Promise.resolve(), requireOwnToken: () => Promise.resolve() },
      notice: () => undefined,
      contentionTimeoutMs: 1000,
    });
    return { ledger, journal };
  }
  const perform = (ledger: Ledger, decided: string[]): Promise<unknown> => {
    const caller = known(byKey);
    caller.requireRole(['app']);
    const request = { jws: 'a.b.c', kid: 'key of mailer', jti: 'j', expiresAt: new Date(8e15) };
    const call = callOf(caller, { request });
    return ledger.perform({
      act: 'policy.apply',
      actor: actorOf(call),
      decide: () => {
        decided.push(call.caller.name);
        return Promise.resolve({ detail: {}, claims: [], plan: undefined });
      },
      run: () => Promise.resolve({ detail: {}, digest: 'ab'.repeat(32), changes: [], answer: 'done' }),
    });
  };

  test('is decided anew, by the caller as the next policy lists them', async () => {
    const { ledger, journal } = underNext(policyOf(4, app('mailer', { name: 'as in the next' })));
    const decided: string[] = [];
    expect(await perform(ledger, decided)).toEqual({ answer: 'done', index: 1 });
    expect(decided).toEqual(['mailer', 'as in the next']);
    expect(journal.entries.map(({ phase }) => phase)).toEqual(['attempted', 'done']);
  });

  test('is not refused by the policy that is in force no more: what would be refused by it is decided anew', async () => {
    const { ledger, journal } = underNext(policyOf(4, mailer));
    const caller = known(byKey);
    const call = callOf(caller, {
      request: { jws: 'a.b.c', kid: 'key of mailer', jti: 'j', expiresAt: new Date(8e15) },
    });
    const by: number[] = [];
    const performed = ledger.perform({
      act: 'policy.apply',
      actor: actorOf(call),
      decide: () => {
        by.push(call.policy.version);
        if (call.policy.version === 3) return Promise.reject(new EscrowError('forbidden'));
        return Promise.resolve({ detail: {}, claims: [], plan: undefined });
      },
      run: () => Promise.resolve({ detail: {}, digest: 'ab'.repeat(32), changes: [], answer: 'done' }),
    });
    expect(await performed).toEqual({ answer: 'done', index: 1 });
    expect(by).toEqual([3, 4]);
    expect(journal.entries.map(({ phase }) => phase)).toEqual(['attempted', 'done']);
  });

  test.each([
    ['whom the next policy does not list', policyOf(4), 'caller-unknown'],
    ['who has lost the role', policyOf(4, app('mailer', { roles: [] })), 'forbidden'],
  ])('is refused to a caller %s', async (_who, next, code) => {
    const { ledger, journal } = underNext(next);
    const decided: string[] = [];
    await expect(perform(ledger, decided)).rejects.toThrow(EscrowError);
    expect(decided).toEqual(['mailer']);
    expect(journal.entries).toMatchObject([{ phase: 'denied', error: code, actor: 'mailer' }]);
  });
});
