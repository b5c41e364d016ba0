import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { verifyExport } from '../../../src/audit/verifyExport.js';
import { decodeEntry, encodeEntry } from '../../../src/log/entry/entry.js';
import { administrators, goldenEntries, logKey, sealed } from '../../client/goldenLog.js';

/*
 * What was written in versions 1 and 2 stays readable, and is still written so: once there has been a release, the golden
 * export is never made anew to make these tests pass. A change that needs that is another version of the format.
 */
const path = join('test', 'log', 'golden', 'export.ndjson');
const golden = readFileSync(path);
const lines = golden.toString().trimEnd().split('\n');

describe('the golden export', () => {
  test('is what the log writes today, byte for byte', async () => {
    const today = sealed(await goldenEntries());
    expect(today.toString().split('\n')).toEqual(golden.toString().split('\n'));
    expect(today.equals(golden)).toBe(true);
  });

  test('has an entry of each phase and version, which are read and written as they stand there', async () => {
    const entries = lines.slice(2, -1);
    const decoded = entries.map((line) => decodeEntry(Buffer.from(line)));
    expect(decoded).toEqual(await goldenEntries());
    expect(decoded.map((entry) => Buffer.from(encodeEntry(entry)).toString())).toEqual(entries);
    expect(new Set(decoded.map(({ phase }) => phase))).toEqual(
      new Set(['attempted', 'done', 'denied', 'failed']),
    );
    expect(decoded.filter(({ v }) => v === 2).map(({ phase }) => phase)).toEqual(['attempted', 'denied']);
  });

  test('is believed by the pinned key, with every signature in it', async () => {
    const { verdict, requests } = await verifyExport({
      path,
      logKey: logKey.vkey,
      bootstrap: administrators,
    });
    expect(verdict).toMatchObject({ ok: true, size: 26, open: [] });
    expect(requests).toEqual({ verified: 11, certified: 2, unknown: 0, together: 0 });
  });
});
