import { isForLog } from '../../../src/log/note/audience.js';

const KEY = 'escrow.test/log+4a1b2c3d+AQ';

it.each([
  ['the verifier key', KEY],
  ['its name alone, as the version before signed', 'escrow.test/log'],
])('what is signed for %s is for the log', (_what, aud) => {
  expect(isForLog(aud, KEY)).toBe(true);
});

it.each<[string, unknown]>([
  ['another key of the name', 'escrow.test/log+4a1b2c3d+AR'],
  ['the key with more', `${KEY}=`],
  ['a part of the key', KEY.slice(0, -1)],
  ['the name and a key id', 'escrow.test/log+4a1b2c3d'],
  ['the name and what parts it', 'escrow.test/log+'],
  ['another name', 'escrow.test'],
  ['nobody', ''],
  ['a list with the key', [KEY]],
  ['nothing', undefined],
])('what is signed for %s is not', (_what, aud) => {
  expect(isForLog(aud, KEY)).toBe(false);
});
