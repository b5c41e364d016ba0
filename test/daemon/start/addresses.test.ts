import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';

import { authorityOf, refusedAddress, requireFree } from '../../../src/daemon/start/addresses.js';

test.each([
  ['127.0.0.1', 'https://127.0.0.1:8443'],
  ['::1', 'https://[::1]:8443'],
  ['::', 'https://[::]:8443'],
  ['escrow.example.com', 'https://escrow.example.com:8443'],
])('of %s the URL is %s', (host, url) => {
  expect(`https://${authorityOf({ host, port: 8443 })}`).toBe(url);
  expect(new URL(url).port).toBe('8443');
});

test('an address is tried and given back, and one that is taken is named', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const taken = { member: 'listen', host: '127.0.0.1', port } as const;
  await expect(requireFree(taken)).rejects.toMatchObject({
    isInUse: true,
    message: expect.stringContaining(`listen: 127.0.0.1:${port}: cannot listen there`) as string,
  });
  server.close();
  await once(server, 'close');
  await requireFree(taken);
  await requireFree(taken);
  const cause = Object.assign(new Error('in use'), { code: 'EADDRINUSE' });
  expect(refusedAddress({ ...taken, host: '::1' }, cause).message).toContain(`listen: [::1]:${port}: `);
});
