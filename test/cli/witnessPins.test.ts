import { Identity } from '../../src/client/identity/identity.js';
import { testWitness } from '../log/witnessKeys.js';
import { escrowctl, jsonOf } from './commandLine.js';
import type { Office } from './office.js';
import { openOffice } from './office.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.commands);

let office: Office;
beforeEach(async () => {
  office = await openOffice();
});
afterEach(() => office.close());

const [one, two] = [testWitness('w1.example').vkey, testWitness('w2.example').vkey];
const pin = (...argv: string[]): ReturnType<typeof escrowctl> =>
  escrowctl(['identity', 'witnesses', office.dana, ...argv]);
const pinned = async (): Promise<unknown> => (await Identity.open(office.dana)).witnesses;

test('identity witnesses pins them, shows them, replaces them, and forgets them', async () => {
  const ran = await pin('--witness', one, '--witness', two, '--require', '2', '--json');
  expect(ran).toMatchObject({ exit: 0, err: '' });
  expect(jsonOf(ran)).toMatchObject({ witnesses: { keys: [one, two], require: 2 } });
  expect(await pinned()).toEqual({ keys: [one, two], require: 2 });
  const shown = await escrowctl(['identity', 'show', '--as', office.dana]);
  expect(shown.out).toContain('2 of 2 must have cosigned');
  expect(shown.out).toContain(two);
  expect((await pin('--witness', two, '--require', '1')).exit).toBe(0);
  expect(await pinned()).toEqual({ keys: [two], require: 1 });
  expect((await pin('--none')).exit).toBe(0);
  expect(await pinned()).toBeUndefined();
});

test.each([
  ['nothing', []],
  ['a witness, and not how many', ['--witness', one]],
  ['how many, and no witness', ['--require', '1']],
  ['more than are named', ['--witness', one, '--require', '2']],
  ['none and one', ['--none', '--witness', one, '--require', '1']],
  ['zero of them', ['--witness', one, '--require', '0']],
  ['what is no key of a witness', ['--witness', 'w1.example+00000000+AAAA', '--require', '1']],
  ['one key twice', ['--witness', one, '--witness', one, '--require', '2']],
])('identity witnesses with %s changes nothing', async (_, argv) => {
  await pin('--witness', two, '--require', '1');
  const ran = await pin(...argv);
  expect(ran.exit).toBe(2);
  expect(ran.err).not.toBe('');
  expect(await pinned()).toEqual({ keys: [two], require: 1 });
});
