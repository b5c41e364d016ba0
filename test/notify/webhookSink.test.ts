import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';

import { Webhook } from 'standardwebhooks';

import { WebhookSink } from '../../src/notify/webhookSink.js';
import { parseWebhookSecret } from '../../src/notify/webhookSignature.js';
import { selfSigned } from '../support/certificate.js';
import type { Receiver } from './receivers.js';
import { startReceiver } from './receivers.js';
import { everyKind, noticeOf } from './samples.js';
import { freshBytes } from '../support/fresh.js';

const secretOf = (): string => `whsec_${freshBytes(32).toString('base64')}`;
const secret = secretOf();

let receiver: Receiver;
let sink: WebhookSink | undefined;
beforeEach(async () => {
  receiver = await startReceiver();
});
afterEach(async () => {
  sink?.close();
  await receiver.close();
});

function sinkTo(
  url = receiver.url,
  more: { secrets?: readonly string[]; ca?: string; timeoutMs?: number } = {},
) {
  const { secrets = [secret], ca, timeoutMs = 10_000 } = more;
  sink = new WebhookSink({
    name: 'webhook:test',
    url: new URL(url),
    secrets: secrets.map((text) => parseWebhookSecret(text) ?? new Uint8Array()),
    kinds: everyKind,
    timeoutMs,
    origin: 'escrow.test/log',
    clock: { now: () => new Date() },
    ...(ca === undefined ? {} : { ca }),
  });
  return sink;
}

function signatureHeaders(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(receiver.received[0]?.headers ?? {}).filter(([name]) => name.startsWith('webhook-')),
  ) as Record<string, string>;
}

test('a notice is posted by itself, and another implementation of Standard Webhooks verifies it', async () => {
  const notice = noticeOf();
  expect(await sinkTo().deliver([notice, noticeOf({ id: 'ntc_b' })])).toEqual({ accepted: 1 });
  expect(receiver.received).toHaveLength(1);
  const [message] = receiver.received;
  const headers = signatureHeaders();
  expect(message?.path).toBe('/hook');
  expect(headers['webhook-id']).toBe(notice.id);
  const { kind, to, as, text, entry, time, act, actor, subject, outcome, request } = notice;
  expect(new Webhook(secret).verify(message?.body ?? '', headers)).toEqual({
    type: 'escrowd.asked',
    timestamp: notice.time,
    data: {
      id: notice.id,
      origin: 'escrow.test/log',
      ...{ kind, to, as, text, entry, time, act, actor, subject, outcome, request },
    },
  });
});

test('what is changed on the way does not verify', async () => {
  await sinkTo().deliver([noticeOf()]);
  const body = receiver.received[0]?.body ?? '';
  const headers = signatureHeaders();
  const verify = (text: string, by = headers): unknown => new Webhook(secret).verify(text, by);
  expect(() => verify(body)).not.toThrow();
  expect(() => verify(body.replace('manager', 'mallory'))).toThrow();
  expect(() => verify(body, { ...headers, 'webhook-id': 'ntc_other' })).toThrow();
  expect(() => new Webhook(secretOf()).verify(body, headers)).toThrow();
});

test('while secrets are rotated, a receiver verifies by the old one and by the new one', async () => {
  const newer = secretOf();
  await sinkTo(receiver.url, { secrets: [newer, secret] }).deliver([noticeOf()]);
  const body = receiver.received[0]?.body ?? '';
  for (const known of [secret, newer])
    expect(() => new Webhook(known).verify(body, signatureHeaders())).not.toThrow();
});

test.each([200, 204])('an answer of %i is a yes', async (status) => {
  receiver.answers.push({ status });
  expect(await sinkTo().deliver([noticeOf()])).toEqual({ accepted: 1 });
});

test.each([
  [400, 'refused'],
  [401, 'refused'],
  [404, 'refused'],
  [410, 'refused'],
  [408, 'unavailable'],
  [429, 'unavailable'],
  [500, 'unavailable'],
  [503, 'unavailable'],
])('an answer of %i is a no: %s', async (status, because) => {
  receiver.answers.push({ status });
  expect(await sinkTo().deliver([noticeOf()])).toMatchObject({ accepted: 'none', because });
});

test('a redirect is refused, and where it leads nothing is sent', async () => {
  const elsewhere = await startReceiver();
  try {
    receiver.answers.push({ status: 307, headers: { location: elsewhere.url } });
    const result = await sinkTo().deliver([noticeOf()]);
    expect(result).toMatchObject({ because: 'refused', fault: expect.stringContaining('307') as string });
    expect(elsewhere.received).toEqual([]);
  } finally {
    await elsewhere.close();
  }
});

test('Retry-After in seconds is heeded, within an hour', async () => {
  receiver.answers.push({ status: 503, headers: { 'retry-after': '90' } });
  expect(await sinkTo().deliver([noticeOf()])).toMatchObject({ retryAfterMs: 90_000 });
  receiver.answers.push({ status: 429, headers: { 'retry-after': '999999' } });
  expect(await sinkTo().deliver([noticeOf()])).toMatchObject({ retryAfterMs: 3_600_000 });
});

test('a receiver that says nothing is given up on in time', async () => {
  receiver.answers.push('silence');
  const result = await sinkTo(receiver.url, { timeoutMs: 50 }).deliver([noticeOf()]);
  expect(result).toMatchObject({ because: 'unavailable', fault: 'The receiver did not answer in time.' });
});

test('a receiver that says too much is not listened to, and has taken it all the same', async () => {
  receiver.answers.push({ status: 200, body: 'x'.repeat(10_000_000) });
  expect(await sinkTo().deliver([noticeOf()])).toEqual({ accepted: 1 });
  expect(await sinkTo().deliver([noticeOf()])).toEqual({ accepted: 1 });
});

test('a receiver that is not there is unavailable', async () => {
  const { url } = receiver;
  await receiver.close();
  expect(await sinkTo(url).deliver([noticeOf()])).toMatchObject({
    because: 'unavailable',
    fault: 'The connection to the receiver failed (ECONNREFUSED).',
  });
  receiver = await startReceiver();
});

test('a proxy of the environment is not used', async () => {
  const before = process.env['http_proxy'];
  process.env['http_proxy'] = 'http://127.0.0.1:1';
  try {
    expect(await sinkTo().deliver([noticeOf()])).toEqual({ accepted: 1 });
  } finally {
    if (before === undefined) delete process.env['http_proxy'];
    else process.env['http_proxy'] = before;
  }
});

test('by https, only a receiver whose certificate the configured authorities vouch for is told anything', async () => {
  const tls = selfSigned();
  let requests = 0;
  const server = createServer({ cert: tls.cert, key: tls.key }, (_request, response) => {
    requests += 1;
    response.end();
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  try {
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    expect(await sinkTo(url).deliver([noticeOf()])).toMatchObject({ because: 'unavailable' });
    expect(requests).toBe(0);
    expect(await sinkTo(url, { ca: tls.cert }).deliver([noticeOf()])).toEqual({ accepted: 1 });
  } finally {
    sink?.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

test.each([
  ['without its prefix', freshBytes(32).toString('base64')],
  ['too short', `whsec_${freshBytes(23).toString('base64')}`],
  ['too long', `whsec_${freshBytes(65).toString('base64')}`],
  ['not base64', `whsec_${'!'.repeat(44)}`],
])('a secret that is %s is none', (_what, text) => {
  expect(parseWebhookSecret(text)).toBeUndefined();
});
