import type { KeyObject } from 'node:crypto';
import pkcs11 from 'pkcs11js';
import { getPurposeDeposit } from '../../src/escrow/records/deposit.js';
import { layerContext, layersOf } from '../../src/escrow/records/sealing/layers.js';
import { sealed } from '../../src/escrow/records/sealing/sealed.js';
import type { ApprovalOrder } from '../../src/api/orders.js';
import type { KeyReply, RecoveryReply } from '../../src/api/replies.js';
import { createOperatorLog } from '../../src/daemon/operatorLog.js';
import { toDocument } from '../../src/postgres/rows.js';
import { dumpDatabase, ownerOf } from '../support/databaseDump.js';
import {
  agree,
  askForRelease,
  askToOperate,
  makeKey,
  releaseToManager,
  signingScope,
} from '../support/life.js';
import { replyOf } from '../support/oneKey.js';
import type { OpenedDeposit } from '../support/openedDeposit.js';
import { openDeposit, openGcm, tokenKeys } from '../support/openedDeposit.js';
import { query } from '../support/postgres.js';
import type { RawToken } from '../support/rawToken.js';
import { openRaw } from '../support/rawToken.js';
import type { System } from '../support/system.js';
import { DEPOSITARIES, makeSystem } from '../support/system.js';
import { answerOf, coveted, insistedOn, PROTECTIONS } from '../support/tokenClosure.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.system);

let system: System;
/** rsa-2048, for both purposes. */
let key: KeyReply;

const decrypting = signingScope({ operations: ['decrypt'], mechanisms: ['RSA-OAEP'] });

beforeAll(async () => {
  const operatorLog = createOperatorLog('error', true);
  operatorLog.silent = true; // what is written by hand is damage, which it would tell
  system = await makeSystem({ operatorLog });
  key = await makeKey(system, { spec: 'rsa-2048', use: 'decrypt' });
});

afterAll(() => system.remove());

describe('an approval of one request', () => {
  test('is refused for another of the same key, purpose and scope, whole and in its parts', async () => {
    const [first, second] = [
      await askToOperate(system, key.key, decrypting),
      await askToOperate(system, key.key, decrypting),
    ];
    const recorded = await system.makeApproval('manager', first.recovery);
    const own = await system.makeApproval('manager', second.recovery);
    expect(await handIn(second, recorded)).toBe('approval-mismatch');
    expect(await handIn(second, { ...own, replies: recorded.replies })).toBe('approval-mismatch');
    expect(await handIn(second, { ...recorded, replies: own.replies })).toBe('approval-mismatch');
    expect((await seen(second)).approvedBy).toEqual([]);
    // neither did the attempts spoil anything: where they belong, both are good, once
    expect(await handIn(first, recorded)).toBe('accepted');
    expect(await handIn(second, own)).toBe('accepted');
    expect(await handIn(first, recorded)).toBe('approval-duplicate');
    await cancel(first, second);
  });

  test('opens nothing with the transport key of another, also in the token itself', async () => {
    const [first, second] = [
      await askToOperate(system, key.key, decrypting),
      await askToOperate(system, key.key, decrypting),
    ];
    const reply = replyOf(await system.makeApproval('manager', first.recovery));
    expect(withToken((raw) => openers(raw, reply))).toEqual([`transport:${first.recovery}`]);
    await cancel(first);
    expect(withToken((raw) => openers(raw, reply))).toEqual([]);
    await cancel(second);
  });

  test.each([
    ['was cancelled', (id: string) => system.client('manager').cancel(id, 'not needed')],
    ['was denied', (id: string) => denyByTwo(id)],
    ['became a grant', (id: string) => agree(system, id)],
  ])('opens nothing in the token once the request %s', async (_how, end) => {
    const request = await askToOperate(system, key.key, decrypting);
    const approval = await system.makeApproval('manager', request.recovery);
    const reply = replyOf(approval);
    expect(withToken((raw) => openers(raw, reply))).toHaveLength(1);
    await end(request.recovery);
    expect(withToken((raw) => openers(raw, reply))).toEqual([]);
    expect(await handIn(request, approval)).toBe('recovery-ended');
  });

  test('written into the record of another request by hand, releases nothing', async () => {
    const [first, second] = [await askForRelease(system, key.key), await askForRelease(system, key.key)];
    await agree(system, first.recovery);
    await writeApprovals(first, second);
    expect((await seen(second)).status).toBe('approved');
    await expect(system.client('manager').release(second.recovery)).rejects.toMatchObject({
      code: 'quorum-incomplete',
    });
    expect((await seen(second)).release).toBeUndefined();
    await cancel(first, second);
  });
});

describe('an approval to operate', () => {
  test('is refused for a release, and the other way round', async () => {
    const operate = await askToOperate(system, key.key, decrypting);
    const release = await askForRelease(system, key.key);
    const forOperate = await system.makeApproval('manager', operate.recovery);
    const forRelease = await system.makeApproval('manager', release.recovery);
    expect(await handIn(release, forOperate)).toBe('approval-mismatch');
    expect(await handIn(operate, forRelease)).toBe('approval-mismatch');
    await cancel(operate, release);
  });

  test('written into the record of a release by hand, releases nothing', async () => {
    const operate = await askToOperate(system, key.key, decrypting);
    const release = await askForRelease(system, key.key);
    await agree(system, operate.recovery);
    await writeApprovals(operate, release);
    await expect(system.client('manager').release(release.recovery)).rejects.toMatchObject({
      code: 'quorum-incomplete',
    });
    expect((await seen(release)).release).toBeUndefined();
    await cancel(release);
  });

  test('gives recovery secrets that open nothing of a release, even in the clear', async () => {
    const { deposit, opened } = await openedKey();
    const [operate, release] = [of(opened, 'operate'), of(opened, 'release')];
    for (const id of DEPOSITARIES) {
      const sealed = getPurposeDeposit(deposit, 'release');
      const share = sealed.shares.find(({ depositary }) => depositary === id);
      if (share === undefined) throw new Error('no share');
      for (const purpose of ['operate', 'release'] as const) {
        const layers = layersOf(deposit, getPurposeDeposit(deposit, purpose));
        const place = layerContext(layers, { depositary: share.depositary });
        expect(() => openGcm(operate.r.get(id) ?? Buffer.alloc(32), share.link, place)).toThrow();
      }
      const right = layerContext(layersOf(deposit, sealed), { depositary: share.depositary });
      expect(openGcm(release.r.get(id) ?? Buffer.alloc(32), share.link, right)).toHaveLength(384);
    }
    withToken((raw) => {
      const under = (label: string, wrapped: Buffer): string => {
        const [kek] = raw.find([{ type: pkcs11.CKA_LABEL, value: label }]);
        const answers = insistedOn('rsa').map((template) =>
          answerOf(() =>
            raw.driver.C_UnwrapKey(
              raw.session,
              { mechanism: KWP },
              kek ?? Buffer.alloc(8),
              wrapped,
              template,
            ),
          ),
        );
        // all but those that this KEK refuses of any key
        return [...new Set(answers)].filter((answer) => answer !== 'CKR_TEMPLATE_INCONSISTENT').join();
      };
      expect(under('kek:release:private:v1', operate.wrapped)).toBe('CKR_GENERAL_ERROR');
      expect(under('kek:operate:decrypt:v1', release.wrapped)).toBe('CKR_GENERAL_ERROR');
      expect(under('kek:operate:decrypt:v1', operate.wrapped)).toBe('OK');
    });
  });
});

describe('a release', () => {
  test('takes a round of approvals of its own, each time', async () => {
    const first = await askForRelease(system, key.key);
    const recorded = {
      manager: await system.makeApproval('manager', first.recovery),
      'officer-1': await system.makeApproval('officer-1', first.recovery),
    };
    expect(await handIn(first, recorded.manager)).toBe('accepted');
    expect(await handIn(first, recorded['officer-1'], 'officer-1')).toBe('accepted');
    await system.client('manager').release(first.recovery);
    await expect(system.client('manager').release(first.recovery)).rejects.toMatchObject({
      code: 'recovery-ended',
    });
    const second = await askForRelease(system, key.key);
    expect(await handIn(second, recorded.manager)).toBe('approval-mismatch');
    expect(await handIn(second, recorded['officer-1'], 'officer-1')).toBe('approval-mismatch');
    expect(
      withToken((raw) =>
        [recorded.manager, recorded['officer-1']].flatMap((approval) => openers(raw, replyOf(approval))),
      ),
    ).toEqual([]);
    await expect(system.client('manager').release(second.recovery)).rejects.toMatchObject({
      code: 'quorum-incomplete',
    });
    await cancel(second);
    expect((await releaseToManager(system, key)).opened.kind).toBe('pair');
  });
});

const KWP = 0x210a;

/** What the server says to an approval. */
async function handIn(
  { recovery }: RecoveryReply,
  approval: ApprovalOrder,
  as: 'manager' | 'officer-1' = 'manager',
): Promise<string> {
  try {
    await system.client(as).sendApproval(recovery, approval);
    return 'accepted';
  } catch (error) {
    return (error as { readonly code: string }).code;
  }
}

async function cancel(...requests: readonly RecoveryReply[]): Promise<void> {
  for (const { recovery } of requests) await system.client('manager').cancel(recovery, 'done with');
}

async function denyByTwo(recovery: string): Promise<void> {
  await system.deny('manager', recovery, 'no');
  await system.deny('officer-1', recovery, 'no');
}

function seen({ recovery }: RecoveryReply): Promise<RecoveryReply> {
  return system.client('manager').recovery(recovery);
}

/** Beside the daemon, in whose process the user is logged in. */
function withToken<T>(use: (raw: RawToken) => T): T {
  const raw = openRaw(system.hsm, 'as is');
  try {
    return use(raw);
  } finally {
    raw.close();
  }
}

/** Labels of the objects in the token that open a reply, as any kind of key with any protection. */
function openers(raw: RawToken, reply: string): readonly string[] {
  const { driver, session } = raw;
  const ciphertext = Buffer.from(reply, 'base64url');
  const parameter = {
    type: pkcs11.CK_PARAMS_RSA_OAEP,
    source: 1,
    hashAlg: pkcs11.CKM_SHA_1,
    mgf: pkcs11.CKG_MGF1_SHA1,
  };
  const mechanisms = [
    { mechanism: pkcs11.CKM_RSA_PKCS_OAEP, parameter },
    { mechanism: pkcs11.CKM_RSA_PKCS },
    { mechanism: KWP },
  ];
  const hidden = [pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_SECRET_KEY].flatMap((objectClass) =>
    raw.find([{ type: pkcs11.CKA_CLASS, value: objectClass }]),
  );
  const opens = hidden.filter((object) =>
    mechanisms.some((mechanism) =>
      (['aes', 'generic'] as const).some((kind) =>
        [...PROTECTIONS.map((protection) => coveted(kind, protection)), ...insistedOn(kind)].some(
          (template) =>
            answerOf(() => driver.C_UnwrapKey(session, mechanism, object, ciphertext, template)) === 'OK',
        ),
      ),
    ),
  );
  return opens.map((object) =>
    String(driver.C_GetAttributeValue(session, object, [{ type: pkcs11.CKA_LABEL }])[0]?.value),
  );
}

/** As somebody with the database: the approvals of one request stand in another, which is approved by that. */
async function writeApprovals(from: RecoveryReply, to: RecoveryReply): Promise<void> {
  const { recoveries } = await dumpDatabase(system);
  const source = recoveries.find(({ id }) => id === from.recovery);
  const target = recoveries.find(({ id }) => id === to.recovery);
  if (source === undefined || target === undefined) throw new Error('not filed');
  const approvals = source.approvals.map((approval) => ({
    ...approval,
    replies: approval.replies.map(({ key, reply }) => ({ key, reply: sealed('transport', reply) })),
  }));
  const document = toDocument({
    ...target,
    approvals,
    state: { status: 'approved', releasableAt: new Date(0), holdsUntil: target.expiresAt },
  });
  const sql = `update recovery set document = $2, status = 'approved' where id = $1`;
  await query(await ownerOf(system), sql, [to.recovery, document]);
}

async function openedKey() {
  const { deposits } = await dumpDatabase(system);
  const deposit = deposits.find((each) => each.key === key.key);
  if (deposit === undefined) throw new Error('not deposited');
  const people = new Map<string, KeyObject>();
  for (const id of DEPOSITARIES) people.set(id, await system.identity(id).depositaryKey());
  return { deposit, opened: openDeposit(deposit, people, tokenKeys(system.hsm)) };
}

function of(opened: readonly OpenedDeposit[], purpose: 'operate' | 'release'): OpenedDeposit {
  const found = opened.find((deposit) => deposit.purpose === purpose);
  if (found === undefined) throw new Error(`not deposited for ${purpose}`);
  return found;
}
