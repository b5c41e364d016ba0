import { databaseFaults, databaseUrlsOf, shutOutDriver } from '../../../src/daemon/start/environment.js';

const URL = 'postgresql://escrowd@database.example.com/escrowd';

test.each([
  ['nothing of a database', {}],
  ['a URL', { DATABASE_URL: URL }],
  ['several hosts', { DATABASE_URL: 'postgresql://a@h1:5432,h2:5432/c?target_session_attrs=read-write' }],
  ['several hosts as a parameter', { DATABASE_URL: 'postgresql://a@/c?host=h1,h2' }],
  ['a URL with a socket', { DATABASE_URL: 'postgresql://escrowd:x@/escrowd?host=%2Frun%2Fpg&port=5433' }],
  ['a role in the parameters', { DATABASE_URL: 'postgresql://database.example.com/escrowd?user=escrowd' }],
  ['variables of the driver without a URL, which are shut out', { PGOPTIONS: '-c a=b' }],
  ['empty variables', { DATABASE_URL: URL, DATABASE_OWNER_URL: '', PGOPTIONS: '' }],
])('nothing is wrong with %s', (_what, environment) => {
  expect(databaseFaults(environment)).toEqual([]);
});

test.each<[string, Record<string, string>, RegExp]>([
  ['no URL of a database', { DATABASE_URL: 'mysql://a@b/c' }, /no postgresql:\/\/ URL/],
  [
    'several hosts, one without a name',
    { DATABASE_URL: 'postgresql://a@h1:5432,:5432/c' },
    /the 2\. is no host/,
  ],
  [
    'several hosts for a standby',
    { DATABASE_URL: 'postgresql://a@/c?host=h1,h2&target_session_attrs=standby' },
    /read-write/,
  ],
  [
    'a list of hosts for the owner that is none',
    { DATABASE_URL: URL, DATABASE_OWNER_URL: 'postgresql://a@h1,h1/c' },
    /OWNER_URL.*twice/,
  ],
  ['a password that is no part of a URL', { DATABASE_URL: 'postgresql://a:se[cret@h:port/c' }, /%40/],
  ['no role', { DATABASE_URL: 'postgresql://h/c', USER: 'root' }, /names no role/],
  ['a CA that is not there', { DATABASE_URL: `${URL}?sslrootcert=/nonexistent.pem` }, /nonexistent\.pem/],
  ['PGOPTIONS', { DATABASE_URL: URL, PGOPTIONS: '-c default_transaction_read_only=on' }, /^PGOPTIONS/],
  ['PGPASSWORD and another', { DATABASE_URL: URL, PGHOST: 'h', PGPASSWORD: 'secret' }, /^PGHOST, PGPASSWORD/],
  ['the native driver', { DATABASE_URL: URL, NODE_PG_FORCE_NATIVE: '1' }, /^NODE_PG_FORCE_NATIVE/],
])('%s is refused, and what to do is said', (_what, environment, message) => {
  const faults = databaseFaults(environment);
  const text = faults.map(({ where, what, do: remedy }) => `${where}: ${what}; ${remedy}`).join('\n');
  expect(text).toMatch(message);
  expect(text).not.toContain('secret');
  expect(text).not.toContain('se[cret');
  expect(faults).toHaveLength(1);
});

test('a URL that is empty is not given', () => {
  expect(databaseUrlsOf({ DATABASE_URL: '', DATABASE_OWNER_URL: '' })).toEqual({});
});

test('what the driver reads is taken out of the environment, unless a database is named by URL', () => {
  const environment = { PGOPTIONS: '-c a=b', PGUSER: 'x', PGDATA: '/data', HOME: '/root' };
  expect(shutOutDriver(environment)).toEqual(['PGOPTIONS', 'PGUSER']);
  expect(environment).toEqual({ PGDATA: '/data', HOME: '/root' });
  const named = { DATABASE_URL: URL, PGOPTIONS: '-c a=b' };
  expect(shutOutDriver(named)).toEqual([]);
  expect(named.PGOPTIONS).toBe('-c a=b');
});
