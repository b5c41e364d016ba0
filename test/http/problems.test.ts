import type { ErrorCode } from '../../src/escrow/records/errors.js';
import { ERROR_CODES } from '../../src/escrow/records/errors.js';
import type { Grant } from '../../src/escrow/records/grant.js';
import { problemsOf } from '../../src/http/description/openapi.js';
import { routesOf } from '../../src/http/routes/index.js';
import type { Answer } from './apiClient.js';
import { problemCode } from './apiClient.js';
import { NOW } from './identities.js';
import { PEOPLE } from './people.js';
import type { Running } from './runningServer.js';
import { startServer } from './runningServer.js';
import { GRANT, GRANT_RECORD, KEY, newWorld } from './world.js';

const { ann, dana, mailer, olga } = PEOPLE;
const message = Buffer.from('dear all').toString('base64url');

describe('what an operation can be refused with', () => {
  const routes = routesOf({ identityKey: {}, logKey: '' });

  test('is every code that there is, but what is no operation', () => {
    const answered = new Set(routes.flatMap(problemsOf));
    const codes = Object.keys(ERROR_CODES) as readonly ErrorCode[];
    expect(codes.filter((code) => !answered.has(code))).toEqual(['method-not-allowed']);
  });

  test.each<[operation: string, codes: readonly ErrorCode[]]>([
    ['sign', ['grant-not-started', 'grant-rate-exceeded', 'record-mismatch', 'clock-differs']],
    ['decrypt', ['grant-not-started', 'grant-rate-exceeded', 'ciphertext-invalid']],
    ['intendRecovery', ['approval-too-long']],
    ['approveRecovery', ['approval-too-long']],
    ['denyRecovery', ['approval-too-long']],
    ['activateRecovery', ['recovery-failed', 'grant-expired']],
    ['releaseKeys', ['recovery-failed']],
  ])('%s: %j', (operation, codes) => {
    const route = routes.find(({ about }) => about.name === operation);
    expect(route === undefined ? [] : problemsOf(route)).toEqual(expect.arrayContaining([...codes]));
  });
});

describe('a refusal', () => {
  let running: Running;
  beforeAll(async () => {
    running = await startServer();
  });
  afterAll(() => running.stop());

  test('names the request as the header and the operator’s log do', async () => {
    const { headers, json } = await running.client.send({ method: 'GET', target: '/v1/nowhere' });
    expect(headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
    expect(json?.['instance']).toBe(`urn:uuid:${String(headers['x-request-id'])}`);
  });

  test.each<[body: object, detail: string | RegExp]>([
    [{ mechanism: 'ES256', messages: ['*'] }, 'messages[0]: must be base64url of 0 to 262144 bytes'],
    [{ mechanism: 'ES256', digests: [message, 7] }, /^digests\[0\]: must be base64url of 20 to 64 bytes$/],
    [{ mechanism: 'ES256', messages: [message], more: 1 }, 'Unrecognized key: "more"'],
    [{ mechanism: 'ES256' }, /^messages: .*, or digests: .*$/],
    [{ mechanism: 'none', messages: [message] }, /^mechanism: Invalid option: [^,]*$/],
  ])('of one of two forms says what is wrong, and where: %j', async (body, detail) => {
    const answer = await running.client.call(mailer, 'POST', `/v1/grants/${GRANT}/sign`, body);
    const said = String(answer.json?.['detail']);
    expect(said).toMatch(/^In the body: .*\.$/);
    const words = said.slice('In the body: '.length, -1);
    if (typeof detail === 'string') expect(words).toBe(detail);
    else expect(words).toMatch(detail);
  });

  test.each<[purpose: unknown]>([['none'], [undefined], [7]])(
    'of a request with the purpose %j says which there are',
    async (purpose) => {
      const answer = await running.client.call(dana, 'POST', '/v1/recoveries', { purpose });
      expect(answer.json?.['detail']).toMatch(/purpose: .*'operate' \| 'release'/);
    },
  );

  test('of a document says which name cannot be one', async () => {
    const answer = await running.client.call(ann, 'POST', '/v1/policy/plan', { document: { '1': 2 } });
    expect(answer.json?.['detail']).toMatch(/^In the body: document\.1: .*must match pattern/);
  });
});

describe('a grant with a rate', () => {
  const sliceMs = 1_000;
  const perMs = 64 * sliceMs;
  const slice = Math.floor(NOW.getTime() / sliceMs);
  const grant: Grant = {
    ...GRANT_RECORD,
    scope: { ...GRANT_RECORD.scope, rate: { uses: 2, perMs } },
    recent: [
      { slice: slice - 20, uses: 1 },
      { slice: slice - 10, uses: 1 },
    ],
  };
  let running: Running;
  beforeAll(async () => {
    running = await startServer({}, newWorld(undefined, undefined, grant));
  });
  afterAll(() => running.stop());
  const sign = (uses: number): Promise<Answer> =>
    running.client.call(mailer, 'POST', `/v1/grants/${GRANT}/sign`, {
      mechanism: 'ES256',
      messages: Array.from({ length: uses }, () => message),
    });

  test.each<[uses: number, retryAfter: string | undefined]>([
    [1, String(64 + 1 - 20)],
    [2, String(64 + 1 - 10)],
    [3, undefined],
  ])('is asked for %d uses too many, and says when they are free: %s', async (uses, retryAfter) => {
    const { status, headers, ...answer } = await sign(uses);
    expect([status, problemCode({ status, headers, ...answer })]).toEqual([429, 'grant-rate-exceeded']);
    expect(headers['retry-after']).toBe(retryAfter);
  });
});

describe('another method', () => {
  let running: Running;
  beforeAll(async () => {
    running = await startServer();
  });
  afterAll(() => running.stop());

  test.each<[method: string, target: string, allow: string]>([
    ['POST', '/v1/history', 'GET'],
    ['POST', '/healthz', 'GET'],
    ['POST', '/readyz', 'GET'],
    ['POST', '/openapi.json', 'GET'],
    ['HEAD', '/v1/checkpoint', 'GET'],
    ['HEAD', '/healthz', 'GET'],
    ['OPTIONS', '/v1/keys', 'GET, POST'],
    ['PUT', '/v1/keys', 'GET, POST'],
    ['DELETE', `/v1/keys/${KEY}`, 'GET'],
    ['TRACE', '/v1/keys', 'GET, POST'],
    ['GET', `/v1/grants/${GRANT}/sign`, 'POST'],
    ['PATCH', '/v1/log/tile/0/000', 'GET'],
  ])('%s %s is told which there are: %s', async (method, target, allow) => {
    const answer = await running.client.send({ method, target });
    expect([answer.status, answer.headers.allow]).toEqual([405, allow]);
    if (method !== 'HEAD') expect(problemCode(answer)).toBe('method-not-allowed');
  });

  test('is told to nobody by name: a signed one is not recorded, and stays good for nothing else', async () => {
    const answer = await running.client.call(olga, 'POST', '/v1/history', {});
    expect(answer.status).toBe(405);
    expect(running.world.journal.entries).toEqual([]);
  });
});
