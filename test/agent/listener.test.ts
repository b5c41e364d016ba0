import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { listen, prepareDirectory } from '../../src/agent/listener.js';
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
  const listener = await listen(path, () => undefined).catch(({ message }: Error) => message);
  if (typeof listener !== 'string') await listener.close();
  for (const socket of waiting) socket.destroy();
  other.kill('SIGKILL');
  await ended;
  rmSync(directory, { recursive: true });
  expect(typeof listener === 'string' ? 'refused' : 'taken').toBe(outcome);
});
