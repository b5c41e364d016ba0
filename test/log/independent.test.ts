import { createPublicKey } from 'node:crypto';
import { createRequire } from 'node:module';

import { inclusionProof } from '../../src/log/tree/prover.js';
import { leafHash } from '../../src/log/tree/merkle.js';
import { testKey, type TestKey } from './noteKeys.js';
import {
  checkpointOf,
  entry,
  entryLine,
  exportLines,
  joined,
  origin,
  sampleEntries,
  verdictOn,
} from './sampleExport.js';
import { leafReader } from './sampleTree.js';

/** The code of sigstore that checks Rekor's checkpoints and inclusion proofs; nobody here has written it. */
interface Sigstore {
  verifyCheckpoint(entry: unknown, logs: readonly unknown[]): { readonly logSize: bigint };
  verifyMerkleInclusion(entry: unknown, checkpoint: unknown): void;
}
const load = createRequire(import.meta.url);
const sigstore: Sigstore = {
  ...(load('@sigstore/verify/dist/tlog/checkpoint.js') as Pick<Sigstore, 'verifyCheckpoint'>),
  ...(load('@sigstore/verify/dist/tlog/merkle.js') as Pick<Sigstore, 'verifyMerkleInclusion'>),
};

/** What a log shows: its entries as lines, and a checkpoint that is said to be over them. */
interface Shown {
  readonly lines: readonly string[];
  readonly note: string;
}

/** Whether sigstore believes the checkpoint, and every entry shown, and that these are all. */
async function believesSigstore(key: TestKey, { lines, note }: Shown): Promise<boolean> {
  const publicKey = createPublicKey({ key: Buffer.from(key.spkiDer), format: 'der', type: 'spki' });
  const logID = Buffer.alloc(32);
  logID.writeUInt32BE(key.verifier.keyId);
  const logs = [{ logID, baseURL: key.verifier.name, publicKey }];
  const leaves = lines.map((line) => leafHash(Buffer.from(line)));
  try {
    for (const [index, line] of lines.entries()) {
      const hashes = await inclusionProof(leafReader(leaves), index, lines.length);
      const shown = {
        canonicalizedBody: Buffer.from(line),
        inclusionProof: {
          logIndex: String(index),
          hashes: hashes.map((hash) => Buffer.from(hash)),
          checkpoint: { envelope: note },
        },
      };
      const checkpoint = sigstore.verifyCheckpoint(shown, logs);
      sigstore.verifyMerkleInclusion(shown, checkpoint);
    }
    return true;
  } catch (error) {
    if ((error as { readonly code?: string }).code === 'TLOG_INCLUSION_PROOF_ERROR') return false;
    throw error;
  }
}

/** Whether our own verifier believes an export of it. */
function believesOurs(key: TestKey, { lines, note }: Shown): boolean {
  const whole = { ...exportLines(key), entries: lines, checkpoint: JSON.stringify({ checkpoint: note }) };
  return verdictOn(joined(whole), { logKey: key.vkey, origin }).ok;
}

const lines = sampleEntries.map(entryLine);
const changed = lines.with(4, (lines[4] ?? '').replace('key-1', 'key-2'));
const other = entryLine(entry('attempted', 'act-9'));
const swapped = lines.with(2, lines[3] ?? '').with(3, lines[2] ?? '');

describe.each(['Ed25519', 'ECDSA-P256'] as const)('a log signed with %s', (algorithm) => {
  const key = testKey(origin, algorithm);
  const note = checkpointOf(key, lines);
  const older = checkpointOf(key, lines.slice(0, 7));
  const textOf = (of: string): string => of.slice(0, of.indexOf('\n\n') + 2);
  const signatureOf = (of: string): string => of.slice(of.indexOf('\n\n') + 2);

  test('is believed by sigstore, entry by entry, and by our verifier', async () => {
    expect(await believesSigstore(key, { lines, note })).toBe(true);
    expect(believesOurs(key, { lines, note })).toBe(true);
  });

  const lies: readonly (readonly [name: string, shown: Shown])[] = [
    ['truncation', { lines: lines.slice(0, -1), note }],
    ['one changed byte', { lines: changed, note }],
    ['a reorder', { lines: swapped, note }],
    ['a duplicate', { lines: lines.toSpliced(3, 0, lines[3] ?? ''), note }],
    ['a forked suffix', { lines: lines.with(-1, other), note }],
    ['a forked suffix that is longer', { lines: [...lines.slice(0, -1), other, other], note }],
    ['a swapped signature', { lines, note: textOf(note) + signatureOf(older) }],
    ['a signature by another key', { lines, note: checkpointOf(testKey(origin, algorithm), lines) }],
    ['an old checkpoint', { lines, note: older }],
  ];
  test.each(lies)('is refused by sigstore and by our verifier for %s', async (_name, shown) => {
    expect(await believesSigstore(key, shown)).toBe(false);
    expect(believesOurs(key, shown)).toBe(false);
  });
});
