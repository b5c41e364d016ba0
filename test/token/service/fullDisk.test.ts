import { readdirSync } from 'node:fs';

import { isFull } from '../../../src/system/diskRoom.js';
import { emptyAnchor } from '../../../src/log/anchor.js';
import { asEscrowError, CKR } from '../../../src/token/cryptoki/faults.js';
import { NativeFault } from '../../../src/token/cryptoki/nativeFunction.js';
import { softHsmTokens } from '../../../src/token/cryptoki/softHsmFiles.js';
import type { TokenGeneration } from '../../../src/token/service/openToken.js';
import { type SupervisedToken, superviseToken } from '../../../src/token/service/supervisedToken.js';
import { LIMITS_MS } from '../../support/limits.js';
import { enrolledSoftHsm, type SoftHsm } from '../../support/softhsm.js';

jest.setTimeout(LIMITS_MS.token);

let hsm: SoftHsm;
let generation: TokenGeneration;
let token: SupervisedToken;
let hasRoom = true;

beforeAll(async () => {
  ({ hsm } = await enrolledSoftHsm('alice'));
  generation = await hsm.open();
  token = superviseToken(generation, {
    ...{ open: () => hsm.open(), probeMs: 60_000, waitMs: 5_000, recycleAfterObjects: 0 },
    log: () => undefined,
    isFull: () => !hasRoom,
  });
});
afterAll(async () => {
  await token.close();
  hsm.remove();
});
afterEach(() => {
  jest.restoreAllMocks();
  hasRoom = true;
});

const write = (): Promise<void> => token.writeAnchor({ ...emptyAnchor, recorded: undefined });

// what SoftHSM 2.6.1 answers on a file system that is full: the second for a key pair, the third for the anchor
describe.each(['CKR_GENERAL_ERROR', 'CKR_FUNCTION_FAILED', 'CKR_OBJECT_HANDLE_INVALID'] as const)(
  '%s',
  (name) => {
    test.each([
      ['token-full', 'has no room', false],
      ['token-unavailable', 'has room', true],
    ])('is %s where what keeps the objects %s', async (code, _how, room) => {
      hasRoom = room;
      jest.spyOn(generation, 'writeAnchor').mockRejectedValue(asEscrowError(new NativeFault(CKR[name])));
      await expect(write()).rejects.toMatchObject({ code });
      jest.restoreAllMocks();
      await write();
    });
  },
);

test('what says nothing of writing stays what it is, however little room there is', async () => {
  hasRoom = false;
  const refused = asEscrowError(new NativeFault(CKR.CKR_PIN_INCORRECT));
  jest.spyOn(generation, 'writeAnchor').mockRejectedValue(refused);
  await expect(write()).rejects.toBe(refused);
});

describe('whether there is room is tried', () => {
  const directory = (): string => {
    const [found] = softHsmTokens('libsofthsm2.so', hsm.place.environment);
    if (found === undefined) throw new Error('there is no token');
    return found;
  };

  test.each([
    ['ENOSPC', true],
    ['EDQUOT', true],
    ['EIO', false],
    ['EFBIG', false],
  ])('%s says that it is full: %s; nothing stays', (code, full) => {
    const before = readdirSync(directory());
    const writing = (): number => {
      throw Object.assign(new Error(code), { code });
    };
    expect(isFull(directory(), writing)).toBe(full);
    expect(isFull(directory())).toBe(false);
    expect(readdirSync(directory())).toEqual(before);
  });
});
