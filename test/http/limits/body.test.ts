import type { IncomingMessage } from 'node:http';
import { PassThrough } from 'node:stream';

import { readBody } from '../../../src/http/limits/body.js';

/** A request whose body has eight bytes. */
const arriving = (): PassThrough & IncomingMessage =>
  Object.assign(new PassThrough(), { headers: { 'content-length': '8' } }) as unknown as PassThrough &
    IncomingMessage;

test('a body is read as it came, in parts', async () => {
  const request = arriving();
  const reading = readBody(request, 8);
  request.write('half');
  request.end('rest');
  expect(Buffer.from(await reading).toString()).toBe('halfrest');
});

test('of a body that was let pass in part, the rest is not taken for the body', async () => {
  const request = arriving();
  const passed = new Promise((resolve) => request.once('data', resolve));
  request.write('half');
  await passed;
  const reading = readBody(request, 8);
  request.end('rest');
  await expect(reading).rejects.toMatchObject({ code: 'request-malformed' });
});
