import fc from 'fast-check';

import { openCheckpoint } from '../../../src/log/note/checkpoint.js';
import {
  cosignatureMessage,
  cosignaturesOn,
  parseWitnessKey,
  parseWitnessKeys,
  readCosignature,
  witnessVkeyFor,
} from '../../../src/log/note/cosignature.js';
import { parseNote, signatureLine } from '../../../src/log/note/note.js';
import { noteVerifier } from '../../../src/log/note/noteKey.js';
import { signCheckpoint, testKey } from '../noteKeys.js';
import { COSIGNED_AT, ed25519Of, testWitness } from '../witnessKeys.js';

/** The checkpoint of C2SP tlog-cosignature, with the cosignature of its example; the keys are not published. */
const text = `example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
`;
const logLine =
  '— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n';
const publishedLine =
  '— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n';
const publishedTime = 1679315147;

/**
 * Derived for this test, and not by this program: the same checkpoint and time, signed by `openssl pkeyutl -rawin` with
 * the key of RFC 8032 section 7.1, TEST 1, and put together by a script of ten lines.
 */
const rfc8032 = ed25519Of('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60');
const derived = {
  vkey: 'witness.example.com/w1+7e6f4aaa+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea',
  line: '— witness.example.com/w1 fm9KqgAAAABkGFDL+TPmh4BYuAjsYRoqMJCWb/gWJaeRF/kmm5tlCr9sJ57DLErur7K0yDXc2ArN+TIuotuB/HbuL3AJsp3bv/aNCQ==\n',
};

describe('the format', () => {
  test('the message is the one of the C2SP document', () => {
    expect(Buffer.from(cosignatureMessage(text, publishedTime)).toString()).toBe(
      `cosignature/v1\ntime 1679315147\n${text}`,
    );
  });

  test('the published example is a note, with the published time in its cosignature', () => {
    const { claimed } = parseNote(`${text}\n${logLine}${publishedLine}`);
    const [, cosignature] = claimed;
    expect(cosignature?.name).toBe('witness.example.com/w1');
    expect(cosignature?.signature).toHaveLength(72);
    expect(Buffer.from(cosignature?.signature ?? []).readBigUInt64BE()).toBe(BigInt(publishedTime));
  });

  test('the published vkey of a witness that there is, is read', () => {
    // from the tests of github.com/transparency-dev/formats
    const key = parseWitnessKey('remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2');
    expect(key).toMatchObject({ name: 'remora.n621.de', keyId: 0xda77ade7 });
    expect(witnessVkeyFor(key.name, key.publicKey)).toBe(key.vkey);
  });

  test('signing with the derived vector gives its vkey and its line, byte for byte', () => {
    const witness = testWitness('witness.example.com/w1', rfc8032);
    expect(witness.vkey).toBe(derived.vkey);
    expect(witness.line(`${text}\n${logLine}`, publishedTime)).toBe(derived.line);
  });

  test('the derived vector holds', () => {
    const witness = parseWitnessKey(derived.vkey);
    const found = cosignaturesOn(`${text}\n${logLine}${derived.line}`, [witness]);
    expect(found).toMatchObject([{ timestamp: publishedTime, witness: { name: 'witness.example.com/w1' } }]);
    expect(readCosignature(derived.line, text, witness).timestamp).toBe(publishedTime);
  });

  test.each([
    ['of a note key (type 0x01)', 'TEST+7997405c+AQcC+FTVKf0jlTdHDY3rbevmnKxxPjigCXlVtGe6RIr6'],
    ['of another key id', derived.vkey.replace('7e6f4aaa', '7e6f4aab')],
    ['of another name', derived.vkey.replace('/w1', '/w2')],
    ['cut short', derived.vkey.slice(0, -4)],
    ['nothing', ''],
    ['a name with a space', derived.vkey.replace('witness.', 'witness ')],
  ])('a vkey %s is refused', (_what, vkey) => {
    expect(() => parseWitnessKey(vkey)).toThrow();
  });

  test('a witness key is not taken for the key of a log', () => {
    expect(() => noteVerifier(derived.vkey)).toThrow('unknown type');
  });

  test('one key under two names is not two witnesses', () => {
    const key = parseWitnessKey(derived.vkey);
    const twin = witnessVkeyFor('another.example/w', key.publicKey);
    expect(() => parseWitnessKeys([derived.vkey, twin])).toThrow('stands twice');
    expect(() => parseWitnessKeys([derived.vkey, derived.vkey])).toThrow('stands twice');
  });
});

describe.each(['Ed25519', 'ECDSA-P256'] as const)(
  'a cosigned checkpoint of a log with an %s key',
  (algorithm) => {
    const origin = 'escrow.example.com/log';
    const logKey = testKey(origin, algorithm);
    const one = testWitness('one.example');
    const two = testWitness('two.example');
    const stranger = testWitness('stranger.example');
    const noteOf = (size: number): string =>
      signCheckpoint(logKey, { origin, size, root: Buffer.alloc(32, size) });
    const note = noteOf(8);
    const both = two.cosign(one.cosign(note));
    const names = (of: string, by = [one, two]): readonly string[] =>
      cosignaturesOn(
        of,
        by.map(({ key }) => key),
      ).map(({ witness }) => witness.name);

    test('is still the checkpoint of the log', () => {
      expect(openCheckpoint(both, logKey.vkey, origin)).toMatchObject({ size: 8 });
    });

    test('has the cosignatures of both, in whatever order they stand', () => {
      expect(names(both)).toEqual(['one.example', 'two.example']);
      expect(names(one.cosign(two.cosign(note)))).toEqual(['one.example', 'two.example']);
      expect(names(note)).toEqual([]);
    });

    test('has none by anybody whom nobody knows, be it true or not', () => {
      expect(names(stranger.cosign(both))).toEqual(['one.example', 'two.example']);
      expect(names(both + stranger.line(noteOf(9)))).toEqual(['one.example', 'two.example']);
    });

    test('is refused when a cosignature of a known witness is of another checkpoint, also beside a good one', () => {
      expect(() => names(note + one.line(noteOf(9)))).toThrow('does not hold');
      expect(() => names(both + one.line(noteOf(9)))).toThrow('does not hold');
    });

    test('counts a witness once, however often it stands there, for the latest time', () => {
      const twice = one.cosign(one.cosign(note, COSIGNED_AT), COSIGNED_AT + 60);
      expect(cosignaturesOn(twice, [one.key])).toMatchObject([{ timestamp: COSIGNED_AT + 60 }]);
    });

    test('does not let the plain signature of a witness key pass for a cosignature', () => {
      const { signature } = readCosignature(one.line(note), parseNote(note).text, one.key);
      const cut = { ...signature, signature: signature.signature.subarray(8) };
      expect(() => names(note + signatureLine(cut))).toThrow('does not hold');
    });

    test('any single bit changed in a cosignature is found', () => {
      const { signature } = readCosignature(one.line(note), parseNote(note).text, one.key);
      fc.assert(
        fc.property(fc.nat(signature.signature.length * 8 - 1), (bit) => {
          const bytes = Buffer.from(signature.signature);
          bytes.writeUInt8(bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
          expect(() => names(note + signatureLine({ ...signature, signature: bytes }))).toThrow(
            'does not hold',
          );
        }),
      );
    });

    test('any time and checkpoint are cosigned so that it holds', () => {
      fc.assert(
        fc.property(fc.nat(), fc.nat(), (timestamp, size) => {
          const of = signCheckpoint(logKey, { origin, size: size + 1, root: Buffer.alloc(32, 1) });
          expect(cosignaturesOn(one.cosign(of, timestamp), [one.key])).toMatchObject([{ timestamp }]);
        }),
        { numRuns: 30 },
      );
    });
  },
);
