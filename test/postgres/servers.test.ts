import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSecureContext, TLSSocket } from 'node:tls';

import { urlsOfHosts, whyNoDatabaseUrl } from '../../src/postgres/databaseUrl.js';
import { DatabaseAway, DatabaseRefused } from '../../src/postgres/faults.js';
import { Servers } from '../../src/postgres/servers.js';
import { freePort } from '../support/freePort.js';
import { until } from '../support/waiting.js';

// whatever fails, no connection is left open
afterAll(() => until(() => !process.getActiveResourcesInfo().includes('TCPSocketWrap')));

test.each<[string, readonly string[]]>([
  ['postgresql://a:p%40@h1:5433/c?sslmode=require', ['postgresql://a:p%40@h1:5433/c?sslmode=require']],
  [
    'postgresql://a:p%40@h1,h2:5433/c?sslmode=verify-full',
    [
      'postgresql://a:p%40@/c?sslmode=verify-full&host=h1&port=5432',
      'postgresql://a:p%40@/c?sslmode=verify-full&host=h2&port=5433',
    ],
  ],
  [
    'postgres://a@[::1]:1,[fe80::2]/c',
    ['postgres://a@/c?host=%3A%3A1&port=1', 'postgres://a@/c?host=fe80%3A%3A2&port=5432'],
  ],
  [
    'postgresql://a@/c?host=/run/a,db-2.test&port=5433',
    ['postgresql://a@/c?host=%2Frun%2Fa&port=5433', 'postgresql://a@/c?host=db-2.test&port=5433'],
  ],
  [
    'postgresql://a@/c?host=h1,h1&port=1,2&target_session_attrs=primary',
    [
      'postgresql://a@/c?host=h1&port=1&target_session_attrs=primary',
      'postgresql://a@/c?host=h1&port=2&target_session_attrs=primary',
    ],
  ],
])('%s is read host by host', (url, urls) => {
  expect(whyNoDatabaseUrl(url)).toBeUndefined();
  expect(urlsOfHosts(url)).toEqual(urls);
});

test.each<[string, RegExp]>([
  ['postgresql://a@h1,/c', /the 2\. is no host/],
  ['postgresql://a@,h1/c', /the 1\. is no host/],
  ['postgresql://a@h1,,h2/c', /the 2\. is no host/],
  ['postgresql://a@h1:0,h2/c', /the 1\. is no host/],
  ['postgresql://a@h1,h2:65536/c', /the 2\. is no host/],
  ['postgresql://a@h1,h2:5432x/c', /the 2\. is no host/],
  ['postgresql://a@h1:,h2/c', /the 1\. is no host/],
  ['postgresql://a@h1, h2/c', /the 2\. is no host/],
  ['postgresql://a@[::1,h2/c', /the 1\. is no host/],
  ['postgresql://a@[h1],h2/c', /list of hosts|cannot be read/],
  ['postgresql://a@h1,h1/c', /twice/],
  ['postgresql://a@h1,h1:5432/c', /twice/],
  ['postgresql://a@h1,h2/c?port=1', /two places/],
  ['postgresql://a@h1,h2/c?host=h3', /two places/],
  ['postgresql://a@h1/c?host=h2,h3', /two places/],
  ['postgresql://a@/c?host=h1,h2,h3&port=1,2', /as many ports/],
  ['postgresql://a@/c?host=h1&port=1,2', /as many ports/],
  ['postgresql://a@1,2,3,4,5,6,7,8,9/c', /more than 8/],
  ['postgresql://h1,h2/c', /names no role/],
  ['postgresql://a@h1,h2/c?target_session_attrs=any', /cannot be written to/],
  ['postgresql://a@h/c?target_session_attrs=prefer-standby', /cannot be written to/],
  ['postgresql://a@h1,h2/c?load_balance_hosts=random', /"load_balance_hosts" is none/],
  ['postgresql://a@h/c?hostaddr=10.0.0.1', /"hostaddr" is none/],
  ['postgresql://a@h/?dbname=escrow', /"dbname" is none/],
  ['postgresql://a@h/c?channel_binding=require', /"channel_binding" is none/],
  ['postgresql://a@h/c?statement_timeout=0', /"statement_timeout" is none/],
  ['postgresql://a@h/c?client_encoding=LATIN1', /"client_encoding" is none/],
  ['postgresql://a@h/c?sslmode=disable&sslmode=verify-full', /sslmode twice/],
])('%s is refused', (url, why) => {
  expect(whyNoDatabaseUrl(url)?.what).toMatch(why);
});

describe('over TLS', () => {
  const directory = mkdtempSync(join(tmpdir(), 'escrowd-servers-'));
  const [key, cert] = [join(directory, 'key'), join(directory, 'cert')];
  const sockets: Socket[] = [];
  let server: Server;
  let startups: number;

  beforeAll(async () => {
    const made = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '9'];
    const name = ['-subj', '/CN=db', '-addext', 'subjectAltName=DNS:localhost'];
    execFileSync('openssl', ['req', ...made, ...name, '-keyout', key, '-out', cert], { stdio: 'ignore' });
    const secureContext = createSecureContext({ key: readFileSync(key), cert: readFileSync(cert) });
    startups = 0;
    // as a server of PostgreSQL begins (its documentation, "SSL Session Encryption"), and hangs up at the first message
    server = createServer((socket) => {
      sockets.push(socket.on('error', () => undefined));
      socket.once('data', () => {
        socket.write('S');
        const secure = new TLSSocket(socket, { isServer: true, secureContext });
        sockets.push(secure.on('error', () => undefined));
        secure.once('data', () => {
          startups += 1;
          secure.destroy();
        });
      });
    });
    await new Promise<void>((resolve) => server.listen(0, resolve));
  });
  afterAll(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
    rmSync(directory, { recursive: true });
  });

  test('each host is known by its own name in the certificate, and none by that of another', async () => {
    const { port } = server.address() as AddressInfo;
    const url = `postgresql://a:b@127.0.0.1:${port},localhost:${port}/c?sslmode=verify-full&sslrootcert=${cert}`;
    const fault = await Servers.of(url)
      .connect('test', 10_000)
      .catch((error: unknown) => error);
    expect(fault).toBeInstanceOf(DatabaseRefused);
    expect(fault).toMatchObject({ reason: 'tls' });
    expect(String(fault)).toMatch(
      new RegExp(`127\\.0\\.0\\.1:${port}: [^;]*(IP: 127\\.0\\.0\\.1|altnames)[^;]*; localhost:${port}: `),
    );
    // where the name is not that of the certificate nothing was said, not even who asks
    expect(startups).toBe(1);
  });
});

test('where nobody answers, that is said of each host, and the password of none', async () => {
  const [one, two] = [await freePort(), await freePort()];
  const fault = await Servers.of(`postgresql://a:geheim@127.0.0.1:${one},127.0.0.1:${two}/c`)
    .connect('test', 4_000)
    .catch((error: unknown) => error);
  expect(fault).toBeInstanceOf(DatabaseAway);
  expect(String(fault)).toMatch(new RegExp(`127.0.0.1:${one}: .*REFUSED.*; 127.0.0.1:${two}: .*REFUSED`));
  expect(String(fault)).not.toContain('geheim');
});

test('a host that keeps silent has its part of the time, and the next is asked', async () => {
  const silent = createServer((socket) => socket.on('error', () => undefined).resume());
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const { port } = silent.address() as AddressInfo;
  const url = `postgresql://a:b@127.0.0.1:${port},127.0.0.1:${await freePort()}/c`;
  const fault = await Servers.of(url)
    .connect('test', 600)
    .catch((error: unknown) => error);
  expect(String(fault)).toMatch(/timeout expired.*REFUSED/);
  await new Promise((resolve) => silent.close(resolve));
});
