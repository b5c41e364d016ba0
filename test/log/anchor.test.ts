import fc from 'fast-check';
import type { Anchor } from '../../src/log/anchor.js';
import { decodeAnchor, emptyAnchor, encodeAnchor } from '../../src/log/anchor.js';
import { emptyRoot } from '../../src/log/tree/merkle.js';

const head = fc.record({
  size: fc.maxSafeNat(),
  root: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes)),
});
const hex = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((bytes) => Buffer.from(bytes).toString('hex'));
const anchors: fc.Arbitrary<Anchor> = fc
  .record({
    head,
    policy: fc.option(fc.record({ version: fc.maxSafeNat(), hash: hex }), { nil: undefined }),
    unsigned: fc.option(fc.maxSafeNat(), { nil: undefined }),
    lost: fc.option(head, { nil: undefined }),
  })
  .map(({ head: { size, root }, policy, unsigned, lost }) => ({ size, root, policy, unsigned, lost }));

const emptyText = Buffer.from(emptyRoot).toString('base64');

test('an anchor is read back as it was written, within 400 bytes', () => {
  fc.assert(
    fc.property(anchors, (anchor) => {
      const bytes = encodeAnchor(anchor);
      expect(bytes.length).toBeLessThanOrEqual(400);
      expect(decodeAnchor(bytes)).toEqual(anchor);
    }),
  );
});

test('an anchor that was torn, or is followed by anything, is none', () => {
  const bytes = Buffer.from(encodeAnchor({ ...emptyAnchor, size: 3, policy: undefined }));
  for (let end = 0; end < bytes.length; end += 1)
    expect(decodeAnchor(bytes.subarray(0, end))).toBeUndefined();
  expect(decodeAnchor(Buffer.concat([bytes, Buffer.from(' ')]))).toBeUndefined();
});

test.each([
  ['a negative size', { v: 1, size: -1, root: Buffer.from(emptyRoot).toString('base64') }],
  ['a short root', { v: 1, size: 1, root: 'AAAA' }],
  ['another version', { v: 2, size: 1, root: Buffer.from(emptyRoot).toString('base64') }],
  [
    'a policy without hash',
    { policy: { version: 1 }, root: Buffer.from(emptyRoot).toString('base64'), size: 1, v: 1 },
  ],
  ['entries without a writer below none', { root: emptyText, size: 1, unsigned: -1, v: 1 }],
])('%s makes no anchor', (_what, value) => {
  expect(decodeAnchor(Buffer.from(JSON.stringify(value)))).toBeUndefined();
});
