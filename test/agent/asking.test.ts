import { generateKeyPairSync } from 'node:crypto';

import type { RecoveryReply } from '../../src/api/replies.js';
import { Asking, type AskingClient } from '../../src/agent/asking.js';
import type { SignUse } from '../../src/agent/use.js';

/* What becomes of a request that ends otherwise than by a grant that is live. */

const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const KEY = `key_${'1'.repeat(32)}`;

function use(): SignUse {
  const gone = new AbortController().signal;
  const lengths = { durationMs: 60_000, validForMs: 60_000 };
  const request = { reason: 'nightly', mechanisms: [], input: 'message', maxUses: 1, ...lengths } as const;
  return {
    key: { key: KEY, name: 'release', publicKey, certificate: undefined, request },
    ...{ mechanism: 'ES256', input: { kind: 'message', bytes: Buffer.from('x') } },
    ...{ what: 'x', caller: 'tool[1]', gone },
  };
}

/** A server on which every request has come to this by the time that it is looked at. */
function askingOf(status: RecoveryReply['status']): {
  readonly asking: Asking;
  readonly filed: () => number;
} {
  let filed = 0;
  const recovery = (id: string): RecoveryReply =>
    ({
      recovery: id,
      status,
      keys: [{ key: KEY }],
      deniedBy: [],
      approvedBy: [],
    }) as unknown as RecoveryReply;
  const client = {
    caller: 'app',
    recoveries: () => Promise.resolve({ items: [] }),
    recovery: (id: string) => Promise.resolve(recovery(id)),
    requestRecovery: () => {
      filed += 1;
      return Promise.resolve({ result: recovery(`rec_${filed}`), entry: filed });
    },
  } as unknown as AskingClient;
  const asking = new Asking({
    ...{ client, now: () => new Date(0), pause: () => Promise.resolve(), tell: () => undefined },
    ...{ waitMs: 60_000, lookMs: 1, withdraws: false },
  });
  return { asking, filed: () => filed };
}

test.each(['denied', 'vetoed', 'cancelled'] as const)('what is %s is not asked for again', async (status) => {
  const { asking, filed } = askingOf(status);
  await expect(asking.granted(use())).rejects.toMatchObject({ code: 'request-denied' });
  await expect(asking.granted(use())).rejects.toMatchObject({ code: 'request-denied' });
  expect(filed()).toBe(1);
});

test.each(['exhausted', 'expired', 'revoked', 'failed'] as const)(
  'what is %s is asked for anew',
  async (status) => {
    const { asking, filed } = askingOf(status);
    await expect(asking.granted(use())).rejects.toMatchObject({ code: 'request-over' });
    await expect(asking.granted(use())).rejects.toMatchObject({ code: 'request-over' });
    expect(filed()).toBe(2);
  },
);
