import { createInterface } from 'node:readline';
import { readProfile } from '../../../src/token/profile/profile.js';
import { rawWork } from '../../soak/rawWork.js';
import { SOFTHSM_PROFILE_FILE } from '../../support/softhsm.js';
import type { TokenPlace } from './token.js';

/*
 * What the activation of a grant asks of the token, by plain pkcs11js: each line that comes says how many are made, and is
 * answered with the milliseconds that they took.
 */
const { label, environment, userPin } = JSON.parse(process.argv[2] ?? '') as TokenPlace;
const profile = readProfile(SOFTHSM_PROFILE_FILE);
const work = rawWork({ place: { profile, label, environment }, userPin, soPin: '' });
process.stdout.write('"ready"\n');
for await (const line of createInterface({ input: process.stdin })) {
  const begunAt = performance.now();
  for (let left = Number(JSON.parse(line)); left > 0; left -= 1) await work.recover(0);
  process.stdout.write(`${JSON.stringify(performance.now() - begunAt)}\n`);
}
work.close();
