import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { APPROVED_KEYS_FILE, FileApprovedKeys } from '../../../src/client/depositary/approvedKeys.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'approved-keys-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

const [one, other] = ['ab'.repeat(32), 'cd'.repeat(32)];

test('what was approved is remembered, and what a key is stays as it was first', async () => {
  expect(await new FileApprovedKeys(directory).of('key_1')).toBeUndefined();
  await new FileApprovedKeys(directory).approved(new Map([['key_1', one]]));
  await new FileApprovedKeys(directory).approved(
    new Map([
      ['key_1', other],
      ['key_2', other],
    ]),
  );
  const memory = new FileApprovedKeys(directory);
  expect([await memory.of('key_1'), await memory.of('key_2')]).toEqual([one, other]);
});

test('those that are remembered at once are all there', async () => {
  const keys = Array.from({ length: 8 }, (_, at) => `key_${at}`);
  await Promise.all(keys.map((key) => new FileApprovedKeys(directory).approved(new Map([[key, one]]))));
  const { keys: kept } = JSON.parse(readFileSync(join(directory, APPROVED_KEYS_FILE), 'utf8')) as {
    keys: object;
  };
  expect(Object.keys(kept).sort()).toEqual(keys);
});

test.each(['', '{}', '{"keys": {"key_1": "x"}}', '{"keys": {}, "more": 1}'])(
  'a memory that cannot be read is not an empty one: %j',
  async (content) => {
    writeFileSync(join(directory, APPROVED_KEYS_FILE), content, { mode: 0o600 });
    await expect(new FileApprovedKeys(directory).of('key_1')).rejects.toMatchObject({
      code: 'identity-malformed',
    });
  },
);
