import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { FILES } from '../../src/client/identity/identity.js';
import { createIdentity, pinServer } from '../../src/client/identity/newIdentity.js';
import { parseCeremonyRecord } from '../../src/client/serverPins.js';
import { FakeServer } from '../client/fakeServer.js';
import { depositaryPair } from '../client/scene.js';

/** A directory with an identity in it, and the fake server that it has pinned. */
export interface Office {
  readonly root: string;
  /** The identity directory of dana, a depositary. */
  readonly dana: string;
  readonly server: FakeServer;
  path(name: string): string;
  close(): Promise<void>;
}

/** Opens an office; the depositary's RSA key is that of the scene. */
export async function openOffice(): Promise<Office> {
  const root = mkdtempSync(join(tmpdir(), 'escrowctl-'));
  const server = new FakeServer();
  await server.listen();
  const dana = join(root, 'dana');
  await createIdentity(dana, { id: 'dana', depositary: false, deliveryKey: false });
  const key = depositaryPair.privateKey.export({ format: 'pem', type: 'pkcs8' });
  writeFileSync(join(dana, FILES.depositaryKey), key, { mode: 0o600 });
  const pins = { server: server.url, ...parseCeremonyRecord(JSON.stringify(server.record)) };
  await pinServer(dana, pins, server.ca);
  return {
    root,
    dana,
    server,
    path: (name) => join(root, name),
    close: async () => {
      await server.stop();
      rmSync(root, { recursive: true });
    },
  };
}
