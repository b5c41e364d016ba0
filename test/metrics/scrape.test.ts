import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { join } from 'node:path';

import { parse } from 'yaml';

import { MEANS } from '../../src/escrow/ledger/means.js';
import { ERROR_CODES } from '../../src/escrow/records/errors.js';
import { LIMITS_MS } from '../support/limits.js';
import { agree, askToOperate, makeKey, signingScope } from '../support/life.js';
import { freePort } from '../support/freePort.js';
import { grantOf } from '../support/oneKey.js';
import { keptLog } from '../support/operatorLines.js';
import { type System, makeSystem } from '../support/system.js';
import { until } from '../support/waiting.js';
import { testWitness } from '../log/witnessKeys.js';
import { type Exposition, readExposition } from './exposition.js';

/* A daemon that has worked, refused, and has a witness and a sink that do not answer; and what /metrics says of it. */

jest.setTimeout(LIMITS_MS.system);

const WITNESS = testWitness('silent.example');
const SECRET = 'whsec_c2VjcmV0IG9mIHRoaXMgd2ViaG9vaywgMzIgYnl0ZXM=';
const { log, lines } = keptLog();

let system: System;
let grant: string;
let filedAt: number;

beforeAll(async () => {
  const nowhere = await freePort();
  system = await makeSystem({
    operatorLog: log,
    config: ({ place }, directory) => {
      writeFileSync(join(directory, 'hook.secret'), SECRET, { mode: 0o600 });
      return {
        token: {
          profile: 'softhsm-2.6',
          ...{ label: place.label, environment: place.environment },
          ...{ pinFile: 'user.pin', record: 'record.json', selfTest: 'quick', maxGrants: 7, probeMs: 100 },
        },
        surveyMs: 100,
        inventoryMs: 300,
        witnesses: [{ key: WITNESS.vkey, url: `http://127.0.0.1:${nowhere}` }],
        notifications: {
          allowHosts: ['127.0.0.1'],
          webhooks: [{ name: 'desk', url: `http://127.0.0.1:${nowhere}/`, secretFiles: ['hook.secret'] }],
        },
      };
    },
  });
  const { key } = await makeKey(system, { spec: 'ec-p256', use: 'sign' });
  const { recovery } = await askToOperate(system, key, signingScope());
  grant = grantOf(await agree(system, recovery));
  filedAt = Date.now();
  await askToOperate(system, key, signingScope());
  const message = Buffer.from('an invoice').toString('base64url');
  const order = { mechanism: 'ES256', messages: [message, message] } as const;
  await system.client('app').sign(grant, order);
  await expect(system.client('app').sign(grant, order)).rejects.toThrow();
});
afterAll(() => system.remove());

async function scrape(): Promise<Exposition & { readonly text: string; readonly type: string }> {
  const response = await fetch(`${system.management()}/metrics`);
  expect(response.status).toBe(200);
  const text = await response.text();
  return { ...readExposition(text), text, type: response.headers.get('content-type') ?? '' };
}

/** Sends what a stranger may. */
function ask(method: string, path: string): Promise<number> {
  const agent = new Agent({ rejectUnauthorized: false, keepAlive: false });
  return new Promise((resolve, reject) => {
    request(`${system.url()}${path}`, { method, agent }, (response) => {
      response.resume().once('end', () => {
        resolve(response.statusCode ?? 0);
      });
    })
      .once('error', reject)
      .end();
  });
}

test('acts, requests, calls of the token and appends are counted by what they were', async () => {
  const { value, type, types } = await scrape();
  expect(type).toMatch(/^text\/plain; version=0\.0\.4/);
  expect(value('escrowd_acts_total', { act: 'key.generate' })).toBe(1);
  expect(value('escrowd_acts_total', { act: 'grant.sign', outcome: 'done', code: '' })).toBe(1);
  expect(value('escrowd_acts_total', { act: 'grant.sign', outcome: 'denied' })).toBe(1);
  expect(value('escrowd_acts_total', { act: 'recovery.activate', outcome: 'done' })).toBe(1);
  const route = { method: 'POST', route: '/v1/grants/:grant/sign' };
  expect(value('escrowd_request_duration_seconds_count', { ...route, status: '2xx' })).toBe(1);
  expect(value('escrowd_request_duration_seconds_count', { ...route, status: '4xx' })).toBe(1);
  expect(value('escrowd_request_problems_total', { code: 'grant-exhausted' })).toBe(1);
  expect(value('escrowd_token_call_duration_seconds_count', { verb: 'sign' })).toBe(1);
  expect(value('escrowd_token_call_duration_seconds_count', { verb: 'generateUserKey' })).toBe(1);
  expect(value('escrowd_token_call_duration_seconds_count', { verb: 'signCheckpoint' })).toBeGreaterThan(0);
  await until(async () => {
    const now = await scrape();
    const recorded = now.value('escrowd_log_append_duration_seconds_count', { result: 'recorded' });
    return now.value('escrowd_log_entries') === recorded;
  });
  expect(types.get('escrowd_acts_total')).toBe('counter');
});

test('what there is, and what waits, is told as it is', async () => {
  const certificate = new X509Certificate(readFileSync(join(system.directory, 'server.crt')));
  await until(async () => {
    const { samples } = await scrape();
    const has = (name: string, least: number): boolean =>
      samples.some((sample) => sample.name === name && sample.value >= least);
    return (
      has('escrowd_keys_timestamp_seconds', filedAt / 1000) &&
      has('escrowd_recoveries_timestamp_seconds', filedAt / 1000) &&
      has('escrowd_token_objects_timestamp_seconds', filedAt / 1000) &&
      has('escrowd_sink_failing', 1) &&
      has('escrowd_sink_oldest_waiting_timestamp_seconds', 1) &&
      // what is just being made may be counted at one look
      ['escrowd_log_unintegrated_entries', 'escrowd_token_objects_unaccounted'].every((none) =>
        samples.some(({ name, value }) => name === none && value === 0),
      )
    );
  });
  const { value, samples } = await scrape();
  for (const up of ['ready', 'token_up', 'database_up', 'log_writable', 'log_checkpoint_follows'])
    expect([up, value(`escrowd_${up}`)]).toEqual([up, 1]);
  expect(value('escrowd_token_grants')).toBe(1);
  expect(value('escrowd_token_grants_limit')).toBe(7);
  expect(value('escrowd_token_objects', { kind: 'grant' })).toBe(1);
  expect(value('escrowd_token_objects', { kind: 'transport' })).toBe(1);
  expect(value('escrowd_token_objects_unaccounted')).toBe(0);
  expect(value('escrowd_token_openings_total')).toBe(1);
  expect(value('escrowd_keys', { coverage: 'covered' })).toBe(1);
  expect(value('escrowd_keys', { coverage: 'lost' })).toBe(0);
  expect(value('escrowd_recoveries_open', { status: 'pending' })).toBe(1);
  expect(value('escrowd_recoveries_open', { status: 'approved' })).toBe(0);
  expect(Math.abs(value('escrowd_recovery_oldest_pending_timestamp_seconds') - filedAt / 1000)).toBeLessThan(
    60,
  );
  expect(value('escrowd_sink_waiting_entries', { sink: 'webhook:desk' })).toBeGreaterThan(0);
  expect(value('escrowd_sink_given_up_notices', { sink: 'webhook:desk' })).toBe(0);
  expect(value('escrowd_witness_cosigns', { witness: WITNESS.key.name })).toBe(0);
  expect(value('escrowd_witness_cosigned_timestamp_seconds', { witness: WITNESS.key.name })).toBe(0);
  expect(value('escrowd_tls_certificate_expiry_timestamp_seconds')).toBe(
    new Date(certificate.validTo).getTime() / 1000,
  );
  expect(value('escrowd_database_connections_limit')).toBe(8);
  expect(value('escrowd_database_connections_waiting')).toBe(0);
  expect(value('escrowd_clock_apart_seconds')).toBe(0);
  expect(value('process_start_time_seconds')).toBeGreaterThan(0);
  expect(samples.filter(({ name }) => name === 'escrowd_alarms')).toEqual([]);
});

test('an alarm is told until it is over, and a request that has ended waits no more', async () => {
  log.error('made up', { alarm: 'token-object-foreign' });
  await until(async () => {
    const { samples } = await scrape();
    return samples.some(
      ({ name, labels }) => name === 'escrowd_alarms' && labels['alarm'] === 'token-object-foreign',
    );
  });
  const open = await system.client('manager').recoveries({});
  const pending = open.items.find(({ status }) => status === 'pending')?.recovery ?? '';
  await system.client('manager').cancel(pending, 'no more');
  await until(async () => {
    const { samples } = await scrape();
    return !samples.some(({ name }) => name === 'escrowd_recovery_oldest_pending_timestamp_seconds');
  });
  expect((await scrape()).value('escrowd_recoveries_open', { status: 'pending' })).toBe(0);
});

/** The labels that there are, with what each may say. Those of Node's own metrics are beside them. */
const SAID: Readonly<Record<string, RegExp>> = {
  act: new RegExp(
    `^(${[...Object.keys(MEANS), 'other'].map((name) => name.replace('.', '\\.')).join('|')})$`,
  ),
  outcome: /^(done|denied|failed)$/,
  code: new RegExp(`^(${Object.keys(ERROR_CODES).join('|')}|)$`),
  method: /^(GET|POST|other)$/,
  route: /^(none|\/(healthz|readyz|openapi\.json)|\/v1(\/([a-z-]+|:[a-z]+|\*tile))+)$/,
  status: /^([1-5]xx|pending|approved)$/,
  verb: /^[a-zA-Z]+$/,
  kind: /^(grant|transport|import)$/,
  result: /^(recorded|not-held|failed)$/,
  coverage: /^(lost|one-quorum|single-point|covered)$/,
  sink: /^webhook:desk$/,
  witness: /^silent\.example$/,
  state: /^(used|idle)$/,
  alarm: /^token-object-foreign$/,
  version: /^\d+\.\d+\.\d+$/,
  le: /^(\+Inf|[0-9.]+)$/,
};

test('nothing in it is secret or names a person, and strangers make no line of it', async () => {
  await ask('GET', '/v1/keys');
  await ask('GET', '/v1/nothing');
  await ask('PROPFIND', '/v1/nothing');
  const before = await scrape();
  for (let at = 0; at < 30; at += 1) {
    await ask('GET', `/v1/stranger-${at}?x=${at}`);
    await ask('PROPFIND', `/v1/grants/grant_${String(at).padStart(32, '0')}/sign-${at}`);
  }
  const after = await scrape();
  const ours = after.samples.filter(({ name }) => name.startsWith('escrowd_'));
  expect(ours.length).toBe(before.samples.filter(({ name }) => name.startsWith('escrowd_')).length);
  for (const { name, labels } of ours)
    for (const [label, said] of Object.entries(labels))
      expect([name, label, said, SAID[label]?.test(said)]).toEqual([name, label, said, true]);
  expect(after.text).not.toMatch(/\b(key|rec|grant|act|imp|ntc)_[0-9a-f]{32}\b/);
  expect(after.text).not.toMatch(/officer|whsec|127\.0\.0\.1/);
});

describe('the alert rules and the page about them', () => {
  const page = readFileSync('docs/watching.md', 'utf8');
  const rules = parse(readFileSync('docs/examples/escrowd.rules.yaml', 'utf8')) as {
    groups: { rules: { alert: string; expr: string; annotations: { summary: string } }[] }[];
  };
  const all = rules.groups.flatMap((group) => group.rules);
  const namesIn = (text: string): string[] => [
    ...new Set(text.match(/\b(escrowd|process|nodejs)_[a-z0-9_]*[a-z0-9]\b/g) ?? []),
  ];

  test('name no metric that a scrape has not, and the page names each', async () => {
    const { types } = await scrape();
    const isThere = (name: string): boolean =>
      types.has(name) || types.has(name.replace(/_(count|bucket|sum)$/, ''));
    expect(namesIn(all.map(({ expr }) => expr).join('\n')).length).toBeGreaterThan(20);
    for (const name of [...namesIn(all.map(({ expr }) => expr).join('\n')), ...namesIn(page)])
      expect([name, isThere(name)]).toEqual([name, true]);
    const ours = [...types.keys()].filter((name) => name.startsWith('escrowd_'));
    for (const name of ours) expect([name, page.includes(`\`${name}\``)]).toEqual([name, true]);
  });

  test('name only labels, and values of them, that there are', async () => {
    const { samples } = await scrape();
    for (const { expr } of all)
      for (const [, name = '', selector = ''] of expr.matchAll(/\b(escrowd_[a-z0-9_]+)\{([^}]*)\}/g))
        for (const [, label = '', is = ''] of selector.matchAll(/(\w+)=~?"([^"]*)"/g)) {
          expect([expr, label, samples.some((one) => one.name === name && label in one.labels)]).toEqual([
            ...[expr, label, true],
          ]);
          expect([expr, is, is.split('|').every((each) => SAID[label]?.test(each))]).toEqual([
            expr,
            is,
            true,
          ]);
        }
  });

  test('each alert has a row that says what it wants, and a test that it fires', () => {
    const named = all.map(({ alert }) => alert).sort();
    const rows = [...page.matchAll(/^\| `(Escrowd\w+)` +\| (\S.*\S) +\|$/gm)].map(([, alert]) => alert ?? '');
    expect(rows.sort()).toEqual(named);
    const tests = readFileSync('docs/examples/escrowd.rules.test.yaml', 'utf8');
    const fires = [...tests.matchAll(/alertname="(\w+)"/g)].map(([, alert]) => alert ?? '');
    expect(fires.sort()).toEqual(named);
  });
});

test('promtool takes the alert rules, and their tests pass, where scripts/test or the system has it', () => {
  const fetched = join('node_modules', '.cache', 'promtool');
  const promtool = existsSync(fetched) ? fetched : 'promtool';
  const run = (...args: string[]): ReturnType<typeof spawnSync> =>
    spawnSync(promtool, args, { encoding: 'utf8' });
  if (run('--version').error !== undefined) return;
  for (const [what, file] of [
    ['check', 'escrowd.rules.yaml'],
    ['test', 'escrowd.rules.test.yaml'],
  ] as const) {
    const { status, stdout, stderr } = run(what, 'rules', join('docs', 'examples', file));
    expect([what, status, `${String(stdout)}${String(stderr)}`]).toEqual([what, 0, expect.any(String)]);
  }
});

test('every request of this life has one line in the operators’ log, and none has a secret in it', () => {
  const requests = lines.filter(({ message }) => message === 'request');
  const ids = requests.map(({ requestId }) => requestId);
  expect(new Set(ids).size).toBe(ids.length);
  const signed = requests.filter(({ what }) => what === 'POST /v1/grants/:grant/sign');
  expect(signed.map(({ who, status, code }) => [who, status, code])).toEqual([
    ['app', 200, undefined],
    ['app', 403, 'grant-exhausted'],
  ]);
  expect(signed.every(({ entry }) => typeof entry === 'number')).toBe(true);
  expect(JSON.stringify(requests)).not.toMatch(/Escrowd-JWS|stranger-|whsec|grant_[0-9a-f]/);
});
