import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { listen, prepareDirectory, SocketRefused } from '../../src/agent/listener.js';
import { until } from '../support/waiting.js';

/* Which sockets are left behind by an agent that is gone, and which are those of one that is there. */

const SERVER = `require('node:net').createServer().listen({ path: process.argv[1], backlog: 1 }, () => console.log('up'))`;

test.each([
  ['is stopped, and takes no connection,', 'SIGSTOP', 'refused'],
  ['was killed', 'SIGKILL', 'taken'],
] as const)('the place of an agent that %s', async (_name, signal, outcome) => {
  const directory = mkdtempSync(join(tmpdir(), 'escrowd-agent-'));
  await prepareDirectory(directory);
  const path = join(directory, 'ssh');
  const other = spawn(process.execPath, ['-e', SERVER, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(other, 'exit');
  await once(other.stdout, 'data');
  other.kill(signal);
  if (signal === 'SIGKILL') await ended;
  const full: string[] = [];
  const waiting = Array.from({ length: signal === 'SIGSTOP' ? 8 : 0 }, () =>
    connect(path).on('error', ({ message }) => full.push(message)),
  );
  if (signal === 'SIGSTOP') await until(() => full.length > 0);
  const listener = await listen(path, () => undefined).catch((error: unknown) =>
    error instanceof SocketRefused ? error.message : Promise.reject(error as Error),
  );
  if (typeof listener !== 'string') await listener.close();
  for (const socket of waiting) socket.destroy();
  other.kill('SIGKILL');
  await ended;
  rmSync(directory, { recursive: true });
  expect(typeof listener === 'string' ? 'refused' : 'taken').toBe(outcome);
});

describe('of two agents', () => {
  const nothing = (): void => undefined;
  let directory: string;
  let path: string;
  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'escrowd-agent-'));
    await prepareDirectory(directory);
    path = join(directory, 'ssh');
  });
  afterEach(() => {
    rmSync(directory, { recursive: true });
  });

  test('that begin at once over what one has left behind, one serves', async () => {
    const other = spawn(process.execPath, ['-e', SERVER, path], { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = once(other, 'exit');
    await once(other.stdout, 'data');
    other.kill('SIGKILL');
    await ended;
    const both = await Promise.allSettled([listen(path, nothing), listen(path, nothing)]);
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    for (const one of both) {
      if (one.status === 'fulfilled') await one.value.close();
      else expect(one.reason).toBeInstanceOf(SocketRefused);
    }
  });

  test('none begins while the socket of one was removed, so that closing removes no socket of another', async () => {
    const first = await listen(path, nothing);
    rmSync(path);
    await expect(listen(path, nothing)).rejects.toThrow('Another agent serves');
    await first.close();
    const second = await listen(path, nothing);
    expect(existsSync(path)).toBe(true);
    await second.close();
    expect(existsSync(path)).toBe(false);
  });
});
