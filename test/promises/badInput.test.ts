import { constants, createPublicKey, generateKeyPairSync, publicEncrypt } from 'node:crypto';

import type { JWTPayload } from 'jose';

import { policyDocumentHash, signPolicy } from '../../src/client/policy/policyDocument.js';
import { signStop } from '../../src/client/stop.js';
import { signerOf } from '../../src/client/identity/signingKey.js';
import type { Act } from '../../src/escrow/ledger/means.js';
import type { ErrorCode } from '../../src/escrow/records/errors.js';
import type { GeneratedSpec, Operation } from '../../src/escrow/records/keySpecs.js';
import type { ApprovalOrder, RecoveryOrder, ScopeOrder } from '../../src/api/orders.js';
import type { GrantReply, KeyReply } from '../../src/api/replies.js';
import type { Subject } from '../../src/log/entry/entry.js';
import { repliesDigest } from '../../src/escrow/records/digests.js';
import type { KeyId } from '../../src/escrow/records/ids.js';
import { sealed } from '../../src/escrow/records/sealing/sealed.js';
import { chance } from '../support/chance.js';
import type { PersonName, System } from '../support/system.js';
import { makeSystem } from '../support/system.js';
import { filed, granted, toOperate, toRelease } from './recoveries.js';
import { recordsOf } from './records.js';
import { refusalOf } from './refusals.js';
import type { Prepared } from './signedRequests.js';
import { post, sendExactly, signed, signedOtherwise } from './signedRequests.js';
import { entriesFrom, expectLogHolds } from './wholeLog.js';
import { rsaPair } from '../support/rsaPairs.js';
import { STATEMENT_TYPE } from '../../src/escrow/records/statementTypes.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.system);

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const ABSENT_KEY = `key_${'0'.repeat(32)}`;
const ABSENT_RECOVERY = `rec_${'0'.repeat(32)}`;
const ABSENT_GRANT = `grant_${'0'.repeat(32)}`;

const twoOfThree = { atLeast: 2, of: ['manager', 'role:security-officer'] };
const signing = { operate: { operations: ['sign'], maxUses: 100, maxDuration: 'PT24H' } };
const decrypting = { operate: { operations: ['decrypt'], maxUses: 100, maxDuration: 'PT24H' } };
const rule = (name: string, spec: GeneratedSpec, use: Operation, more: object): object => ({
  name,
  when: { 'key.spec': spec, use, 'owner.department': 'finance' },
  ...more,
});
/** One rule for good orders of each use, and one for each way in which a rule can be impossible to follow. */
const RULES = [
  rule('good', 'ec-p256', 'sign', { depositaries: twoOfThree, ...signing }),
  rule('good-decryption', 'rsa-2048', 'decrypt', {
    depositaries: twoOfThree,
    ...decrypting,
    release: { delay: 'PT4H', ownerMayVeto: true },
  }),
  rule('for-two', 'aes-256', 'decrypt', {
    depositaries: { allOf: ['manager', 'person:officer-1'] },
    deliver: true,
    ...decrypting,
  }),
  rule('ghost', 'ec-p384', 'sign', { depositaries: { allOf: ['manager', 'deputy'] }, ...signing }),
  rule('newcomer', 'ec-p521', 'sign', {
    depositaries: { allOf: ['manager', 'person:newcomer'] },
    ...signing,
  }),
  rule('pensioner', 'rsa-2048', 'sign', {
    depositaries: { anyOf: ['manager', 'person:pensioner'] },
    ...signing,
  }),
  rule('lonely', 'rsa-3072', 'sign', {
    depositaries: { atLeast: 2, of: ['role:treasurer', 'role:nobody'] },
    ...signing,
  }),
  rule('crowded', 'rsa-3072', 'decrypt', {
    depositaries: { atLeast: 5, of: ['role:crowd'] },
    ...decrypting,
  }),
];
const person = (id: string, roles: readonly string[], more: object = {}): object => ({
  id,
  kind: 'person',
  name: id,
  roles,
  keys: [],
  ...more,
});
const OTHERS: Readonly<Record<string, object>> = {
  newcomer: person('newcomer', ['depositary']),
  pensioner: person('pensioner', ['depositary'], { retired: true }),
  treasurer: person('treasurer', ['depositary', 'treasurer']),
  ...Object.fromEntries(
    Array.from({ length: 10 }, (_, at) => [`crowd-${at}`, person(`crowd-${at}`, ['depositary', 'crowd'])]),
  ),
};

const { bytes } = chance('bad input');
let system: System;
/** How far the system's time has been moved on. */
let aheadMs = 0;
/** Size of the log when it was last looked at. */
let knownSize = 0;
const now = (): Date => new Date(Date.now() + aheadMs);
let key: KeyReply;
let decryptionKey: KeyReply;
let keyForTwo: KeyReply;

beforeAll(async () => {
  // nothing but the test's own calls is to change anything: no housekeeping while it runs
  system = await makeSystem({ now, config: () => ({ housekeepingMs: 86_400_000 }) });
  const owner = await principal('owner');
  const attributes = { department: 'finance', manager: 'manager', deputy: 'ghost' };
  await system.applyRules(RULES, { ...OTHERS, owner: { ...owner, attributes } });
  key = await made('ec-p256', 'sign');
  decryptionKey = await made('rsa-2048', 'decrypt');
  keyForTwo = await made('aes-256', 'decrypt');
});
afterAll(() => system.remove());

/** A bad input, ready to be sent. */
interface Sent {
  readonly send: () => Promise<unknown>;
  /** What the log must say that it was about. */
  readonly about?: Subject;
  /** The good one that must work afterwards; a key is generated when it is not given. */
  readonly good?: () => Promise<unknown>;
}

/** One row: what is refused, with which code, as which act of whom; `undefined` where nobody is known. */
interface BadInput {
  readonly code: ErrorCode;
  readonly recorded: readonly [PersonName, Act] | undefined;
  readonly prepare: () => Sent | Promise<Sent>;
}

const good = (): Promise<KeyReply> => made('ec-p256', 'sign');

describe('requests', () => {
  const order = { owner: 'owner', spec: 'ec-p256', use: 'sign' };
  const request = post('/v1/keys', order);
  const about = { owner: 'owner' };
  const raw = (
    code: ErrorCode,
    who: PersonName | undefined,
    about: Subject,
    make: () => Promise<Prepared>,
  ): BadInput => ({
    code,
    recorded: who === undefined ? undefined : [who, 'key.generate'],
    prepare: async () => {
      const prepared = await make();
      return { about, send: () => sendExactly(system, prepared) };
    },
  });
  const ownerSigns = (body: Omit<Prepared, 'jws'>): Promise<Prepared> =>
    signed(system.identity('owner').signer, body, now());
  const ownerClaims = (otherwise: () => JWTPayload): (() => Promise<Prepared>) => {
    return () => signedOtherwise(system.identity('owner').signer, request, now(), otherwise());
  };
  const since = (fromS: number): JWTPayload => {
    const iat = Math.floor(now().getTime() / 1000) + fromS;
    return { iat, exp: iat + 60 };
  };

  holds({
    unsigned: raw('request-unsigned', undefined, {}, () => Promise.resolve({ ...request, jws: undefined })),
    'not JSON': raw('request-malformed', 'owner', {}, () =>
      ownerSigns(post('/v1/keys', '{"owner": "owner"')),
    ),
    'a member twice': raw('request-malformed', 'owner', {}, () =>
      ownerSigns(post('/v1/keys', '{"owner":"owner","spec":"ec-p256","use":"sign","use":"decrypt"}')),
    ),
    'an unknown member': raw('request-malformed', 'owner', about, () =>
      ownerSigns(post('/v1/keys', { ...order, exportable: true })),
    ),
    'an unknown kind of key': raw('request-malformed', 'owner', about, () =>
      ownerSigns(post('/v1/keys', { ...order, spec: 'rsa-512' })),
    ),
    'too large': raw('request-too-large', undefined, {}, () =>
      ownerSigns(post('/v1/keys', { ...order, label: 'x'.repeat(400 * 1024) })),
    ),
    expired: raw(
      'request-expired',
      'owner',
      about,
      ownerClaims(() => since(-180)),
    ),
    'dated in the future': raw(
      'request-expired',
      'owner',
      about,
      ownerClaims(() => since(120)),
    ),
    'good for too long': raw(
      'request-malformed',
      undefined,
      {},
      ownerClaims(() => ({ ...since(0), exp: since(600).exp ?? 0 })),
    ),
    'signed for another body': raw(
      'request-signature-invalid',
      'owner',
      about,
      ownerClaims(() => ({ cd: 'A'.repeat(43) })),
    ),
    'signed for another path': raw(
      'request-signature-invalid',
      'owner',
      about,
      ownerClaims(() => ({ htu: '/v1/recoveries' })),
    ),
    'signed for another method': raw(
      'request-signature-invalid',
      'owner',
      about,
      ownerClaims(() => ({ htm: 'GET' })),
    ),
    'signed for another server': raw(
      'request-signature-invalid',
      'owner',
      about,
      ownerClaims(() => ({ aud: 'other.test/log' })),
    ),
    "in somebody else's name": raw(
      'request-signature-invalid',
      'owner',
      about,
      ownerClaims(() => ({ iss: 'admin-1' })),
    ),
    "with somebody else's signature": raw('request-signature-invalid', undefined, {}, async () => {
      const mine = (await ownerSigns(request)).jws ?? '';
      const theirs = (await signed(system.identity('other-owner').signer, request, now())).jws ?? '';
      const signature = theirs.slice(theirs.lastIndexOf('.'));
      return { ...request, jws: mine.slice(0, mine.lastIndexOf('.')) + signature };
    }),
    'signed by a key that nobody has': raw('caller-unknown', undefined, {}, () => {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      return signed(signerOf('owner', privateKey), request, now());
    }),
    replayed: raw('request-replayed', 'owner', about, async () => {
      const prepared = await ownerSigns(request);
      await sendExactly(system, prepared);
      return prepared;
    }),
    'replayed after it was refused': raw('request-replayed', 'owner', { owner: 'nobody' }, async () => {
      const prepared = await ownerSigns(post('/v1/keys', { ...order, owner: 'nobody' }));
      expect(await refusalOf(sendExactly(system, prepared))).toBe('forbidden');
      return prepared;
    }),
  });
});

describe('orders for keys', () => {
  const ordered = (
    code: ErrorCode,
    spec: GeneratedSpec,
    use: Operation,
    more: { owner?: string; deliver?: boolean } = {},
  ): BadInput => ({
    code,
    recorded: ['admin-1', 'key.generate'],
    prepare: () => {
      const order = { owner: 'owner', spec, use, ...more };
      return {
        about: { owner: order.owner },
        send: () => system.client('admin-1').generateKey(order),
      };
    },
  });

  holds({
    'for an unknown owner': ordered('owner-unknown', 'ec-p256', 'sign', { owner: 'nobody' }),
    'for somebody who is no owner': ordered('owner-unknown', 'ec-p256', 'sign', { owner: 'auditor' }),
    'that no rule is for': ordered('rule-missing', 'rsa-4096', 'sign'),
    'whose rule names a depositary that the directory lacks': ordered(
      'depositary-unknown',
      'ec-p384',
      'sign',
    ),
    'whose rule names a depositary whom nobody enrolled': ordered(
      'depositary-not-enrolled',
      'ec-p521',
      'sign',
    ),
    'whose rule names a retired depositary': ordered('depositary-retired', 'rsa-2048', 'sign'),
    'whose rule wants more depositaries than there are': ordered('quorum-impossible', 'rsa-3072', 'sign'),
    'whose rule yields too many quorums': ordered('quorum-too-large', 'rsa-3072', 'decrypt'),
    'of a kind that the token lacks': ordered('key-spec-unsupported', 'ed25519', 'sign'),
    'for a use that the kind of key does not have': ordered('key-use-unsupported', 'ec-p256', 'decrypt'),
    'with a copy that the rule does not allow': ordered('delivery-not-allowed', 'ec-p256', 'sign', {
      deliver: true,
    }),
    'with a copy for an owner without a delivery key': ordered('delivery-key-missing', 'aes-256', 'decrypt', {
      owner: 'other-owner',
      deliver: true,
    }),
    'for somebody else': {
      code: 'forbidden',
      recorded: ['other-owner', 'key.generate'],
      prepare: () => ({
        about: { owner: 'owner' },
        send: () =>
          system.client('other-owner').generateKey({ owner: 'owner', spec: 'ec-p256', use: 'sign' }),
      }),
    },
  });
});

describe('requests to recover', () => {
  const asked = (code: ErrorCode, make: () => RecoveryOrder, who: PersonName = 'manager'): BadInput => ({
    code,
    recorded: [who, 'recovery.request'],
    prepare: () => ({ about: { keys: make().keys }, send: () => system.client(who).requestRecovery(make()) }),
  });
  const scoped = (code: ErrorCode, scope: Partial<ScopeOrder>): BadInput =>
    asked(code, () => toOperate(key, scope));

  holds({
    'an unknown key': asked('key-unknown', () => toOperate({ key: ABSENT_KEY })),
    'for more uses than the rule allows': scoped('scope-not-allowed', { maxUses: 101 }),
    'for longer than the rule allows': scoped('scope-not-allowed', { duration: 'PT24H1S' }),
    'for an operation that the rule does not allow': scoped('scope-not-allowed', { operations: ['decrypt'] }),
    'for a mechanism that does not fit the key': scoped('scope-not-allowed', { mechanisms: ['ES384'] }),
    'for a mechanism that the token lacks': asked('mechanism-unsupported', () =>
      toOperate(decryptionKey, { operations: ['decrypt'], mechanisms: ['RSA-OAEP-256'] }),
    ),
    'for an app that is none': scoped('app-unknown', { app: 'owner' }),
    'to release a key whose rule has no release': asked('purpose-not-allowed', () => toRelease(key)),
    'to release a key to somebody who is no depositary of it': asked('scope-not-allowed', () => ({
      ...toRelease(decryptionKey),
      recipient: 'owner',
    })),
    'by a depositary of other keys': asked('forbidden', () => toOperate(keyForTwo), 'officer-2'),
    'by an app': asked('forbidden', () => toOperate(key), 'app'),
  });
});

describe('approvals', () => {
  /** A pending request, and a bad approval for it; a good one of the same depositary works afterwards. */
  const approved = (
    code: ErrorCode,
    make: (recovery: string) => ApprovalOrder | Promise<ApprovalOrder>,
    who: PersonName = 'manager',
  ): BadInput => ({
    code,
    recorded: [who, 'recovery.approve'],
    prepare: async () => {
      const { recovery } = await filed(system, toOperate(key));
      const approval = await make(recovery);
      return {
        about: { keys: [key.key], owner: 'owner', recovery },
        send: () => system.client(who).sendApproval(recovery, approval),
        good: async () => {
          const { approvedBy } = await system.approve(who, recovery);
          expect(approvedBy).toContain(who);
        },
      };
    },
  });

  const another = once(() => filed(system, toOperate(key)));

  holds({
    'for an unknown request': {
      code: 'recovery-unknown',
      recorded: ['manager', 'recovery.approve'],
      prepare: () => ({
        about: { recovery: ABSENT_RECOVERY },
        send: () =>
          system.client('manager').sendApproval(ABSENT_RECOVERY, {
            statement: 'a.b.c',
            replies: [{ key: key.key, reply: 'AAAA' }],
          }),
      }),
    },
    'for another request': approved('approval-mismatch', async () => {
      const other = await another();
      return system.makeApproval('manager', other.recovery);
    }),
    'with the share that belongs to another request': approved('share-wrong-key', async (recovery) => {
      const other = await another();
      const { replies } = await system.makeApproval('manager', other.recovery);
      return stated('manager', recovery, replies);
    }),
    'with another share than was signed': approved('approval-mismatch', async (recovery) => {
      const first = await system.makeApproval('manager', recovery);
      const second = await system.makeApproval('manager', recovery);
      return { ...first, replies: second.replies };
    }),
    'with a share encrypted to another key': approved('share-wrong-key', async (recovery) => {
      const { publicKey } = rsaPair(3072);
      const padding = constants.RSA_PKCS1_OAEP_PADDING;
      const reply = publicEncrypt({ key: publicKey, padding, oaepHash: 'sha1' }, bytes(32));
      return stated('manager', recovery, one(reply));
    }),
    'with garbage as the share': approved('share-wrong-key', (recovery) =>
      stated('manager', recovery, one(Buffer.concat([Buffer.alloc(1), bytes(383)]))),
    ),
    'with garbage beyond the modulus as the share': approved('share-wrong-key', (recovery) =>
      stated('manager', recovery, one(Buffer.alloc(384, 0xff))),
    ),
    'with garbage of another length as the share': approved('share-malformed', (recovery) =>
      stated('manager', recovery, one(bytes(383))),
    ),
    'with a random secret, properly encrypted': approved('share-mismatch', (recovery) =>
      properlyEncrypted('manager', recovery, bytes(32)),
    ),
    'with a random secret of another length, properly encrypted': approved('share-mismatch', (recovery) =>
      properlyEncrypted('manager', recovery, bytes(16)),
    ),
    'with bytes that are no key, properly encrypted': approved('share-mismatch', (recovery) =>
      properlyEncrypted('manager', recovery, bytes(20)),
    ),
    "with somebody else's statement": approved(
      'approval-signature-invalid',
      (recovery) => system.makeApproval('manager', recovery),
      'officer-1',
    ),
    'with an expired statement': approved('approval-expired', async (recovery) => {
      const { replies } = await system.makeApproval('manager', recovery);
      return stated('manager', recovery, replies, {
        exp: Math.floor(now().getTime() / 1000) - 1,
      });
    }),
    'for another scope': approved('approval-mismatch', async (recovery) => {
      const { replies } = await system.makeApproval('manager', recovery);
      const { scope } = await statementOf('manager', recovery);
      return stated('manager', recovery, replies, {
        scope: { ...(scope as object), maxUses: 11 },
      });
    }),
    'that is a denial': approved('approval-mismatch', async (recovery) => {
      const { replies } = await system.makeApproval('manager', recovery);
      return stated('manager', recovery, replies, { decision: 'deny' });
    }),
    'a second time': {
      code: 'approval-duplicate',
      recorded: ['manager', 'recovery.approve'],
      prepare: async () => {
        const { recovery } = await filed(system, toOperate(key));
        const approval = await system.makeApproval('manager', recovery);
        await system.client('manager').sendApproval(recovery, approval);
        return {
          about: { keys: [key.key], recovery },
          send: () => system.client('manager').sendApproval(recovery, approval),
          good: async () => {
            expect(await system.approve('officer-1', recovery)).toMatchObject({ status: 'active' });
          },
        };
      },
    },
    'by a depositary of other keys': {
      code: 'forbidden',
      recorded: ['officer-2', 'recovery.approve'],
      prepare: async () => {
        const { recovery } = await filed(
          system,
          toOperate(keyForTwo, { operations: ['decrypt'], mechanisms: ['A256GCM'] }),
        );
        const { replies, statement } = await system.makeApproval('manager', recovery);
        const claims = { ...payloadOf(statement), iss: 'officer-2' };
        const forged = await system.identity('officer-2').signer.sign(STATEMENT_TYPE, claims);
        return {
          about: { keys: [keyForTwo.key], recovery },
          send: () => system.client('officer-2').sendApproval(recovery, { statement: forged, replies }),
          good: () => system.approve('manager', recovery),
        };
      },
    },
    'by somebody who is no depositary': {
      code: 'forbidden',
      recorded: ['app', 'recovery.approve'],
      prepare: async () => {
        const { recovery } = await filed(system, toOperate(key));
        const approval = await system.makeApproval('manager', recovery);
        return {
          about: { keys: [key.key], recovery },
          send: () => system.client('app').sendApproval(recovery, approval),
          good: () => system.approve('manager', recovery),
        };
      },
    },
    'when the request has expired': {
      code: 'recovery-expired',
      recorded: ['manager', 'recovery.approve'],
      prepare: async () => {
        const { recovery } = await filed(system, toOperate(key, {}, 'PT10M'));
        const approval = await system.makeApproval('manager', recovery);
        aheadMs += 10 * MINUTE_MS;
        return {
          about: { keys: [key.key], recovery },
          send: () => system.client('manager').sendApproval(recovery, approval),
        };
      },
    },
    'when the quorum is complete': {
      code: 'quorum-complete',
      recorded: ['officer-2', 'recovery.approve'],
      prepare: async () => {
        const recovery = await approvedRelease();
        const approval = await system.makeApproval('officer-2', recovery);
        return {
          about: { keys: [decryptionKey.key], recovery },
          send: () => system.client('officer-2').sendApproval(recovery, approval),
          good: () => system.client('manager').recovery(recovery),
        };
      },
    },
    'when the request was taken back': {
      code: 'recovery-ended',
      recorded: ['manager', 'recovery.approve'],
      prepare: async () => {
        const { recovery } = await filed(system, toOperate(key));
        const approval = await system.makeApproval('manager', recovery);
        await system.client('manager').cancel(recovery, 'not needed');
        return {
          about: { keys: [key.key], recovery },
          send: () => system.client('manager').sendApproval(recovery, approval),
        };
      },
    },
  });
});

describe('other decisions', () => {
  /** What administrators sign to end a request, and who hands it in. */
  const ended = (
    code: ErrorCode,
    order: { signers?: readonly PersonName[]; by?: PersonName; claims?: object },
  ): BadInput => {
    const { signers = ['admin-1', 'admin-2'], by = 'admin-1', claims = {} } = order;
    return {
      code,
      recorded: [by, 'recovery.stop'],
      prepare: () =>
        about(toOperate(key), async (recovery) => {
          const { requestHash = '' } = await system.client(by).recovery(recovery);
          const common = {
            recovery,
            requestHash,
            reason: 'no',
            logKey: system.identity(by).pins.logKey,
            now: now(),
          };
          const signed = { ...common, lifetimeMs: HOUR_MS, ...claims };
          const statements = await Promise.all(
            signers.map((name) => signStop(system.identity(name).signer, signed)),
          );
          return system.client(by).stop(recovery, { statements });
        }),
    };
  };
  const about = async (order: RecoveryOrder, send: (recovery: string) => Promise<unknown>): Promise<Sent> => {
    const { recovery } = await filed(system, order);
    return {
      about: { keys: order.keys, owner: 'owner', recovery },
      send: () => send(recovery),
      good: () => system.approve('manager', recovery),
    };
  };

  holds({
    'a denial with a statement that approves': {
      code: 'approval-mismatch',
      recorded: ['manager', 'recovery.deny'],
      prepare: () =>
        about(toOperate(key), async (recovery) => {
          const { statement } = await system.makeApproval('manager', recovery);
          return system.client('manager').sendDenial(recovery, { statement });
        }),
    },
    'a veto where the rule gives none': {
      code: 'veto-not-allowed',
      recorded: ['owner', 'recovery.veto'],
      prepare: () => about(toOperate(key), (recovery) => system.client('owner').veto(recovery, 'no')),
    },
    'a veto by somebody else': {
      code: 'forbidden',
      recorded: ['other-owner', 'recovery.veto'],
      prepare: () =>
        about(toRelease(decryptionKey), (recovery) => system.client('other-owner').veto(recovery, 'no')),
    },
    'taking back what somebody else has asked for': {
      code: 'forbidden',
      recorded: ['officer-1', 'recovery.cancel'],
      prepare: () => about(toOperate(key), (recovery) => system.client('officer-1').cancel(recovery, 'no')),
    },
    'one administrator who ends a request': ended('stop-signatures-missing', { signers: ['admin-1'] }),
    'one administrator who ends a request twice': ended('stop-signatures-missing', {
      signers: ['admin-1', 'admin-1'],
    }),
    'an administrator and a depositary who end a request': ended('stop-signature-invalid', {
      signers: ['admin-1', 'officer-1'],
    }),
    'statements that a request is to end, by a depositary': ended('forbidden', { by: 'manager' }),
    'statements that another request is to end': ended('approval-mismatch', {
      claims: { recovery: `rec_${'1'.repeat(32)}` },
    }),
    'statements that a request is to end, which have expired': ended('approval-expired', {
      claims: { lifetimeMs: -MINUTE_MS },
    }),
    'an activation before the quorum has agreed': {
      code: 'quorum-incomplete',
      recorded: ['app', 'recovery.activate'],
      prepare: () => about(toOperate(key), (recovery) => system.client('app').activate(recovery)),
    },
  });
});

describe('uses of a grant', () => {
  const messages = [Buffer.from('a message').toString('base64url')];
  const es256 = { mechanism: 'ES256', messages } as const;
  /** What is refused costs nothing: one grant does for all that is tried on a usual one. */
  const usual = once(() => granted(system, key));
  const used = (
    code: ErrorCode,
    send: (grant: string) => Promise<unknown>,
    options: {
      readonly by?: PersonName;
      readonly act?: Act;
      readonly scope?: Partial<ScopeOrder>;
      readonly before?: (grant: GrantReply) => Promise<unknown>;
    } = {},
  ): BadInput => ({
    code,
    recorded: [options.by ?? 'app', options.act ?? 'grant.sign'],
    prepare: async () => {
      const isUsual = options.scope === undefined && options.before === undefined;
      const grant = isUsual ? await usual() : await granted(system, key, options.scope);
      await options.before?.(grant);
      const isLive = options.before === undefined;
      return {
        about: { key: key.key, owner: 'owner', recovery: grant.recovery, grant: grant.grant },
        send: () => send(grant.grant),
        ...(isLive ? { good: () => system.client('app').sign(grant.grant, es256) } : {}),
      };
    },
  });
  const signs = (grant: string): Promise<unknown> => system.client('app').sign(grant, es256);

  holds({
    'that there is not': {
      code: 'grant-unknown',
      recorded: ['app', 'grant.sign'],
      prepare: () => ({ about: { grant: ABSENT_GRANT }, send: () => signs(ABSENT_GRANT) }),
    },
    'that has expired': used('grant-expired', signs, {
      scope: { duration: 'PT10M' },
      before: () => Promise.resolve((aheadMs += 10 * MINUTE_MS)),
    }),
    'that was revoked': used('grant-revoked', signs, {
      before: ({ grant }) => system.client('owner').revoke(grant, 'enough'),
    }),
    'that is exhausted': used('grant-exhausted', signs, {
      scope: { maxUses: 1 },
      before: ({ grant }) => signs(grant),
    }),
    'more in one batch than are left': used(
      'grant-exhausted',
      (grant) =>
        system.client('app').sign(grant, { ...es256, messages: [...messages, ...messages, ...messages] }),
      { scope: { maxUses: 2 } },
    ),
    'by another app': used('forbidden', (grant) => system.client('other-app').sign(grant, es256), {
      by: 'other-app',
    }),
    'by its owner': used('forbidden', (grant) => system.client('owner').sign(grant, es256), { by: 'owner' }),
    'with a mechanism that was not granted': used('operation-not-granted', (grant) =>
      system.client('app').sign(grant, { mechanism: 'ES384', messages }),
    ),
    'to decrypt, when it is to sign': used(
      'operation-not-granted',
      (grant) =>
        system.client('app').decrypt(grant, { mechanism: 'A256GCM', ciphertexts: [{ ciphertext: 'AAAA' }] }),
      { act: 'grant.decrypt' },
    ),
    'with a digest, when only messages were granted': used('operation-not-granted', (grant) =>
      system.client('app').sign(grant, { mechanism: 'ES256', digests: [bytes(32).toString('base64url')] }),
    ),
    'with a digest of another length': used(
      'request-malformed',
      (grant) =>
        system.client('app').sign(grant, { mechanism: 'ES256', digests: [bytes(48).toString('base64url')] }),
      { scope: { input: 'digest' } },
    ),
    'which an outsider revokes': used(
      'forbidden',
      (grant) => system.client('other-owner').revoke(grant, 'no'),
      {
        by: 'other-owner',
        act: 'grant.revoke',
      },
    ),
    'which is revoked twice': used(
      'grant-revoked',
      (grant) => system.client('owner').revoke(grant, 'again'),
      {
        by: 'owner',
        act: 'grant.revoke',
        before: ({ grant }) => system.client('owner').revoke(grant, 'enough'),
      },
    ),
  });

  test('a ciphertext that does not decrypt costs the use that was counted, and nothing else', async () => {
    const { grant } = await granted(system, decryptionKey, {
      operations: ['decrypt'],
      mechanisms: ['RSA-OAEP'],
    });
    const before = await recordsOf(system);
    const decrypt = (ciphertext: Buffer): Promise<unknown> =>
      system.client('app').decrypt(grant, {
        mechanism: 'RSA-OAEP',
        ciphertexts: [{ ciphertext: ciphertext.toString('base64url') }],
      });
    for (const garbage of [Buffer.alloc(256, 1), Buffer.alloc(256, 0xff), bytes(255), Buffer.alloc(1)])
      expect(await refusalOf(decrypt(garbage))).toBe('ciphertext-invalid');
    const { grants, ...others } = await recordsOf(system);
    expect({ ...others, grants: before.grants }).toEqual(before);
    expect(await system.client('app').grant(grant)).toMatchObject({ used: 4, status: 'active' });
    expect(grants).toHaveLength(before.grants.length);
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    const publicKey = decryptionKey.publicKeyPem ?? '';
    await decrypt(publicEncrypt({ key: publicKey, padding, oaepHash: 'sha1' }, Buffer.from('fine')));
    await expectLogHolds(system);
  });
});

describe('releases', () => {
  const release = (
    code: ErrorCode,
    who: PersonName,
    prepare: () => Promise<string>,
    about: () => KeyReply = () => decryptionKey,
  ): BadInput => ({
    code,
    recorded: [who, 'recovery.release'],
    prepare: async () => {
      const recovery = await prepare();
      return {
        about: { keys: [about().key], owner: 'owner', recovery },
        send: () => system.client(who).release(recovery),
      };
    },
  });
  const due = async (): Promise<string> => {
    const recovery = await approvedRelease();
    aheadMs += 4 * HOUR_MS;
    return recovery;
  };
  /** One that stays due: it is released to nobody. */
  const standing = once(due);

  holds({
    'before the quorum has agreed': release('quorum-incomplete', 'manager', async () => {
      const { recovery } = await filed(system, toRelease(decryptionKey));
      await system.approve('manager', recovery);
      return recovery;
    }),
    'before the delay is over': release('delay-running', 'manager', approvedRelease),
    'to a depositary who approved, but is not the recipient': release('forbidden', 'officer-1', standing),
    'to a recipient who has not approved': release('forbidden', 'manager', async () => {
      const { recovery } = await filed(system, toRelease(decryptionKey));
      await system.approve('officer-1', recovery);
      await system.approve('officer-2', recovery);
      aheadMs += 4 * HOUR_MS;
      return recovery;
    }),
    'to the owner': release('forbidden', 'owner', standing),
    'to an app': release('forbidden', 'app', standing),
    twice: release('recovery-ended', 'manager', async () => {
      const recovery = await due();
      await system.client('manager').release(recovery);
      return recovery;
    }),
    'of a request that was vetoed': release('recovery-ended', 'manager', async () => {
      const recovery = await due();
      await system.client('owner').veto(recovery, 'I am back');
      return recovery;
    }),
    'of a request whose approvals have expired, and whose time is over': release(
      'recovery-expired',
      'manager',
      async () => {
        const recovery = await approvedRelease();
        aheadMs += 31 * 24 * HOUR_MS;
        return recovery;
      },
    ),
    'of a request to use the key': release(
      'purpose-not-allowed',
      'manager',
      async () => {
        const { recovery } = await filed(system, toOperate(key));
        await system.approve('manager', recovery);
        return recovery;
      },
      () => key,
    ),
  });
});

describe('policies', () => {
  interface Order {
    readonly signers?: readonly PersonName[];
    readonly base?: number;
    readonly replaces?: string;
    readonly changed?: (document: Document) => Document;
    readonly lifetimeMs?: number;
    readonly by?: PersonName;
    readonly document?: (document: Document) => Document;
    readonly accepted?: number;
  }
  const policy = (code: ErrorCode, order: Order): BadInput => ({
    code,
    recorded: [order.by ?? 'admin-1', 'policy.apply'],
    prepare: async () => {
      const inForce = await system.client('admin-1').policy();
      const document = (order.document ?? renamed)(inForce.document as Document);
      const signatures = await Promise.all(
        (order.signers ?? ['admin-1', 'admin-2']).map((name) =>
          signPolicy(system.identity(name).signer, {
            hash: policyDocumentHash(document),
            base: inForce.version + (order.base ?? 0),
            replaces: order.replaces ?? inForce.hash,
            logKey: system.identity(name).pins.logKey,
            now: now(),
            lifetimeMs: order.lifetimeMs ?? HOUR_MS,
          }),
        ),
      );
      const sent = order.changed?.(document) ?? document;
      const accepted = order.accepted === undefined ? {} : { acceptUnrecoverable: order.accepted };
      const client = system.client(order.by ?? 'admin-1');
      return { send: () => client.applyPolicy({ document: sent, signatures, ...accepted }) };
    },
  });

  holds({
    'with one signature': policy('policy-signatures-missing', { signers: ['admin-1'] }),
    'with two signatures of one administrator': policy('policy-signatures-missing', {
      signers: ['admin-1', 'admin-1'],
    }),
    'with the signature of somebody who is no administrator': policy('policy-signatures-missing', {
      signers: ['admin-1', 'owner'],
    }),
    'with signatures for another version': policy('policy-stale', { base: -1 }),
    'with signatures on top of another policy of that version': policy('policy-stale', {
      replaces: 'ab'.repeat(32),
    }),
    'with signatures that have expired': policy('policy-signatures-missing', { lifetimeMs: -MINUTE_MS }),
    'changed after it was signed': policy('policy-signatures-missing', {
      changed: (document) => ({ ...document, rules: [] }),
    }),
    'with keys that are said to be lost, and are not': policy('unrecoverable-not-accepted', { accepted: 7 }),
    'applied by somebody who is no administrator': policy('forbidden', { by: 'owner' }),
    'without administrators for the next one': policy('policy-invalid', {
      document: ({ principals, ...rest }) => ({
        ...rest,
        principals: principals.filter(({ id }) => id !== 'admin-2'),
      }),
    }),
    'whose rule names somebody who is not in the directory': policy('policy-invalid', {
      document: (document) => ({
        ...document,
        rules: [rule('stranger', 'ec-p256', 'sign', { depositaries: 'person:stranger', ...signing })],
      }),
    }),
  });
});

/** A policy document, as far as the rows change it. */
interface Document {
  readonly version: number;
  readonly principals: readonly { readonly id: string; readonly name: string }[];
  readonly rules: readonly unknown[];
}

function renamed({ principals, ...rest }: Document): Document {
  return { ...rest, principals: principals.map((one) => ({ ...one, name: `${one.name}!` })) };
}

/** Every row is refused with its own code, recorded where the caller is known, and costs nothing else. */
function holds(rows: Readonly<Record<string, BadInput>>): void {
  test.each(Object.entries(rows))('%s', async (_, { code, recorded, prepare }) => {
    const { send, about = {}, good: afterwards = good } = await prepare();
    const size = await logSize();
    const before = await recordsOf(system);

    expect(await refusalOf(send())).toBe(code);

    const entries = await entriesFrom(system, size);
    const denied = entries.filter(({ phase }) => phase === 'denied');
    if (recorded === undefined) expect(entries).toEqual([]);
    else {
      const [actor, act] = recorded;
      expect(denied).toMatchObject([{ act, actor, error: code, subject: about }]);
      // at most its attempt besides: nothing was done
      const others = entries.filter((entry) => !denied.includes(entry));
      expect(others.map(({ phase, id }) => [phase, id])).toEqual(
        others.length === 0 ? [] : [['attempted', denied[0]?.id]],
      );
    }
    expect(await recordsOf(system)).toEqual(before);
    await afterwards();
  });
  afterAll(async () => {
    await expectLogHolds(system);
  });
}

/** Made when it is first asked for. */
function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}

/** How many entries the log has now. */
async function logSize(): Promise<number> {
  knownSize += (await entriesFrom(system, knownSize)).length;
  return knownSize;
}

async function made(spec: GeneratedSpec, use: Operation): Promise<KeyReply> {
  return (await system.client('owner').generateKey({ owner: 'owner', spec, use })).result;
}

async function principal(id: string): Promise<object> {
  const { document } = await system.client('auditor').policy();
  const found = (document as Document).principals.find((one) => one.id === id);
  if (found === undefined) throw new Error(`the directory lacks ${id}`);
  return found;
}

/** A release to the manager, agreed by two; its delay runs. */
async function approvedRelease(): Promise<string> {
  const { recovery } = await filed(system, toRelease(decryptionKey, 'PT12H'));
  await system.approve('manager', recovery);
  await system.approve('officer-1', recovery);
  return recovery;
}

function payloadOf(jws: string): JWTPayload {
  return JSON.parse(Buffer.from(jws.split('.')[1] ?? '', 'base64url').toString()) as JWTPayload;
}

/** What the depositary's client would state about this request. */
async function statementOf(name: PersonName, recovery: string): Promise<JWTPayload> {
  return payloadOf((await system.makeApproval(name, recovery)).statement);
}

/** A reply about the key. */
function one(reply: Uint8Array): ApprovalOrder['replies'] {
  return [{ key: key.key, reply: Buffer.from(reply).toString('base64url') }];
}

/** An approval with these replies, properly signed, but for some claims. */
async function stated(
  name: PersonName,
  recovery: string,
  replies: ApprovalOrder['replies'],
  otherwise: JWTPayload = {},
): Promise<ApprovalOrder> {
  const claims = {
    ...(await statementOf(name, recovery)),
    replies: repliesDigest(
      replies.map(({ key: of, reply }) => ({
        key: of as KeyId,
        reply: sealed('transport', Buffer.from(reply, 'base64url')),
      })),
    ),
    ...otherwise,
  };
  const statement = await system.identity(name).signer.sign(STATEMENT_TYPE, claims);
  return { statement, replies };
}

/** An approval in which this, and not the share, is encrypted to the one-time key of the request. */
async function properlyEncrypted(
  name: PersonName,
  recovery: string,
  secret: Uint8Array,
): Promise<ApprovalOrder> {
  const { forDepositary } = await system.client(name).recovery(recovery);
  const der = Buffer.from(forDepositary?.transportKey ?? '', 'base64url');
  const transport = createPublicKey({ key: der, format: 'der', type: 'spki' });
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  return stated(name, recovery, one(publicEncrypt({ key: transport, padding, oaepHash: 'sha1' }, secret)));
}
