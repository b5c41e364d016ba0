import fc from 'fast-check';

import {
  formatAddCheckpoint,
  formatSize,
  judgeCheckpoint,
  parseAddCheckpoint,
  readSize,
  RequestError,
  type Cosigned,
  type Judgement,
} from '../../../src/log/note/addCheckpoint.js';
import { consistencyProof } from '../../../src/log/tree/prover.js';
import { signCheckpoint, testKey } from '../noteKeys.js';
import { leafReader, referenceRoot, sampleLeaves } from '../sampleTree.js';

/** The request of C2SP tlog-witness, "add-checkpoint". */
const example = `old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
`;

const origin = 'escrow.example.com/log';
const logKey = testKey(origin);
const logs = [{ origin, keys: [logKey.verifier] }];
const leaves = sampleLeaves(40);
const forked = sampleLeaves(40).reverse();

const cosignedOf = (size: number, of = leaves): Cosigned => ({
  size,
  root: referenceRoot(of.slice(0, size)),
});
const noteOf = (size: number, of = leaves, key = logKey): string =>
  signCheckpoint(key, { origin, size, root: referenceRoot(of.slice(0, size)) });

interface Asked {
  readonly old: number;
  readonly size: number;
  readonly of?: Uint8Array[];
  readonly proof?: readonly Uint8Array[];
  readonly note?: string;
}

async function judged({ old, size, of = leaves, ...more }: Asked, latest?: Cosigned): Promise<Judgement> {
  const proof = more.proof ?? (old <= size ? await consistencyProof(leafReader(of), old, size) : []);
  const body = formatAddCheckpoint({ oldSize: old, proof, note: more.note ?? noteOf(size, of) });
  return judgeCheckpoint(parseAddCheckpoint(body), logs, latest);
}

describe('the form of a request', () => {
  test('the published example is read, and written again byte for byte', () => {
    const request = parseAddCheckpoint(example);
    expect(request.oldSize).toBe(20852014);
    expect(request.proof).toHaveLength(4);
    expect(formatAddCheckpoint(request)).toBe(example);
  });

  test.each([
    ['nothing', ''],
    ['no empty line', 'old 0\n'],
    ['no old size', example.replace('old 20852014', '20852014')],
    ['a leading zero', example.replace('old 20852014', 'old 020852014')],
    ['two spaces', example.replace('old ', 'old  ')],
    ['a size beyond what is safe', example.replace('20852014', '90071992547409920')],
    ['a hash that is too short', example.replace('PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=', 'PlRN')],
    ['a carriage return', example.replaceAll('\n', '\r\n')],
    ['64 hashes', `old 1\n${`${Buffer.alloc(32).toString('base64')}\n`.repeat(64)}\nnote`],
  ])('%s is refused', (_what, body) => {
    expect(() => parseAddCheckpoint(body)).toThrow(RequestError);
  });

  test('63 hashes are not too many', () => {
    const body = `old 1\n${`${Buffer.alloc(32).toString('base64')}\n`.repeat(63)}\nnote`;
    expect(parseAddCheckpoint(body).proof).toHaveLength(63);
  });

  test('whatever is sent, it is read or refused with a reason', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string().map((text) => `old 1\n${text}`),
        ),
        (body) => {
          try {
            parseAddCheckpoint(body);
          } catch (error) {
            expect(error).toBeInstanceOf(RequestError);
          }
        },
      ),
    );
  });

  test('the size that goes with 409 is read as it is written, and nothing else', () => {
    expect(readSize(formatSize(20852014))).toBe(20852014);
    for (const text of ['', '\n', '1', '01\n', '1\n\n', '-1\n', '1.5\n'])
      expect(readSize(text)).toBeUndefined();
  });
});

describe('a witness', () => {
  test('cosigns what continues what it has cosigned, from nothing on', async () => {
    expect(await judged({ old: 0, size: 7 })).toMatchObject({ cosign: { size: 7 } });
    expect(await judged({ old: 7, size: 33 }, cosignedOf(7))).toMatchObject({ cosign: { size: 33 } });
  });

  test('cosigns the same checkpoint again', async () => {
    expect(await judged({ old: 7, size: 7 }, cosignedOf(7))).toMatchObject({ cosign: { size: 7 } });
  });

  test('answers 400 when the old size is larger than the checkpoint, or there is no checkpoint', async () => {
    expect(await judged({ old: 9, size: 7 }, cosignedOf(9))).toMatchObject({ status: 400 });
    expect(await judged({ old: 0, size: 7, note: 'note\n\n' })).toMatchObject({ status: 400 });
    const extended = logKey.sign(`${noteOf(7).split('\n\n')[0] ?? ''}\nextension\n`);
    expect(await judged({ old: 0, size: 7, note: extended })).toMatchObject({ status: 400 });
  });

  test('answers 404 for a log that it does not know', async () => {
    const note = signCheckpoint(testKey('other.example/log'), {
      origin: 'other.example/log',
      ...cosignedOf(7),
    });
    expect(await judged({ old: 0, size: 7, note })).toMatchObject({ status: 404 });
  });

  test('answers 403 when no key that it knows has signed', async () => {
    expect(await judged({ old: 0, size: 7, note: noteOf(7, leaves, testKey(origin)) })).toMatchObject({
      status: 403,
    });
    // the text of one checkpoint with the signature of another
    const mixed = `${noteOf(8).split('\n\n')[0] ?? ''}\n\n${noteOf(7).split('\n\n')[1] ?? ''}`;
    expect(await judged({ old: 0, size: 8, note: mixed })).toMatchObject({ status: 403 });
  });

  test('answers 409 and the size it has cosigned when that is another than the old size', async () => {
    expect(await judged({ old: 3, size: 33 }, cosignedOf(7))).toMatchObject({ status: 409, size: 7 });
    expect(await judged({ old: 0, size: 33 }, cosignedOf(7))).toMatchObject({ status: 409, size: 7 });
    expect(await judged({ old: 3, size: 33 })).toMatchObject({ status: 409, size: 0 });
  });

  test('answers 422 for another root of the size it has cosigned, and for one of no entries', async () => {
    expect(await judged({ old: 7, size: 7, of: forked }, cosignedOf(7))).toMatchObject({ status: 422 });
    const note = logKey.sign(`${origin}\n0\n${Buffer.alloc(32, 1).toString('base64')}\n`);
    expect(await judged({ old: 0, size: 0, note, proof: [] })).toMatchObject({ status: 422 });
  });

  test('answers 422 for a fork, a proof that is not empty where it must be, and none where it must not', async () => {
    expect(await judged({ old: 7, size: 33, of: forked }, cosignedOf(7))).toMatchObject({ status: 422 });
    expect(await judged({ old: 7, size: 33, proof: [] }, cosignedOf(7))).toMatchObject({ status: 422 });
    expect(await judged({ old: 0, size: 7, proof: [Buffer.alloc(32)] })).toMatchObject({ status: 422 });
    expect(await judged({ old: 7, size: 7, proof: [Buffer.alloc(32)] }, cosignedOf(7))).toMatchObject({
      status: 422,
    });
  });

  test('accepts either key of a log that changes its key, and an ECDSA one', () => {
    const next = testKey(origin, 'ECDSA-P256');
    const body = formatAddCheckpoint({ oldSize: 0, proof: [], note: noteOf(7, leaves, next) });
    const both = [{ origin, keys: [logKey.verifier, next.verifier] }];
    expect(judgeCheckpoint(parseAddCheckpoint(body), both, undefined)).toMatchObject({ cosign: { size: 7 } });
  });

  test('never cosigns two trees of which neither continues the other, whatever it is asked, in whatever order', () => {
    const step = fc.record({
      old: fc.nat(12),
      size: fc.nat(12),
      fork: fc.boolean(),
      useLatest: fc.boolean(),
    });
    return fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        let latest: Cosigned | undefined;
        const signed: Cosigned[] = [];
        for (const { old, size, fork, useLatest } of steps) {
          const of = fork ? forked : leaves;
          const judgement = await judged({ old: useLatest ? (latest?.size ?? 0) : old, size, of }, latest);
          if (!('cosign' in judgement)) continue;
          latest = judgement.cosign;
          signed.push(latest);
        }
        const sizes = signed.map(({ size }) => size);
        expect(sizes).toEqual([...sizes].sort((a, b) => a - b));
        const isOf = (of: Uint8Array[]): boolean =>
          signed.every(({ size, root }) => Buffer.compare(root, referenceRoot(of.slice(0, size))) === 0);
        expect(isOf(leaves) || isOf(forked)).toBe(true);
      }),
    );
  });
});
