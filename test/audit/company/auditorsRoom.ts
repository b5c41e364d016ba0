import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { FakeLog, FakeServer, type Incoming } from '../../client/fakeServer.js';
import { encodeEntry } from '../../../src/log/entry/entry.js';
import { documentHash } from '../../../src/log/export/format.js';
import type { Place } from './played.js';
import { LOG_KEY, ORIGIN } from './logKey.js';
import { ADMINISTRATORS, companyYear } from './year.js';

/** Where an auditor sits: files that were given to them, and the server of the company. */
export interface AuditorsRoom extends Place {
  readonly directory: string;
  readonly close: () => Promise<void>;
}

/** The evening of the last day of the year. */
const NOW = new Date('2026-11-30T17:05:00.000Z');

/** Opens one, with a server that shows the log of the company's year. */
export async function openAuditorsRoom(): Promise<AuditorsRoom> {
  const directory = mkdtempSync(join(tmpdir(), 'escrowctl-'));
  const year = await companyYear();
  const server = new FakeServer();
  server.log = new FakeLog(LOG_KEY);
  server.log.entries.push(...year.entries.map((entry) => Buffer.from(encodeEntry(entry)).toString()));
  server.routes.set('GET /v1/log/entries', ({ target }: Incoming) => {
    const query = new URL(target, 'https://x').searchParams;
    const from = Number(query.get('from'));
    const some = server.log.entries.slice(from, from + Number(query.get('limit')));
    return { json: { items: some.map((entry, at) => ({ index: from + at, entry })) } };
  });
  server.routes.set('GET /v1/log/policies', () => ({
    json: {
      items: year.documents.map((document, at) => ({
        version: at + 1,
        hash: documentHash(document),
        document,
      })),
    },
  }));
  await server.listen();
  const path = (name: string): string => join(directory, name);
  const given = (name: string, content: string): string => {
    writeFileSync(path(name), content, { mode: 0o600 });
    return path(name);
  };
  return {
    directory,
    now: NOW,
    paths: {
      '~/.escrowd': path('identity'),
      'https://escrow.example.com:8443': server.url,
      'ca.pem': given('ca.pem', server.ca),
      'record.json': given('record.json', JSON.stringify({ ...server.record, origin: ORIGIN })),
      'administrators.json': given('administrators.json', JSON.stringify(ADMINISTRATORS)),
      'checkpoint.txt': path('checkpoint.txt'),
      'log.ndjson': path('log.ndjson'),
    },
    close: async () => {
      await server.stop();
      rmSync(directory, { recursive: true });
    },
  };
}
