import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { stringify, parse } from 'yaml';

import { believeRecovery } from '../../src/client/depositary/depositary.js';
import { Identity } from '../../src/client/identity/identity.js';
import { NotBelieved } from '../../src/client/errors.js';
import { exportLog } from '../../src/client/log/logExport.js';
import { pinWitnesses } from '../../src/client/identity/newIdentity.js';
import { verifyExport } from '../../src/audit/verifyExport.js';
import { lockState } from '../../src/witness/stateLock.js';
import { knownLogs, Witness } from '../../src/witness/witness.js';
import { cosignerOf } from '../../src/witness/key.js';
import { serveWitness, type RunningWitness } from '../../src/witness/server.js';
import { createState, openState } from '../../src/witness/state.js';
import type { KeyReply } from '../../src/api/replies.js';
import { openCheckpoint } from '../../src/log/note/checkpoint.js';
import { cosignaturesOn, parseWitnessKey } from '../../src/log/note/cosignature.js';
import { createOperatorLog } from '../../src/daemon/operatorLog.js';
import type { System } from '../support/system.js';
import { makeSystem, ORIGIN } from '../support/system.js';
import { testWitness } from '../log/witnessKeys.js';
import { filed, toOperate } from './recoveries.js';
import { until } from '../support/waiting.js';
import { LIMITS_MS } from '../support/limits.js';
import { freshName } from '../support/fresh.js';

jest.setTimeout(LIMITS_MS.system);

/** A witness that can be started and stopped, and keeps its place and state. */
class Neighbour {
  readonly name: string;
  readonly directory = mkdtempSync(join(tmpdir(), 'neighbour-'));
  readonly witness = testWitness(`${freshName()}.example`);
  readonly #cosigner = cosignerOf(this.witness.key.name, this.witness.privateKey);
  #running: RunningWitness | undefined;
  #unlock: (() => void) | undefined;
  port = 0;

  constructor(name: string) {
    this.name = name;
  }

  async start(logKey: string): Promise<void> {
    if (this.port === 0) await createState(this.directory, this.witness.vkey);
    this.#unlock = lockState(this.directory);
    const witness = new Witness({
      cosigner: this.#cosigner,
      state: await openState(this.directory, this.witness.vkey),
      logs: knownLogs([logKey]),
      now: () => new Date(),
    });
    const quiet = (): void => undefined;
    this.#running = await serveWitness(
      { witness, onAnswer: quiet, onFault: quiet },
      { host: '127.0.0.1', port: this.port },
    );
    ({ port: this.port } = this.#running);
  }

  async stop(): Promise<void> {
    await this.#running?.stop();
    this.#unlock?.();
    this.#running = undefined;
    this.#unlock = undefined;
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.directory, { recursive: true });
  }
}

const SHORT = { totalMs: 300, retryMs: 50 };
const one = new Neighbour('one');
const two = new Neighbour('two');
const keys = [one.witness.vkey, two.witness.vkey];
const heard: string[] = [];
let system: System;
let key: KeyReply;
let logKey: string;

beforeAll(async () => {
  const operatorLog = createOperatorLog('warn', false);
  for (const transport of operatorLog.transports) transport.silent = true;
  operatorLog.on('data', ({ message }: { readonly message: string }) => heard.push(message));
  system = await makeSystem({ operatorLog });
  ({ logKey } = system.identity('auditor').pins);
  await one.start(logKey);
  await two.start(logKey);
  await two.stop();
  // the key of the log is known only now: the daemon is told of its witnesses as an operator would do it
  await system.stopDaemon();
  const config = parse(readFileSync(system.configFile, 'utf8')) as Record<string, unknown>;
  config['witnesses'] = [one, two].map(({ witness, port }) => ({
    key: witness.vkey,
    url: `http://127.0.0.1:${port}`,
  }));
  config['witnessing'] = { timeoutMs: 60_000, intervalMs: 50 };
  writeFileSync(system.configFile, stringify(config));
  await system.startDaemon();
  key = (await system.client('owner').generateKey({ owner: 'owner', spec: 'ec-p256', use: 'sign' })).result;
});
afterAll(async () => {
  await system.remove();
  await one.remove();
  await two.remove();
});

/** The manager, who now asks for so many witnesses. */
async function manager(require: number | undefined): Promise<Identity> {
  const { directory } = system.identity('manager');
  await pinWitnesses(directory, require === undefined ? undefined : { keys, require });
  return Identity.open(directory);
}

/** Looks at a fresh request with the manager's eyes. */
async function believeAs(identity: Identity, patience = SHORT): Promise<number> {
  const { recovery } = await filed(system, toOperate(key));
  const client = system.client('manager');
  const { origin, identityKey } = identity.pins;
  const log = identity.logView(client, patience);
  const shown = await client.recovery(recovery);
  const { checkpoint } = await believeRecovery(shown, {
    ...{ origin, identityKey, log, now: new Date() },
    ...{ depositary: identity.id, generations: identity.generations },
    approvedKeys: identity.approvedKeys,
  });
  return checkpoint.size;
}

const PATIENT = { totalMs: 60_000, retryMs: 50 };

describe('with one witness of two away', () => {
  test('who requires one believes a request, and the witness has seen it', async () => {
    const size = await believeAs(await manager(1), PATIENT);
    const { keyId } = one.witness.key;
    const seen = await system.client('manager').witnessedCheckpoint(1, [keyId.toString(16).padStart(8, '0')]);
    expect(openCheckpoint(seen ?? '', logKey, ORIGIN).size).toBeGreaterThanOrEqual(size - 1);
    expect(cosignaturesOn(seen ?? '', [one.witness.key, two.witness.key])).toHaveLength(1);
  });

  test('who requires two does not, and is told how many there are', async () => {
    const identity = await manager(2);
    await expect(believeAs(identity)).rejects.toMatchObject({
      code: 'witnesses-missing',
      detail: expect.stringMatching(/^[01] of the 2 witnesses required have cosigned/) as string,
    });
    const log = identity.logView(system.client('manager'), SHORT);
    const { size } = await log.believe(await system.client('manager').checkpoint());
    const told = async (): Promise<string> => {
      const error: unknown = await log.believeWitnessed(size).catch((thrown: unknown) => thrown);
      return error instanceof NotBelieved ? error.detail : '';
    };
    await until(async () => (await told()).startsWith('1 of the 2 witnesses'));
  });

  test('the daemon is ready, says so once to its operator, and notes it', async () => {
    await until(async () => (await system.health()).notes.length > 0);
    expect(await system.health()).toMatchObject({
      status: 'ready',
      notes: [`The witness ${two.witness.key.name} does not cosign now.`],
    });
    const told = heard.filter((message) => message.includes(two.witness.key.name));
    expect(told).toHaveLength(1);
  });
});

describe('with both', () => {
  beforeAll(() => two.start(logKey));

  test('who requires two believes a request; and the daemon has nothing to note', async () => {
    expect(await believeAs(await manager(2), PATIENT)).toBeGreaterThan(0);
    await until(async () => (await system.health()).notes.length === 0);
  });

  test('an export carries both cosignatures, and is verified with them offline', async () => {
    const { directory } = system.identity('auditor');
    await pinWitnesses(directory, { keys, require: 2 });
    const auditor = await Identity.open(directory);
    const client = system.client('auditor');
    const path = join(system.directory, 'export.ndjson');
    const log = auditor.logView(client, PATIENT);
    await exportLog({ client, log, origin: ORIGIN, logKey, path });
    const check = { path, logKey, witnesses: { keys, require: 2 } };
    expect((await verifyExport(check)).verdict).toMatchObject({
      ok: true,
      cosignedBy: keys.map((vkey) => parseWitnessKey(vkey).name),
    });
    const other = testWitness('stranger.example').vkey;
    expect(
      (await verifyExport({ ...check, witnesses: { keys: [one.witness.vkey, other], require: 2 } })).verdict,
    ).toMatchObject({
      ok: false,
      reason: expect.stringContaining('cosigned by 1 of the witnesses given, and 2 are required') as string,
    });
  });
});
