import fc from 'fast-check';
import {
  CheckpointError,
  formatCheckpoint,
  openCheckpoint,
  parseCheckpoint,
} from '../../../src/log/note/checkpoint.js';
import { emptyRoot } from '../../../src/log/tree/merkle.js';
import { NoteError } from '../../../src/log/note/noteKey.js';
import { hex } from '../sampleTree.js';
import { signCheckpoint, testKey } from '../noteKeys.js';

/**
 * The example of C2SP tlog-checkpoint, under the name and origin with which it was signed in truth (the Go checksum
 * database; its key is published in cmd/go).
 */
const golden = {
  vkey: 'sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8',
  origin: 'go.sum database tree',
  size: 20852163,
  root: 'CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=',
  signature: 'Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=',
};
const goldenText = `${golden.origin}\n${golden.size}\n${golden.root}\n`;
const goldenNote = `${goldenText}\n— sum.golang.org ${golden.signature}\n`;

const root = Buffer.alloc(32, 7).toString('base64');

describe('checkpoints (C2SP tlog-checkpoint)', () => {
  test('the golden checkpoint opens with its key and origin', () => {
    const checkpoint = openCheckpoint(goldenNote, golden.vkey, golden.origin);
    expect(checkpoint).toMatchObject({ origin: golden.origin, size: golden.size });
    expect(Buffer.from(checkpoint.root).toString('base64')).toBe(golden.root);
    expect(formatCheckpoint(checkpoint)).toBe(goldenText);
  });

  test('the golden checkpoint with another size does not', () => {
    const grown = goldenNote.replace('20852163', '20852164');
    expect(() => openCheckpoint(grown, golden.vkey, golden.origin)).toThrow(NoteError);
  });

  test('a checkpoint of another log is refused, though the same key signed it', () => {
    const key = testKey('a.example');
    const note = signCheckpoint(key, { origin: 'a.example/one', size: 1, root: Buffer.alloc(32, 7) });
    expect(openCheckpoint(note, key.verifier, 'a.example/one').size).toBe(1);
    expect(() => openCheckpoint(note, key.verifier, 'a.example/two')).toThrow(CheckpointError);
    expect(() => openCheckpoint(note, testKey('a.example').vkey, 'a.example/one')).toThrow(NoteError);
  });

  test('a signed text that is no checkpoint is refused', () => {
    const key = testKey('a.example');
    expect(() => openCheckpoint(key.sign('hello\n'), key.vkey, 'hello')).toThrow(CheckpointError);
  });

  test.each([
    ['a leading zero', `a\n01\n${root}\n`],
    ['a sign', `a\n+1\n${root}\n`],
    ['an exponent', `a\n1e3\n${root}\n`],
    ['a hexadecimal size', `a\n0x1\n${root}\n`],
    ['no size', `a\n\n${root}\n`],
    ['a size beyond 2^53 - 1', `a\n9007199254740992\n${root}\n`],
    ['other digits', `a\n\u0661\n${root}\n`],
    ['a short root', `a\n1\n${Buffer.alloc(31).toString('base64')}\n`],
    ['a long root', `a\n1\n${Buffer.alloc(33).toString('base64')}\n`],
    ['a root without padding', `a\n1\n${root.slice(0, -1)}\n`],
    ['a root with stray bits', `a\n1\n${root.slice(0, -2)}d=\n`],
    ['a root of another alphabet', `a\n1\n${Buffer.alloc(32, 0xff).toString('base64url')}=\n`],
    ['a space behind', `a\n1\n${root} \n`],
    ['no origin', `\n1\n${root}\n`],
    ['a control character in the origin', `a\t\n1\n${root}\n`],
    ['an extension line', `a\n1\n${root}\nmore\n`],
    ['an empty line behind', `a\n1\n${root}\n\n`],
    ['no final newline', `a\n1\n${root}`],
    ['two lines', 'a\n1\n'],
    ['an empty tree with another root', `a\n0\n${root}\n`],
    ['nothing', ''],
  ])('%s is refused', (_name, text) => {
    expect(() => parseCheckpoint(text)).toThrow(CheckpointError);
  });

  test.each([
    ['an origin of two lines', { origin: 'a\nb', size: 1, root: Buffer.alloc(32) }],
    ['a negative size', { origin: 'a', size: -1, root: Buffer.alloc(32) }],
    ['a fraction', { origin: 'a', size: 1.5, root: Buffer.alloc(32) }],
    ['a size that is printed with an exponent', { origin: 'a', size: 1e21, root: Buffer.alloc(32) }],
    ['a short root', { origin: 'a', size: 1, root: Buffer.alloc(31) }],
  ])('%s is not written', (_name, checkpoint) => {
    expect(() => formatCheckpoint(checkpoint)).toThrow(CheckpointError);
  });

  test('the empty tree has a checkpoint', () => {
    expect(parseCheckpoint(formatCheckpoint({ origin: 'a', size: 0, root: emptyRoot })).size).toBe(0);
  });

  test('any checkpoint comes back as it was written', () => {
    const anyRoot = fc.uint8Array({ minLength: 32, maxLength: 32 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), anyRoot, (size, rootBytes) => {
        const parsed = parseCheckpoint(formatCheckpoint({ origin: 'a.example/log', size, root: rootBytes }));
        expect([parsed.origin, parsed.size, hex(parsed.root)]).toEqual([
          'a.example/log',
          size,
          hex(rootBytes),
        ]);
      }),
    );
  });
});
