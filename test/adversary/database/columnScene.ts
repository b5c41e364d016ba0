import { importOne } from '../../../src/client/import/importOne.js';
import { readImportable } from '../../../src/client/import/privateKey.js';
import { rsaPair } from '../../support/rsaPairs.js';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { HttpsConnection } from '../../../src/client/connection.js';
import { NotBelieved, ServerProblem } from '../../../src/client/errors.js';
import { asProblem } from '../../../src/client/problem.js';
import { signRequest } from '../../../src/client/requestSignature.js';
import type { KeyReply } from '../../../src/api/replies.js';
import type { ConnectionSettings } from '../../../src/privatePostgres/lock.js';
import { daemonRole } from '../../../src/privatePostgres/initialise.js';
import { filed, granted, toOperate, toRelease } from '../../promises/recoveries.js';
import { ownerOf } from '../../support/databaseDump.js';
import { keptLog } from '../../support/operatorLines.js';
import { grantOf } from '../../support/oneKey.js';
import type { PersonName, System } from '../../support/system.js';
import { makeSystem, ORIGIN, RULES } from '../../support/system.js';

/** A running system with something of each kind in it, and its database as the daemon's role and as the schema's owner. */
export interface ColumnScene {
  readonly system: System;
  readonly daemon: ConnectionSettings;
  readonly owner: ConnectionSettings;
  readonly signing: KeyReply;
  readonly decrypting: KeyReply;
  /** Grants of the app: one with uses left, one that was used up, one that was revoked, one that may be used once an hour and was. */
  readonly live: string;
  /** One that no use was ever made of. */
  readonly unread: string;
  readonly usedUp: string;
  readonly revoked: string;
  readonly paced: string;
  /** Requests of the manager to have a key released: approved by a quorum, by one, vetoed after that, released and not confirmed. */
  readonly due: string;
  readonly pending: string;
  readonly vetoed: string;
  readonly released: string;
  /** What the daemon has told its operator. */
  readonly lines: readonly Readonly<Record<string, unknown>>[];
  /** Sends an order for a key as the owner: signed anew, or the same bytes once more. */
  readonly order: (idempotencyKey?: string) => Promise<SentOrder>;
  /** The order that was sent last, by what is tried. */
  sent: SentOrder | undefined;
}

/** An order that was sent. */
export interface SentOrder {
  readonly outcome: string;
  /** Sends the same bytes again. */
  readonly again: () => Promise<SentOrder>;
}

/** The Idempotency-Keys of two orders that were done. */
export const ORDER_KEY = 'order-one';
export const OTHER_ORDER_KEY = 'order-two';

const message = Buffer.from('an invoice').toString('base64url');

/** An RSA key of the owner that was born outside. */
async function imported(system: System): Promise<KeyReply> {
  const file = rsaPair(2048).privateKey.export({ format: 'der', type: 'pkcs8' });
  const key = await readImportable(file, () => Promise.resolve(undefined));
  const { pins } = system.identity('owner');
  const basis = { client: system.client('owner'), pins, now: () => new Date() };
  const wanted = { owner: 'owner', use: 'decrypt', label: 'to decrypt' } as const;
  return (await importOne(basis, key, wanted)).result;
}

/** Takes some ten seconds. */
export async function makeColumnScene(): Promise<ColumnScene> {
  const { log, lines } = keptLog();
  const system = await makeSystem({
    // in the middle of an attack housekeeping would end what its records no longer have
    config: () => ({ requests: { contentionMs: 200 }, housekeepingMs: 3_600_000 }),
    operatorLog: log,
  });
  await system.applyRules(RULES.map((rule) => ({ ...(rule as object), import: true })));
  const owner = await ownerOf(system);
  const passwords = JSON.parse(
    readFileSync(join(system.directory, 'postgres', 'passwords.json'), 'utf8'),
  ) as { daemon: string };
  const daemon = { ...owner, user: daemonRole, password: passwords.daemon };
  const generated = { owner: 'owner', spec: 'ec-p256', use: 'sign', label: 'to sign' } as const;
  const { result: signing } = await system.client('owner').generateKey(generated);
  const decrypting = await imported(system);
  const { grant: live } = await granted(system, signing, { maxUses: 90 });
  const { grant: unread } = await granted(system, signing, { maxUses: 90 });
  const { grant: usedUp } = await granted(system, signing, { maxUses: 1 });
  const { grant: revoked } = await granted(system, signing);
  const { grant: paced } = await granted(system, signing, { rate: { uses: 1, per: 'PT1H' } });
  for (const grant of [live, usedUp, paced]) await sign(system, grant);
  await system.client('owner').revoke(revoked, 'enough');
  const asked = async (...approving: readonly PersonName[]): Promise<string> => {
    const { recovery } = await filed(system, toRelease(decrypting));
    for (const depositary of approving) await system.approve(depositary, recovery);
    return recovery;
  };
  const due = await asked('manager', 'officer-1');
  const pending = await asked('manager');
  const vetoed = await asked('manager', 'officer-1');
  await system.client('owner').veto(vetoed, 'no');
  const released = await asked('manager', 'officer-1');
  await system.client('manager').release(released);
  const order = ordering(system);
  for (const key of [ORDER_KEY, OTHER_ORDER_KEY]) expect((await order(key)).outcome).toBe('done');
  const grants = { live, unread, usedUp, revoked, paced };
  const requests = { due, pending, vetoed, released };
  return {
    system,
    daemon,
    owner,
    signing,
    decrypting,
    ...grants,
    ...requests,
    order,
    lines,
    sent: undefined,
  };
}

function ordering(system: System): ColumnScene['order'] {
  const ca = readFileSync(join(system.directory, 'server.crt'), 'utf8');
  const body = Buffer.from(
    JSON.stringify({ owner: 'owner', spec: 'ec-p256', use: 'sign', label: 'an order', deliver: false }),
  );
  const target = '/v1/keys';
  return async (idempotencyKey) => {
    const named = idempotencyKey === undefined ? {} : { idempotencyKey };
    const { signer } = system.identity('owner');
    const jws = await signRequest(signer, ORIGIN, { method: 'POST', target, body, ...named }, new Date());
    const headers = {
      authorization: `Escrowd-JWS ${jws}`,
      'content-type': 'application/json',
      ...(idempotencyKey === undefined ? {} : { 'idempotency-key': `"${idempotencyKey}"` }),
    };
    const send = async (): Promise<SentOrder> => {
      const connection = new HttpsConnection({ url: system.url(), ca, deadlineMs: 30_000 });
      const answer = await connection.send({ method: 'POST', target, headers, body });
      connection.close();
      if (answer.status < 300) return { outcome: 'done', again: send };
      const problem = asProblem(answer);
      if (!(problem instanceof ServerProblem)) throw problem;
      return { outcome: problem.code, again: send };
    };
    return send();
  };
}

export async function sign(system: System, grant: string, by: PersonName = 'app'): Promise<void> {
  const { result } = await system.client(by).sign(grant, { mechanism: 'ES256', messages: [message] });
  expect(result.signatures).toHaveLength(1);
}

/** What must have happened before the change, for what is tried under it. */
export const PREPARATIONS: Readonly<Partial<Record<ActName, (scene: ColumnScene) => Promise<void>>>> = {
  'send an order again': async (scene) => {
    scene.sent = await scene.order();
    expect(scene.sent.outcome).toBe('done');
  },
};

/** What came of an act: `done`, or the code with which server or client refused. */
export async function outcomeOf(act: Promise<unknown>): Promise<string> {
  try {
    const came = await act;
    return typeof came === 'object' && came !== null && 'outcome' in came ? String(came.outcome) : 'done';
  } catch (error) {
    if (error instanceof ServerProblem || error instanceof NotBelieved) return error.code;
    throw error;
  }
}

/** What is tried while a column is changed. */
export const ACTS = {
  /** The app uses its grant: nothing is gained by that. */
  sign: ({ system, live }) => sign(system, live),
  'sign for the first time': ({ system, unread }) => sign(system, unread),
  'sign by another app for the first time': ({ system, unread }) => sign(system, unread, 'other-app'),
  'sign by another app': ({ system, live }) => sign(system, live, 'other-app'),
  'sign under a used up grant': ({ system, usedUp }) => sign(system, usedUp),
  'sign under a revoked grant': ({ system, revoked }) => sign(system, revoked),
  'sign too soon': ({ system, paced }) => sign(system, paced),
  'sign under another name': ({ system }) => sign(system, OTHER_GRANT),
  'revoke another owner’s grant': ({ system, live }) => system.client('other-owner').revoke(live, 'mine now'),
  release: ({ system, due }) => system.client('manager').release(due),
  'release to another': ({ system, due }) => system.client('officer-2').release(due),
  'release of a vetoed request': ({ system, vetoed }) => system.client('manager').release(vetoed),
  'release without a quorum': ({ system, pending }) => system.client('manager').release(pending),
  'release under another name': ({ system }) => system.client('manager').release(OTHER_RECOVERY),
  approve: ({ system, pending }) => system.approve('officer-2', pending),
  'veto by another': ({ system, due }) => system.client('other-owner').veto(due, 'mine now'),
  'see it': ({ system, due }) => system.client('manager').recovery(due),
  'see what was released': async ({ system, released }) => {
    const { release } = await system.client('manager').recovery(released);
    expect(release?.keys).toHaveLength(1);
  },
  'see a key': ({ system, decrypting }) => system.client('auditor').key(decrypting.key),
  'see a key as somebody else': ({ system, decrypting }) => system.client('other-owner').key(decrypting.key),
  'list keys': ({ system }) => system.client('auditor').keys(),
  'list requests': ({ system }) => system.client('auditor').recoveries(),
  'ask for a key': ({ system, decrypting }) => filed(system, toRelease(decrypting)),
  'ask to operate': async ({ system, signing }) => {
    const { recovery } = await filed(system, toOperate(signing, { maxUses: 1 }));
    await system.approve('manager', recovery);
    return sign(system, grantOf(await system.approve('officer-1', recovery)));
  },
  'see the policy': ({ system }) => system.client('admin-1').policy(),
  'see policies': ({ system }) => system.client('admin-1').policyHistory(),
  'apply a policy': ({ system }) => system.applyRules(RULES),
  'send an order again': ({ sent }) => sent?.again() ?? Promise.reject(new Error('nothing was sent')),
  'order by the same key': ({ order }) => order(ORDER_KEY),
  'have a history stated': ({ system }) => system.client('owner').historyStatement({}),
} as const satisfies Readonly<Record<string, (scene: ColumnScene) => Promise<unknown>>>;
export type ActName = keyof typeof ACTS;

export const OTHER_GRANT = `grant_${'e'.repeat(32)}`;
export const OTHER_RECOVERY = `rec_${'e'.repeat(32)}`;
