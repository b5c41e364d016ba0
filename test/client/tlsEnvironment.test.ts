import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';

import { testWitness } from '../log/witnessKeys.js';
import { selfSigned } from '../support/certificate.js';
import { transpileTs } from '../support/runTs.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.programs);

const pinned = selfSigned();
const foreign = selfSigned();
const directory = mkdtempSync(join(tmpdir(), 'escrowd-unverified-'));
afterAll(() => {
  rmSync(directory, { recursive: true });
});

test('NODE_TLS_REJECT_UNAUTHORIZED=0 lets nobody but the pinned server read what is sent', async () => {
  const read: string[] = [];
  const server = createServer(foreign, (request, response) => {
    void buffer(request).then(() => {
      read.push(request.url ?? '');
      response.end('{}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const program = transpileTs(join(__dirname, 'unverified.ts'), directory);
  const child = spawn(process.execPath, [program, String(port), pinned.cert, testWitness('w.example').vkey], {
    env: { PATH: process.env['PATH'], NODE_TLS_REJECT_UNAUTHORIZED: '0', NODE_NO_WARNINGS: '1' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const told = JSON.parse(await text(child.stdout)) as unknown;
  server.close();
  // the control: a connection that does not say so itself
  expect(read).toEqual(['/plain']);
  expect(told).toEqual({ plain: 'sent', client: 'refused', witness: 'refused', webhook: 'refused' });
});
