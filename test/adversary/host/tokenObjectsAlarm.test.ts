import pkcs11 from 'pkcs11js';
import type { ManagementReport } from '../../../src/client/management.js';
import { agree, askToOperate, makeKey } from '../../support/life.js';
import { keptLog } from '../../support/operatorLines.js';
import { openRaw } from '../../support/rawToken.js';
import type { System } from '../../support/system.js';
import { makeSystem } from '../../support/system.js';
import { until } from '../../support/waiting.js';
import { LIMITS_MS } from '../../support/limits.js';

jest.setTimeout(LIMITS_MS.system);

/* Somebody with the user PIN puts an object into the token of a daemon that runs. */
let system: System;
const { log, lines } = keptLog();

beforeAll(async () => {
  system = await makeSystem({
    operatorLog: log,
    config: () => ({ inventoryMs: 200, housekeepingMs: 100 }),
  });
});
afterAll(() => system.remove());

type Alarms = ManagementReport['alarms'];

/** The alarms, once they are such; a failed test when they never are. */
async function alarmsOnce(isSo: (alarms: Alarms) => boolean): Promise<Alarms> {
  let alarms: Alarms = [];
  await until(async () => {
    ({ alarms } = await system.health());
    return isSo(alarms);
  });
  return alarms;
}

test('a request that is pending, a grant that runs and what has ended are no alarm', async () => {
  const { key } = await makeKey(system, { spec: 'ec-p256', use: 'sign' });
  await askToOperate(system, key);
  const { recovery } = await askToOperate(system, key);
  await agree(system, recovery);
  const withdrawn = await askToOperate(system, key);
  await system.deny('manager', withdrawn.recovery, 'not needed');
  await system.deny('officer-1', withdrawn.recovery, 'not needed');
  // an object of nobody's comes after them, and is told by a look that has seen them all twice
  const raw = openRaw(system.hsm, 'as is');
  try {
    const spare = raw.driver.C_GenerateKey(raw.session, { mechanism: pkcs11.CKM_AES_KEY_GEN }, [
      { type: pkcs11.CKA_TOKEN, value: true },
      { type: pkcs11.CKA_LABEL, value: 'spare' },
      { type: pkcs11.CKA_VALUE_LEN, value: 32 },
    ]);
    const alarms = await alarmsOnce((found) => found.length > 0);
    expect(alarms).toMatchObject([
      {
        alarm: 'token-object-foreign',
        message: 'the token holds what nothing accounts for: secret key "spare"',
      },
    ]);
    // whoever has the PIN could make the daemon say that it cannot work: so it does not
    expect(await system.health()).toMatchObject({ status: 'ready', problems: [] });
    expect(await system.client('owner').isReady()).toBe(true);
    expect(lines).toContainEqual(expect.objectContaining({ level: 'error', alarm: 'token-object-foreign' }));
    // only what the records have had is destroyed by housekeeping
    expect(raw.find([{ type: pkcs11.CKA_LABEL, value: 'spare' }])).toHaveLength(1);
    raw.driver.C_DestroyObject(raw.session, spare);
    await alarmsOnce((found) => found.length === 0);
  } finally {
    raw.close();
  }
});
