import { type Frame, FrameReader, frameOf } from '../../../src/agent/pkcs11/frames.js';
import { MalformedMessage } from '../../../src/agent/pkcs11/malformed.js';
import { kindOf } from '../../../src/agent/pkcs11/attributes.js';
import { objectsOf } from '../../../src/agent/pkcs11/keyObjects.js';
import { CKA } from '../../../src/agent/pkcs11/numbers.js';
import { chance } from '../../support/chance.js';
import { servedKeys } from './served.js';

const { below, bytes } = chance('streams of frames that are cut');

/** What a reader gives when the stream comes in these pieces; copied at once, as the reader goes on. */
function readIn(pieces: readonly Buffer[]): readonly Frame[] {
  const reader = new FrameReader();
  return pieces.flatMap((piece) => [...reader.push(piece)]);
}

function cut(stream: Buffer, most: number): readonly Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < stream.length;) {
    const end = at + (most === 1 ? 1 : 1 + below(most));
    pieces.push(Buffer.from(stream.subarray(at, end)));
    at = end;
  }
  return pieces;
}

test('a stream gives the same frames however it is cut', () => {
  for (let round = 0; round < 20; round += 1) {
    const frames = Array.from({ length: 1 + below(5) }, () => ({
      tag: 1 + below(1_000_000),
      body: bytes(below(4) === 0 ? below(10_000) : below(40)),
    }));
    const stream = Buffer.concat(frames.map(frameOf));
    for (const most of [1, 20, 5000, stream.length])
      expect(readIn(cut(stream, most)).map(({ tag, body }) => [tag, body.toString('hex')])).toEqual(
        frames.map(({ tag, body }) => [tag, body.toString('hex')]),
      );
  }
});

test('options are passed over', () => {
  const frame = Buffer.concat([Buffer.from('0000001000000006000000026f7074696f6e', 'hex'), Buffer.of(7, 8)]);
  expect(readIn([frame])).toEqual([{ tag: 16, body: Buffer.of(7, 8) }]);
});

test.each([
  ['no tag', '000000000000000000000000'],
  ['options of more than 1 KiB', '000000100000040100000000'],
  ['a body of more than 8 MiB', '000000100000000000800001'],
])('%s is refused before any of it has come', (_name, header) => {
  expect(() => readIn([Buffer.from(header, 'hex')])).toThrow(MalformedMessage);
});

test('every attribute of an object has a value of the kind in which its type travels', () => {
  const kinds = { flag: 'boolean', number: 'number', bytes: 'object', nested: 'none', mechanisms: 'none' };
  const objects = [...objectsOf(servedKeys()).values()];
  expect(objects).toHaveLength(4);
  for (const { attributes } of objects)
    for (const [type, value] of attributes)
      expect(`${type.toString(16)} ${typeof value}`).toBe(`${type.toString(16)} ${kinds[kindOf(type)]}`);
});

test('all objects of a key have one id and one label, and none tells its private part', () => {
  const objects = [...objectsOf(servedKeys()).values()];
  for (const name of ['rsa', 'ec']) {
    const own = objects.filter(({ shown }) => shown.key.name === name);
    const ids = own.map(({ attributes }) => attributes.get(CKA.ID));
    expect(ids).toEqual([ids[0], ids[0]]);
    expect(own.map(({ attributes }) => String(attributes.get(CKA.LABEL)))).toEqual([name, name]);
  }
});
