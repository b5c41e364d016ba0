import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { FILES, Identity } from '../../../src/client/identity/identity.js';
import { createIdentity, pinServer } from '../../../src/client/identity/newIdentity.js';
import { parseCeremonyRecord } from '../../../src/client/serverPins.js';
import { readTrustedFile } from '../../../src/client/files/trustedFile.js';
import { FakeServer } from '../fakeServer.js';

let top: string;
let directory: string;
const server = new FakeServer();

beforeAll(async () => {
  await server.listen();
  top = mkdtempSync(join(tmpdir(), 'escrowd-trusted-'));
  directory = join(top, 'home', 'dana');
  mkdirSync(join(top, 'home'));
  await createIdentity(directory, { id: 'dana', depositary: true, deliveryKey: false });
  const pins = { server: server.url, ...parseCeremonyRecord(JSON.stringify(server.record)) };
  await pinServer(directory, pins, server.ca);
  writeFileSync(join(directory, FILES.state), '{}\n', { mode: 0o600 });
});
afterAll(async () => {
  rmSync(top, { recursive: true });
  await server.stop();
});

/** Everything that a command does with an identity's files. */
async function use(): Promise<void> {
  const identity = await Identity.open(directory);
  const client = await identity.connect({ deadlineMs: 1000, now: () => new Date() });
  client.close();
  await identity.depositaryKey();
  await identity.memory.last();
}

const code = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'believed',
    (error: unknown) => (error as { readonly code?: unknown }).code,
  );

const files = [FILES.identity, FILES.ca, FILES.state, FILES.signingKey, FILES.depositaryKey];
const places: readonly (readonly [string, () => string])[] = [
  ...files.map((name) => [name, () => join(directory, name)] as const),
  ['the directory', () => directory],
  ['a directory above it', () => join(top, 'home')],
];

describe.each(places)('%s', (_name, path) => {
  test.each([
    ['its group', 0o020],
    ['everybody', 0o002],
  ])('is not believed while %s can write it', async (_who, bit) => {
    await use();
    const { mode } = statSync(path());
    chmodSync(path(), mode | bit);
    expect(['identity-exposed', 'key-exposed']).toContain(await code(use()));
    chmodSync(path(), mode);
    await use();
  });
});

test('a sticky directory above, such as /tmp, is believed; a link leads to what it names', async () => {
  chmodSync(join(top, 'home'), 0o1777);
  await use();
  const exposed = join(top, 'exposed');
  writeFileSync(exposed, 'x');
  chmodSync(exposed, 0o666);
  symlinkSync(exposed, join(directory, 'link'));
  expect(await code(readTrustedFile(join(directory, 'link')))).toBe('identity-exposed');
});
