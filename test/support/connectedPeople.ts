import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import type { EscrowClient } from '../../src/client/escrowClient.js';
import { Identity } from '../../src/client/identity/identity.js';
import { pinServer } from '../../src/client/identity/newIdentity.js';
import { parseCeremonyRecord } from '../../src/client/serverPins.js';

/** People whose files lie in `people/<name>` of a directory, and their clients. */
export class ConnectedPeople<Name extends string> {
  readonly #directory: string;
  readonly #names: readonly Name[];
  readonly #now: () => Date;
  readonly #identities = new Map<Name, Identity>();
  readonly #clients = new Map<Name, EscrowClient>();

  constructor(directory: string, names: readonly Name[], now: () => Date) {
    this.#directory = directory;
    this.#names = names;
    this.#now = now;
  }

  /** Pins the server at this address for everybody, by the ceremony's record and its certificate `server.crt`. */
  async connect(server: string, record: string, origin: string): Promise<void> {
    const pins = { ...parseCeremonyRecord(record, origin), server };
    const ca = readFileSync(join(this.#directory, 'server.crt'), 'utf8');
    this.close();
    for (const name of this.#names) {
      const files = join(this.#directory, 'people', name);
      await pinServer(files, pins, ca);
      const identity = await Identity.open(files);
      this.#identities.set(name, identity);
      const how = { deadlineMs: 30_000, repeatForMs: 0, now: this.#now };
      this.#clients.set(name, await identity.connect(how));
    }
  }

  readonly identity = (name: Name): Identity => found(this.#identities, name);
  readonly client = (name: Name): EscrowClient => found(this.#clients, name);

  close(): void {
    for (const client of this.#clients.values()) client.close();
  }
}

function found<Name, T>(map: ReadonlyMap<Name, T>, name: Name): T {
  const value = map.get(name);
  if (value === undefined) throw new Error(`there is no ${String(name)}`);
  return value;
}
