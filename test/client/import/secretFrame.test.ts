import { createHmac } from 'node:crypto';

import { openRelease } from '../../../src/client/depositary/release.js';
import { frameSecret, readFrame } from '../../../src/client/import/secretFrame.js';
import { wrapFor } from '../../../src/client/import/importPair.js';
import { errorCode } from '../../support/errorCode.js';
import { freshBytes } from '../../support/fresh.js';
import { rsaPair } from '../../support/rsaPairs.js';

/** By the length of a secret, that of its frame. */
const FRAMES = [
  [1, 128],
  [93, 128],
  [94, 128],
  [95, 512],
  [478, 512],
  [479, 1088],
  [1024, 1088],
] as const;

const binary = Buffer.from([0, 0xff, 0x0a, 0, 0x0d, 0x0a, 0x80, 0]);

test.each(FRAMES)('a secret of %i bytes stands in a frame of %i, and comes out of it', (bytes, length) => {
  const secret = freshBytes(bytes);
  const { frame, checkValue } = frameSecret(secret);
  expect(frame).toHaveLength(length);
  expect(readFrame(frame, checkValue)).toEqual({ secret });
});

test('bytes that are no text come out as they are, zeros at the end too', () => {
  const { frame, checkValue } = frameSecret(binary);
  expect(readFrame(frame, checkValue)).toEqual({ secret: binary });
});

test.each([
  [0, 'secret-empty'],
  [1025, 'secret-too-long'],
] as const)('a secret of %i bytes is refused', (bytes, code) => {
  expect(errorCode(() => frameSecret(Buffer.alloc(bytes, 1)))).toBe(code);
});

test('the same secret has another frame and another check value each time: neither can be guessed at', () => {
  const [one, two] = [frameSecret(Buffer.from('hunter2')), frameSecret(Buffer.from('hunter2'))];
  expect(one.checkValue).not.toEqual(two.checkValue);
  expect(one.frame.subarray(0, 32)).not.toEqual(two.frame.subarray(0, 32));
});

const checkValueOf = (frame: Buffer): Buffer =>
  createHmac('sha256', frame).update('escrowd secret check value 1\n').digest();

/** A frame that is made wrong, with a check value that is right for it. */
function changed(change: (frame: Buffer) => Buffer | undefined, secret = Buffer.from('hunter2')): Buffer {
  const { frame } = frameSecret(secret);
  return change(frame) ?? frame;
}

const WRONG: Readonly<Record<string, { frame: Buffer; fault: string; code: string; checkValue?: Buffer }>> = {
  'of another secret': {
    ...{ frame: frameSecret(Buffer.from('other')).frame, fault: 'another-secret', code: 'release-mismatch' },
    checkValue: frameSecret(Buffer.from('hunter2')).checkValue,
  },
  'a byte longer than a frame': {
    frame: changed((frame) => Buffer.concat([frame, Buffer.alloc(8)])),
    ...{ fault: 'length', code: 'release-malformed' },
  },
  'an AES key': { frame: freshBytes(32), fault: 'length', code: 'release-malformed' },
  'without a length': {
    frame: changed((frame) => void frame.writeUInt16BE(0, 32)),
    ...{ fault: 'secret-length', code: 'release-malformed' },
  },
  'with a length beyond any secret': {
    frame: changed((frame) => void frame.writeUInt16BE(1025, 32)),
    ...{ fault: 'secret-length', code: 'release-malformed' },
  },
  'with a length beyond itself': {
    frame: changed((frame) => void frame.writeUInt16BE(95, 32)),
    ...{ fault: 'bucket', code: 'release-malformed' },
  },
  'longer than it needs to be': {
    frame: changed((frame) => Buffer.concat([frame, Buffer.alloc(512 - 128)])),
    ...{ fault: 'bucket', code: 'release-malformed' },
  },
  'with a byte behind the secret': {
    frame: changed((frame) => void frame.writeUInt8(1, 41)),
    ...{ fault: 'padding', code: 'release-malformed' },
  },
  'with a byte at its end': {
    frame: changed((frame) => void frame.writeUInt8(1, 127)),
    ...{ fault: 'padding', code: 'release-malformed' },
  },
  'shortened by a byte': {
    frame: changed((frame) => void frame.writeUInt16BE(6, 32)),
    ...{ fault: 'padding', code: 'release-malformed' },
  },
};

describe.each(Object.entries(WRONG))('a frame %s', (_name, { frame, fault, code, checkValue }) => {
  const claimed = checkValue ?? checkValueOf(frame);

  test('is no secret', () => {
    expect(readFrame(frame, claimed)).toEqual({ fault });
  });

  test('and no release opens to it', () => {
    const recipient = rsaPair(3072);
    const blob = wrapFor({ publicKey: recipient.publicKey, oaep: 'RSA-OAEP' }, frame);
    const release = {
      transferKey: blob.subarray(0, 384).toString('base64url'),
      wrappedKey: blob.subarray(384).toString('base64url'),
      oaep: 'RSA-OAEP',
    };
    const shown = { publicKeyPem: undefined, checkValue: claimed.toString('base64url') };
    expect(errorCode(() => openRelease(release, recipient.privateKey, shown))).toBe(code);
  });
});
