import { EscrowError } from '../../src/escrow/records/errors.js';
import type { PrincipalId } from '../../src/escrow/records/ids.js';
import { parsePolicy } from '../../src/http/policyDocument.js';
import { spkiPem } from '../../src/http/publicKey.js';
import { encodeEntry } from '../../src/log/entry/entry.js';
import type { Answer } from './apiClient.js';
import { problemCode } from './apiClient.js';
import type { Identity } from './identities.js';
import { NOW, ORIGIN, statement } from './identities.js';
import { PEOPLE, policy, policyDocument } from './people.js';
import type { Running } from './runningServer.js';
import { startServer } from './runningServer.js';
import {
  DEPOSIT,
  BORN,
  BORN_AT,
  FILED,
  GRANT,
  GRANT_RECORD,
  KEY,
  RECOVERY,
  RECOVERY_RECORD,
  RELEASED,
} from './world.js';
import { STATEMENT_TYPE, POLICY_SIGNATURE_TYPE } from '../../src/escrow/records/statementTypes.js';

const { ann, bob, olga, dana, dave, mailer, zed } = PEOPLE;
const base64url = (text: string): string => Buffer.from(text).toString('base64url');

let running: Running;
beforeEach(async () => {
  running = await startServer();
});
afterEach(() => running.stop());

const get = async (by: Identity, target: string): Promise<Answer['json']> => {
  const answer = await running.client.call(by, 'GET', target);
  expect(answer.status).toBe(200);
  return answer.json;
};

const scope = {
  app: 'mailer',
  operations: ['sign'],
  mechanisms: ['ES256'],
  input: 'message',
  maxUses: 10,
  duration: 'P1D',
};

const key = {
  key: KEY,
  owner: 'olga',
  label: 'mail',
  spec: 'ec-p256',
  use: 'sign',
  publicKeyPem: spkiPem(DEPOSIT.publicKey ?? new Uint8Array()),
};

const { owner, ...keyAsked } = key;
const recovery = {
  owner,
  keys: [{ ...keyAsked, quorums: [['dana', 'dave']] }],
  requester: 'dana',
  reason: 'olga is ill',
  filedAt: NOW.toISOString(),
  expiresAt: new Date(NOW.getTime() + 86_400_000).toISOString(),
  deniedBy: [],
  ownerMayVeto: false,
};

test('no answer about records holds more than the interface describes', async () => {
  for (const by of [ann, olga, dana, dave, mailer, zed]) {
    const seen = [`/v1/recoveries/${RECOVERY}`, `/v1/grants/${GRANT}`];
    const seenByPeople = ['/v1/keys', `/v1/keys/${KEY}`, '/v1/recoveries', `/v1/recoveries/${RELEASED}`];
    for (const target of by === mailer ? seen : [...seen, ...seenByPeople]) {
      const text = JSON.stringify(await get(by, target));
      // a link is for the depositary whose share opens it
      const links = ['dana', 'dave'].filter((id) => id !== by.id).map((id) => `link of ${id}`);
      for (const secret of [...links, 'secret sealed', 'secret reply', 'kek:']) {
        expect(text).not.toContain(secret);
        expect(text).not.toContain(base64url(secret));
      }
    }
  }
});

describe('a key', () => {
  const shown = {
    ...key,
    createdAt: NOW.toISOString(),
    generation: 1,
    rule: { name: 'finance', policyVersion: 1, policyHash: 'cd'.repeat(32) },
    purposes: ['operate', 'release'].map((purpose) => ({
      purpose,
      quorums: [['dana', 'dave']],
      recipients: ['dana', 'dave'].map((depositary) => ({ depositary, fingerprint: 'ab'.repeat(32) })),
    })),
    terms: {
      operate: {
        operations: ['sign'],
        maxUses: 100,
        maxDuration: 'P7D',
        input: 'digest',
        delay: 'PT0S',
        ownerMayVeto: false,
      },
      release: { delay: 'PT1H', ownerMayVeto: true },
      requests: { maxValidFor: 'P90D', approvalsHold: 'P7D', distinct: [] },
    },
    digest: DEPOSIT.digest,
    coverage: {
      ...{ policyVersion: 1, isTokenAsked: true },
      // the token of this world has enrolled dana alone
      purposes: ['operate', 'release'].map((purpose) => ({
        ...{ purpose, live: [], singlePoints: [], kekState: 'newest' },
        unable: [{ depositary: 'dave', because: 'not-enrolled' }],
      })),
    },
  };

  test('is shown in full, and the owner’s copy to its owner alone', async () => {
    for (const by of [ann, dana, zed]) expect(await get(by, `/v1/keys/${KEY}`)).toEqual(shown);
    const ownersCopy = {
      transferKey: base64url('copy X'),
      wrappedKey: base64url('copy key'),
      oaep: 'RSA-OAEP',
    };
    expect(await get(olga, `/v1/keys/${KEY}`)).toEqual({ ...shown, ownersCopy });
    expect(await get(ann, '/v1/keys')).toEqual({ items: [shown] });
  });
});

describe('a recovery', () => {
  const pending = {
    ...recovery,
    keys: recovery.keys.map((asked) => ({ ...asked, quorumsLeft: 1, unable: [] })),
    recovery: RECOVERY,
    purpose: 'operate',
    scope,
    approvalsHold: 'P1D',
    requestHash: RECOVERY_RECORD.requestHash,
    summary: expect.stringContaining('dana asks that the app mailer may sign with ES256') as unknown,
    status: 'pending',
    approvedBy: [],
  };

  test('is shown with what is needed to decide, to its depositaries alone', async () => {
    for (const by of [ann, olga, mailer, zed])
      expect(await get(by, `/v1/recoveries/${RECOVERY}`)).toEqual(pending);
    const proof = [Buffer.alloc(32).toString('base64url')];
    const filing = { index: 7, entry: Buffer.from(encodeEntry(FILED)).toString(), proof };
    const birth = { index: BORN_AT, entry: Buffer.from(BORN).toString(), proof };
    const deposit = {
      version: 2,
      generation: 1,
      requesters: ['depositary'],
      delay: 'PT0S',
      ownerMayVeto: false,
      recipients: ['dana', 'dave'].map((depositary) => ({ depositary, fingerprint: 'ab'.repeat(32) })),
    };
    for (const by of [dana, dave]) {
      const [share, link] = [base64url(`share of ${by.id}`), base64url(`link of ${by.id}`)];
      expect(await get(by, `/v1/recoveries/${RECOVERY}`)).toEqual({
        ...pending,
        forDepositary: {
          shares: [{ key: KEY, share, oaep: 'RSA-OAEP', link, deposit, birth }],
          transportKey: base64url('transport SPKI'),
          requestHash: RECOVERY_RECORD.requestHash,
          requestVersion: 4,
          attestation: RECOVERY_RECORD.attestation,
          logged: { ...filing, checkpoint: 'the note' },
        },
      });
    }
  });

  test('that was released is shown with the key to its recipient alone', async () => {
    const released = {
      ...recovery,
      recovery: RELEASED,
      purpose: 'release',
      recipient: 'dana',
      approvalsHold: 'P1D',
      requestHash: expect.stringMatching(/^[0-9a-f]{64}$/) as unknown,
      summary: expect.stringContaining('handed out to dana, who then has it for good') as unknown,
      status: 'released',
      approvedBy: ['dana'],
      ended: { at: NOW.toISOString() },
      ownerMayVeto: true,
    };
    for (const by of [ann, olga, dave]) expect(await get(by, `/v1/recoveries/${RELEASED}`)).toEqual(released);
    expect(await get(dana, `/v1/recoveries/${RELEASED}`)).toEqual({
      ...released,
      release: {
        keys: [
          {
            key: KEY,
            transferKey: base64url('X'),
            wrappedKey: base64url('U under X'),
            oaep: 'RSA-OAEP',
          },
        ],
      },
    });
  });

  test('in a list comes without the proof of its filing', async () => {
    expect(await get(dave, '/v1/recoveries?limit=2')).toMatchObject({
      items: [pending, { recovery: RELEASED }],
    });
    expect(JSON.stringify(await get(dave, '/v1/recoveries'))).not.toContain('forDepositary');
  });

  test('past its end has expired, recorded or not', async () => {
    running.world.store.findRecovery = () => Promise.resolve({ ...RECOVERY_RECORD, expiresAt: NOW });
    expect(await get(dana, `/v1/recoveries/${RECOVERY}`)).toEqual({
      ...pending,
      keys: recovery.keys,
      expiresAt: NOW.toISOString(),
      status: 'expired',
      ended: { at: NOW.toISOString() },
    });
  });

  test('that was taken back says by whom and why', async () => {
    const answer = await running.client.call(dana, 'POST', `/v1/recoveries/${RECOVERY}/cancel`, {
      reason: 'olga is back',
    });
    expect(answer.json).toMatchObject({
      result: {
        status: 'cancelled',
        ended: { by: 'dana', reason: 'olga is back', at: NOW.toISOString() },
      },
      entry: 1,
    });
  });

  test('while its delay runs says until when', async () => {
    const releasableAt = new Date(NOW.getTime() + 3_600_000);
    const holdsUntil = new Date(NOW.getTime() + 7_200_000);
    const approvals = [dana, dave].map((by) => ({
      depositary: by.id as PrincipalId,
      statement: statement(by, STATEMENT_TYPE, {}),
      replies: [],
      at: NOW,
      expiresAt: holdsUntil,
    }));
    const state = { status: 'approved', releasableAt, holdsUntil } as const;
    running.world.store.findRecovery = () => Promise.resolve({ ...RECOVERY_RECORD, approvals, state });
    expect(await get(ann, `/v1/recoveries/${RECOVERY}`)).toEqual({
      ...pending,
      status: 'approved',
      approvedBy: ['dana', 'dave'],
      releasableAt: releasableAt.toISOString(),
      holdsUntil: holdsUntil.toISOString(),
    });
  });
});

describe('a grant', () => {
  const shown = {
    grant: GRANT,
    recovery: RECOVERY,
    key: KEY,
    owner: 'olga',
    spec: 'ec-p256',
    scope,
    used: 3,
    startsAt: NOW.toISOString(),
    expiresAt: GRANT_RECORD.expiresAt.toISOString(),
    status: 'active',
  };

  test('is shown to its app, its owner and the depositaries', async () => {
    for (const by of [mailer, olga, dana, ann]) expect(await get(by, `/v1/grants/${GRANT}`)).toEqual(shown);
    expect(await get(mailer, '/v1/grants')).toEqual({ items: [shown] });
  });

  test('is revoked at once', async () => {
    const answer = await running.client.call(olga, 'POST', `/v1/grants/${GRANT}/revoke`, { reason: 'back' });
    expect(answer.json).toEqual({ result: { ...shown, status: 'revoked' }, entry: 1 });
  });
});

describe('the log', () => {
  test('is shown to everyone by its checkpoint and proofs', async () => {
    const send = (target: string) => running.client.send({ method: 'GET', target });
    const checkpoint = await send('/v1/checkpoint');
    expect(checkpoint.text).toBe('the note\n\n— name sig\n');
    expect(checkpoint.headers['content-type']).toBe('text/plain; charset=utf-8');
    expect((await send('/v1/checkpoint?witnessed=1')).text).toBe('cosigned by anybody\n');
    const two = '01234567,89abcdef';
    expect((await send(`/v1/checkpoint?witnessed=1&by=${two}`)).text).toBe(
      'cosigned by 01234567 and 89abcdef\n',
    );
    const none = await send('/v1/checkpoint?witnessed=2');
    expect([none.status, none.json]).toMatchObject([
      404,
      { type: 'urn:escrowd:problem:checkpoint-unwitnessed' },
    ]);
    for (const query of ['witnessed=0', 'witnessed=17', `by=${two}`, 'witnessed=1&by=', 'witnessed=1&by=xyz'])
      expect((await send(`/v1/checkpoint?${query}`)).status).toBe(400);
    const proof = [Buffer.alloc(32, 255).toString('base64')];
    expect((await send('/v1/log/consistency?old=3&new=8')).json).toEqual({ proof });
    for (const query of ['', '?old=3', '?old=3&new=9', '?old=5&new=4', '?old=-1&new=4', '?old=1&new=2&x=3'])
      expect((await send(`/v1/log/consistency${query}`)).status).toBe(400);
  });

  test('is shown to owners and auditors by its entries, as they are', async () => {
    const items = [{ index: 7, entry: Buffer.from(encodeEntry(FILED)).toString() }];
    const proven = items.map((item) => ({ ...item, proof: ['A'.repeat(43)] }));
    const page = { items: proven, next: '7', checkpoint: 'the note' };
    expect(await get(olga, '/v1/history')).toEqual(page);
    expect(await get(olga, `/v1/history?key=${KEY}&act=recovery.request&upTo=8`)).toEqual(page);
    for (const query of ['act=Key', 'since=2026-01-01', 'upTo=0', 'key=1', 'owner=dana', 'act=a.b&act=a.b']) {
      const answer = await running.client.call(olga, 'GET', `/v1/history?${query}`);
      expect(problemCode(answer)).toBe('request-malformed');
    }
    expect(await get(zed, '/v1/log/entries?from=0&limit=1000')).toEqual({ items });
    expect(await get(zed, '/v1/log/policies')).toEqual({
      items: [{ version: 1, hash: policy().hash, document: policyDocument() }],
    });
  });

  test('of notices that were given up is for administrators, who have them sent again; auditors only look', async () => {
    const notice = `ntc_${'9'.repeat(32)}`;
    const listed = {
      items: [
        {
          notice,
          sink: 'webhook:siem',
          entry: 7,
          to: 'olga',
          kind: 'asked',
          fault: 'It answered 404.',
          givenUpAt: NOW.toISOString(),
        },
      ],
    };
    expect(await get(ann, '/v1/notifications/given-up?sink=webhook:siem')).toEqual(listed);
    expect(await get(zed, '/v1/notifications/given-up')).toEqual(listed);
    const send = (order: object): ReturnType<typeof running.client.call> =>
      running.client.call(ann, 'POST', '/v1/notifications/redeliver', order);
    const order = { sink: 'webhook:siem', notices: [notice] };
    const answer = await send(order);
    expect(answer.json).toMatchObject({ result: order });
    expect(running.world.journal.entries.at(-1)).toMatchObject({
      act: 'notification.redeliver',
      phase: 'done',
      actor: 'ann',
      detail: { sink: 'webhook:siem', notices: [{ notice, entry: 7 }] },
    });
    const other = `ntc_${'8'.repeat(32)}`;
    for (const unknown of [
      { sink: 'mail', notices: [notice] },
      { sink: 'webhook:siem', notices: [notice, other] },
    ])
      expect(problemCode(await send(unknown))).toBe('notice-unknown');
    for (const malformed of [
      { sink: 'webhook:siem', notices: [] },
      { sink: 'webhook:siem', notices: [notice, notice] },
      { sink: 'Mail', notices: [notice] },
      { sink: 'mail', notices: ['1'] },
    ])
      expect(problemCode(await send(malformed))).toBe('request-malformed');
  });

  const bytesAt = async (target: string): Promise<readonly unknown[]> => {
    const { status, headers, text } = await running.client.send({ method: 'GET', target });
    return [status, headers['content-type'], headers['cache-control'], text];
  };

  test('is shown to everyone by its tiles of hashes, which may be kept for ever', async () => {
    const kept = 'public, max-age=31536000, immutable';
    expect(await bytesAt('/v1/log/tile/0/000.p/3')).toEqual([
      200,
      'application/octet-stream',
      kept,
      '\u0007'.repeat(96),
    ]);
    expect(await bytesAt('/v1/log/checkpoint')).toEqual([
      200,
      'text/plain; charset=utf-8',
      'no-store',
      'the note\n\n— name sig\n',
    ]);
  });

  test.each([
    ['beyond the tree', '0/000.p/9'],
    ['that is not full yet', '0/000'],
    ['of a level that is not there', '1/000.p/1'],
    ['in another spelling', '00/000.p/3'],
    ['in another spelling of its index', '0/0.p/3'],
    ['with a slash too many', '0//000.p/3'],
    ['with a slash at the end', '0/000.p/3/'],
    ['of a width that no tile has', '0/000.p/0'],
    ['that climbs', '../checkpoint'],
    ['without a name', ''],
  ])('a tile %s is not there, and that is not kept', async (_name, tile) => {
    const answer = await running.client.send({ method: 'GET', target: `/v1/log/tile/${tile}` });
    expect([answer.status, problemCode(answer), answer.headers['cache-control']]).toEqual([
      404,
      'route-unknown',
      'no-store',
    ]);
  });

  test('a tile takes no query: it has one address', async () => {
    expect((await running.client.send({ method: 'GET', target: '/v1/log/tile/0/000.p/3?x=1' })).status).toBe(
      400,
    );
  });

  test('is shown to auditors, and to nobody else, by bundles of entries', async () => {
    const bundle = async (by: Identity, path: string) =>
      running.client.call(by, 'GET', `/v1/log/tile/entries/${path}`);
    const answer = await bundle(zed, '000.p/1');
    const entry = Buffer.from(encodeEntry(FILED));
    expect(answer.headers).toMatchObject({
      'content-type': 'application/octet-stream',
      'cache-control': 'private, max-age=31536000, immutable',
    });
    expect(Number(answer.headers['content-length'])).toBe(entry.length + 2);
    expect(answer.text).toContain(entry.toString());
    expect(problemCode(await bundle(olga, '000.p/1'))).toBe('forbidden');
    for (const path of ['000', '000.p/9', '0', '001.p/1', 'x000/000.p/1'])
      expect(problemCode(await bundle(zed, path))).toBe('route-unknown');
  });
});

describe('a policy', () => {
  const document = { ...policyDocument(), rules: [] };
  const { hash } = parsePolicy(JSON.stringify(document), 2);
  const signature = (by: Identity, changes: object = {}): string => {
    const seconds = NOW.getTime() / 1000;
    const times = { iat: seconds, exp: seconds + 600 };
    const replaces = policy().hash;
    const payload = { iss: by.id, aud: ORIGIN, ...times, hash, base: 1, replaces, ...changes };
    return statement(by, POLICY_SIGNATURE_TYPE, payload);
  };

  test('is put in force by two administrators', async () => {
    const order = { document, signatures: [signature(ann), signature(bob)] };
    const answer = await running.client.call(ann, 'POST', '/v1/policy', order);
    expect(answer.json).toEqual({ result: { version: 2, hash }, entry: 1 });
  });

  test.each([
    ['one administrator', [signature(ann)], 'policy-signatures-missing'],
    ['one administrator twice', [signature(ann), signature(ann)], 'policy-signatures-missing'],
    ['another document', [signature(ann), signature(bob, { hash: 'ab' })], 'policy-signatures-missing'],
    ['another version', [signature(ann), signature(bob, { base: 0 })], 'policy-stale'],
    ['another policy before', [signature(ann), signature(bob, { replaces: 'ab' })], 'policy-stale'],
  ])('is not, with the signature of %s', async (_whose, signatures, code) => {
    const answer = await running.client.call(ann, 'POST', '/v1/policy', { document, signatures });
    expect(answer.json).toMatchObject({ type: `urn:escrowd:problem:${code}` });
  });

  test('that is not valid is refused, and told where', async () => {
    const spoiled = { ...document, principals: [] };
    const answer = await running.client.call(ann, 'POST', '/v1/policy', {
      document: spoiled,
      signatures: [signature(ann)],
    });
    expect(answer.json).toMatchObject({
      type: 'urn:escrowd:problem:policy-invalid',
      status: 422,
      detail: 'principals: there must be two administrators with keys.',
    });
  });

  test('is shown, and says who would be chosen', async () => {
    expect(await get(zed, '/v1/policy')).toEqual({
      version: 1,
      hash: policy().hash,
      document: policyDocument(),
    });
    const order = { owner: 'olga', spec: 'ec-p256', use: 'sign' };
    const answer = await running.client.call(ann, 'POST', '/v1/policy/choice', order);
    expect(answer.json).toEqual({
      considered: [{ rule: 'finance', because: [] }],
      rule: 'finance',
      quorums: [['dana', 'dave']],
      candidates: [
        { id: 'dana', name: 'DANA', keys: [dana.kid], depositaryKey: 'ab'.repeat(32), problems: [] },
        {
          id: 'dave',
          name: 'DAVE',
          keys: [PEOPLE.dave.kid],
          problems: [
            'has no depositaryKey in the directory, and gets no share',
            'is not enrolled in the token',
          ],
        },
      ],
      missing: [
        'dave has no depositaryKey in the directory, and gets no share',
        'dave is not enrolled in the token',
      ],
    });
    expect(running.world.journal.entries).toEqual([]);
  });

  test('before the first is that of the first administrators', async () => {
    running.world.store.policyVersion = () => Promise.resolve(0);
    expect(await get(ann, '/v1/policy')).toEqual({ version: 0, hash: policy().hash });
  });
});

test('the server says what it is', async () => {
  const { json } = await running.client.send({ method: 'GET', target: '/v1/server' });
  expect(json).toMatchObject({
    origin: ORIGIN,
    identityKey: { kty: 'EC', crv: 'P-256' },
    logKey: 'log+0000+key',
    token: { profile: 'test', oaep: 'RSA-OAEP' },
  });
});

describe('coverage', () => {
  const covered = {
    ...{ key: KEY, owner: 'olga', label: 'mail', spec: 'ec-p256', use: 'sign', rule: 'finance' },
    ...{ createdAt: NOW.toISOString(), generation: 1, lastUsedAt: '2026-03-01T12:00:00.000Z' },
    ...{ department: 'finance', isAsLogged: true, coverage: 'lost' },
    // the token of this world has enrolled dana alone
    purposes: ['operate', 'release'].map((purpose) => ({
      ...{ purpose, coverage: 'lost', quorums: 1, live: [], singlePoints: [] },
      kekState: 'newest',
      kek: DEPOSIT.purposes.find((one) => one.purpose === purpose)?.kek,
      unable: [{ depositary: 'dave', because: 'not-enrolled' }],
      ...{ drilled: [], drills: [] },
    })),
  };
  const about = { policyVersion: 1, policyHash: policy().hash, isTokenAsked: true };
  const totals = { keys: 1, lost: 1, oneQuorum: 0, singlePoint: 0, covered: 0 };

  test('is shown to who sees all, with how many keys the log has, and to owners of their own keys', async () => {
    const page = { ...about, items: [covered] };
    for (const by of [ann, zed]) expect(await get(by, '/v1/coverage')).toEqual({ ...page, totals });
    expect(await get(olga, '/v1/coverage?limit=1')).toEqual(page);
  });

  test('is shown while the token is out, and says so', async () => {
    const { token } = running.world.escrow;
    const { enrolled } = token;
    token.enrolled = () => Promise.reject(new EscrowError('token-unavailable'));
    try {
      expect(await get(zed, '/v1/coverage')).toMatchObject({
        isTokenAsked: false,
        items: [{ purposes: [{ unable: [{ depositary: 'dave', because: 'other-key' }] }, {}] }],
      });
      expect(await get(zed, `/v1/keys/${KEY}`)).toMatchObject({ coverage: { isTokenAsked: false } });
    } finally {
      token.enrolled = enrolled;
    }
  });
});
