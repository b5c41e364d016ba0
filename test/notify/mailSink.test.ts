import type { PrincipalId } from '../../src/escrow/records/ids.js';
import type { MailOptions } from '../../src/notify/mailSink.js';
import { isMailAddress, MailSink } from '../../src/notify/mailSink.js';
import { selfSigned } from '../support/certificate.js';
import type { MailServer } from './receivers.js';
import { startMailServer } from './receivers.js';
import { everyKind, noticeOf, useOf } from './samples.js';

let server: MailServer;
let sink: MailSink | undefined;
let unreachable: string[] = [];
beforeEach(async () => {
  server = await startMailServer();
  unreachable = [];
});
afterEach(async () => {
  sink?.close();
  await server.close();
});

function sinkTo(more: Partial<MailOptions> = {}): MailSink {
  sink = new MailSink({
    host: '127.0.0.1',
    port: server.port,
    tls: 'none',
    from: 'escrowd@example.com',
    kinds: everyKind,
    timeoutMs: 10_000,
    origin: 'escrow.test/log',
    clock: { now: () => new Date() },
    addressOf: (person) => Promise.resolve(`${person}@example.com`),
    unreachable: (person, why) => unreachable.push(`${person}: ${why}`),
    ...more,
  });
  return sink;
}

test('a notice is one plain mail to one person', async () => {
  expect(await sinkTo().deliver([noticeOf(), noticeOf({ id: 'ntc_b' })])).toEqual({ accepted: 1 });
  expect(server.mails).toHaveLength(1);
  const [mail] = server.mails;
  expect(mail).toMatchObject({ from: 'escrowd@example.com', to: ['manager@example.com'], user: undefined });
  const [head = '', body = ''] = (mail?.text ?? '').split('\r\n\r\n', 2);
  expect(head).toContain('To: manager@example.com');
  expect(head).toContain('From: escrowd <escrowd@example.com>');
  expect(head).toContain('Subject: escrowd: a request waits for your decision');
  expect(head).toContain(`Message-ID: <${noticeOf().id}@example.com>`);
  expect(head).toContain('Content-Type: text/plain');
  expect(head).toContain('Auto-Submitted: auto-generated');
  expect(body).toContain('somebody asks for something');
});

test('uses that follow each other are one mail to their owner; those of another grant are another', async () => {
  const notices = [useOf('ntc_1'), useOf('ntc_2'), useOf('ntc_3', 'grant_2')] as const;
  expect(await sinkTo().deliver(notices)).toEqual({ accepted: 2 });
  expect(server.mails).toHaveLength(1);
  expect(server.mails[0]?.text).toContain('use ntc_1');
  expect(server.mails[0]?.text).toContain('use ntc_2');
  expect(server.mails[0]?.text).not.toContain('use ntc_3');
});

test('what somebody has written begins no header and no other mail', async () => {
  const text = 'x\r\nBcc: mallory@example.com\r\n.\r\nMAIL FROM:<mallory@example.com>\r\n';
  await sinkTo().deliver([noticeOf({ text, to: 'manager' as PrincipalId })]);
  expect(server.mails).toHaveLength(1);
  expect(server.mails[0]?.to).toEqual(['manager@example.com']);
  expect(server.mails[0]?.text.split('\r\n\r\n')[0]).not.toMatch(/bcc/i);
});

test.each([
  'a@example.com\r\nBcc: b@example.com',
  'a@example.com, b@example.com',
  'a@example.com b@example.com',
  'A <a@example.com>',
  '"a b"@example.com',
  'a@b@example.com',
  'a@example.com\u0000',
  'ä@example.com',
  'a@',
  '@example.com',
  'a@-example.com',
  `${'a'.repeat(65)}@example.com`,
  '',
])('%j is no address: nothing is sent, and the operator is told', async (address) => {
  expect(isMailAddress(address)).toBe(false);
  expect(await sinkTo({ addressOf: () => Promise.resolve(address) }).deliver([noticeOf()])).toEqual({
    accepted: 1,
  });
  expect(server.mails).toEqual([]);
  expect(unreachable).toEqual(['manager: their address is none']);
});

test('whoever has no address is told nothing by mail, which the operator reads once', async () => {
  const mute = sinkTo({ addressOf: () => Promise.resolve(undefined) });
  expect(await mute.deliver([noticeOf()])).toEqual({ accepted: 1 });
  expect(await mute.deliver([noticeOf()])).toEqual({ accepted: 1 });
  expect(unreachable).toEqual(['manager: there is no address of them']);
});

test.each([
  [550, 'refused'],
  [450, 'deferred'],
  [421, 'unavailable'],
])('a recipient that the server answers with %i is %s', async (code, because) => {
  server.refusals.push(code);
  expect(await sinkTo().deliver([noticeOf()])).toMatchObject({ because });
});

test('a server that is not there, and a directory that cannot be read, are waited for', async () => {
  const directory = sinkTo({ addressOf: () => Promise.reject(new Error('no database')) });
  expect(await directory.deliver([noticeOf()])).toMatchObject({ because: 'unavailable' });
  await server.close();
  expect(await sinkTo().deliver([noticeOf()])).toMatchObject({
    because: 'unavailable',
    fault: 'The mail server does not work (ESOCKET).',
  });
  server = await startMailServer();
});

test('credentials are sent under TLS only, which must be believed; wrong ones are for the operator to put right', async () => {
  const { cert, key } = selfSigned();
  const guarded = await startMailServer({ cert, key, authOptional: false });
  const credentials = { user: 'escrowd', password: 'open sesame' };
  const { port } = guarded;
  try {
    const strange = sinkTo({ port, tls: 'starttls', credentials });
    expect(await strange.deliver([noticeOf()])).toMatchObject({ because: 'unavailable' });
    const wrong = sinkTo({ port, tls: 'starttls', ca: cert, credentials: { ...credentials, password: '?' } });
    expect(await wrong.deliver([noticeOf()])).toMatchObject({ because: 'unavailable' });
    expect(guarded.mails).toEqual([]);
    const right = sinkTo({ port, tls: 'starttls', ca: cert, credentials });
    expect(await right.deliver([noticeOf()])).toEqual({ accepted: 1 });
    expect(guarded.mails).toMatchObject([{ user: 'escrowd', secure: true }]);
  } finally {
    await guarded.close();
  }
  // a server without STARTTLS is told nothing
  expect(await sinkTo({ tls: 'starttls', credentials }).deliver([noticeOf()])).toMatchObject({
    because: 'unavailable',
  });
  expect(server.mails).toEqual([]);
});

test('a server from which TLS is expected at once is not spoken to in the clear', async () => {
  const quick = sinkTo({ tls: 'implicit', timeoutMs: 500 });
  expect(await quick.deliver([noticeOf()])).toMatchObject({ because: 'unavailable' });
  expect(server.mails).toEqual([]);
});
