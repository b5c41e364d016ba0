import { generateKeyPairSync } from 'node:crypto';
import { setTimeout as pauseFor } from 'node:timers/promises';

import { Asking, type AskingClient } from '../../src/agent/asking.js';
import { GrantedUses, type UsingClient } from '../../src/agent/grantedUses.js';
import type { OfferedKey, SignUse, Told } from '../../src/agent/use.js';
import { Withdrawals } from '../../src/agent/withdrawals.js';
import type { GrantReply, RecoveryReply } from '../../src/api/replies.js';

/* What an agent asks of a server, on one that does what a test tells it. */

const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const lengths = { durationMs: 60_000, validForMs: 60_000 };

export const KEY = `key_${'1'.repeat(32)}`;
export const { privateKey } = pair;
export const OFFERED: OfferedKey = {
  ...{ key: KEY, name: 'release', publicKey: pair.publicKey, certificate: undefined },
  request: { reason: 'nightly', mechanisms: [], input: 'digest', maxUses: 1, ...lengths },
};
const NEVER = new AbortController().signal;

/** What a tool wants signed; `gone` is aborted when the tool has ended. */
export function use(gone = NEVER, input: SignUse['input'] = message('x')): SignUse {
  return { key: OFFERED, mechanism: 'ES256', input, what: 'x', caller: 'tool[1]', gone };
}

export function message(text: string): SignUse['input'] {
  return { kind: 'message', bytes: Buffer.from(text) };
}

export function grant(more: Partial<GrantReply> = {}): GrantReply {
  return {
    ...{ grant: 'grant_1', key: KEY, status: 'active', spec: 'ec-p256' },
    scope: { app: 'app', operations: ['sign'], mechanisms: ['ES256'], input: 'digest' },
    ...{ startsAt: '2000-01-01T00:00:00Z', expiresAt: '2100-01-01T00:00:00Z' },
    ...more,
  } as GrantReply;
}

/** The calls that a test can have answered otherwise. */
export interface Calls {
  recovery: AskingClient['recovery'];
  grants: UsingClient['grants'];
  sign: UsingClient['sign'];
  cancel: (id: string, reason: string) => Promise<unknown>;
}

export interface Asked {
  readonly uses: GrantedUses;
  readonly asking: Asking;
  readonly calls: Calls;
  /** The requests that were filed, in their order. */
  readonly filed: Request[];
  readonly told: readonly Told[];
  /** By how much the agent's clock is ahead. */
  clockAheadMs: number;
}

export interface Request {
  readonly recovery: string;
  status: RecoveryReply['status'];
  ended?: { readonly by: string; readonly reason: string; readonly at: string };
}

/** A server on which each request has this status when it is filed. */
export function askedServer(status: RecoveryReply['status'] = 'pending'): Asked {
  const told: Told[] = [];
  const filed: Request[] = [];
  const replyOf = ({ recovery, status: is, ended }: Request): RecoveryReply =>
    ({
      ...{
        recovery,
        status: is,
        ended,
        requester: 'app',
        keys: [{ key: KEY }],
        deniedBy: [],
        approvedBy: [],
      },
      scope: { app: 'app', operations: ['sign'], mechanisms: ['ES256'], input: 'digest' },
    }) as unknown as RecoveryReply;
  const find = (id: string): Request => {
    const found = filed.find(({ recovery }) => recovery === id);
    if (found === undefined) throw new Error('there is no such request');
    return found;
  };
  const calls: Calls = {
    recovery: (id) => Promise.resolve(replyOf(find(id))),
    grants: () => Promise.resolve({ items: [] }),
    sign: () => Promise.reject(new Error('nothing is signed')),
    cancel: (id, reason) => {
      Object.assign(find(id), { status: 'cancelled', ended: { by: 'app', reason, at: '' } });
      return Promise.resolve();
    },
  };
  const client = {
    caller: 'app',
    recoveries: () => Promise.resolve({ items: filed.map(replyOf) }),
    requestRecovery: () => {
      filed.push({ recovery: `rec_${filed.length + 1}`, status });
      return Promise.resolve({ result: { recovery: `rec_${filed.length}` }, entry: filed.length });
    },
    recovery: (id: string) => calls.recovery(id),
    grants: () => calls.grants(),
    sign: (id: string, order: Parameters<UsingClient['sign']>[1]) => calls.sign(id, order),
  } as unknown as AskingClient & UsingClient;
  const tell = (one: Told): number => told.push(one);
  const now = (): Date => new Date(Date.parse('2026-01-01T00:00:00Z') + asked.clockAheadMs);
  const cancel: Calls['cancel'] = (id, reason) => calls.cancel(id, reason);
  const withdrawals = new Withdrawals({ cancel, tell, withdraws: true });
  // a tool that waits does so until it is ended, without running meanwhile
  const pause = (_ms: number, stop: AbortSignal): Promise<void> =>
    pauseFor(1, undefined, { signal: stop }).catch(() => undefined);
  const asking = new Asking({ client, now, pause, tell, withdrawals, waitMs: 60_000, lookMs: 1 });
  const uses = new GrantedUses({ client, now, tell, asking, rememberMs: 5_000 });
  const asked: Asked = { uses, asking, calls, filed, told, clockAheadMs: 0 };
  return asked;
}
