import type { KeyReply, RecoveryReply } from '../../../src/api/replies.js';
import type { EscrowClient } from '../../../src/client/escrowClient.js';
import { type Left, type WhichKeys, fileReseals, keysLeft } from '../../../src/client/resealing/resealJob.js';

/* A job is gone on with until nothing is left to be asked for, and what keys lie under is destroyed then. */

const id = (at: number): string => `key_${String(at).repeat(32)}`;

/** A key as far as a job looks at it; of its purposes what becomes of its key-encryption keys. */
function key(at: number, ...kekStates: readonly (string | undefined)[]): KeyReply {
  const purposes = kekStates.map((kekState) => ({
    ...{ purpose: 'operate', live: [], singlePoints: [], unable: [] },
    ...(kekState === undefined ? {} : { kekState }),
  }));
  return {
    ...{ key: id(at), owner: 'olga', spec: 'ec-p256', use: 'sign', purposes: [] },
    ...(kekStates.length === 0 ? {} : { coverage: { policyVersion: 1, isTokenAsked: true, purposes } }),
  } as unknown as KeyReply;
}

function left(which: WhichKeys, keys: readonly KeyReply[], requests: readonly object[] = []): Promise<Left> {
  const client: Pick<EscrowClient, 'keys'> = { keys: () => Promise.resolve({ items: [...keys] }) };
  return keysLeft(client, which, requests as readonly RecoveryReply[]);
}

const OLDER = { olderKeks: true } as const;

test('while the server does not say under what keys lie, it is not said that none is left', async () => {
  const known = [key(1, 'newest', 'rotatable'), key(2, 'newest'), key(3, 'missing')];
  expect(await left(OLDER, known)).toMatchObject({ keys: [{ key: id(1) }], unsaid: 0, stuck: 0 });
  // the token is out, or the server says nothing of it
  for (const silent of [key(4, undefined), key(4, 'newest', undefined), key(4)])
    expect(await left(OLDER, [...known, silent])).toMatchObject({ unsaid: 1 });
  expect(await left({ otherKey: 'otto' }, [key(4)])).toMatchObject({ keys: [], unsaid: 1 });
  // what is asked for by other means does not depend on it
  expect(await left({ keys: [id(4)] }, [key(4)])).toMatchObject({ keys: [{ key: id(4) }], unsaid: 0 });
});

test('keys that nothing rotates are counted', async () => {
  const keys = [key(1, 'not-rotatable', 'rotatable'), key(2, 'not-rotatable'), key(3, 'newest')];
  expect(await left(OLDER, keys)).toMatchObject({ keys: [{ key: id(1) }], stuck: 2 });
  expect(await left({ keys: [id(2)] }, keys)).toMatchObject({ stuck: 0 });
});

test('a key by which a request failed is asked for alone, and the others together', async () => {
  const keys = [1, 2, 3].map((at) => key(at, 'rotatable'));
  const ended = { reason: `the token does not open the seal of ${id(2)}`, at: '2030-01-01T00:00:00.000Z' };
  const failed = { status: 'failed', ended, keys: keys.map((one) => ({ key: one.key })) };
  const again = await left(OLDER, keys, [failed]);
  expect(again.keys).toHaveLength(3);
  expect([...again.apart]).toEqual([id(2)]);
  const asked: (readonly string[])[] = [];
  const client: Pick<EscrowClient, 'requestRecovery'> = {
    requestRecovery: (order) => {
      asked.push('keys' in order ? order.keys : []);
      return Promise.resolve({ result: { keys: [] } }) as unknown as ReturnType<
        EscrowClient['requestRecovery']
      >;
    },
  };
  const terms = { job: 'job', reason: 'again', validFor: 'PT1H', leaving: undefined };
  await fileReseals(client, again.keys, terms, () => undefined, again.apart);
  expect(asked).toEqual([[id(1), id(3)], [id(2)]]);
  // the control: one that failed for another reason names none
  const other = { ...failed, ended: { ...ended, reason: 'Another policy is in force.' } };
  expect((await left(OLDER, keys, [other])).apart.size).toBe(0);
});
