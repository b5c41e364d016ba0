import { GENERATED_SPECS, KEY_SPECS } from '../../../src/escrow/records/keySpecs.js';
import { mechanismsFor } from '../../../src/escrow/records/mechanisms.js';
import type { RaisedGrant, RecordedObjects } from '../../../src/escrow/ports/token.js';
import type { GrantId } from '../../../src/escrow/records/ids.js';
import type { OpenToken } from '../../../src/token/service/openToken.js';
import { openToken } from '../../../src/token/service/openToken.js';
import { readPins } from '../../../src/token/objects/ceremonyPins.js';
import { deposit, newRecovery, raiseGrant } from '../../support/escrowChain.js';
import { makeNss } from '../../support/nss.js';
import { makeSoftHsm } from '../../support/softhsm.js';
import type { TestDepositary, TestToken } from '../../support/testToken.js';
import { LIMITS_MS } from '../../support/limits.js';

jest.setTimeout(LIMITS_MS.token);

describe.each([
  { name: 'SoftHSM 2.6', make: () => makeSoftHsm('inventory') },
  { name: 'NSS softokn 3', make: () => makeNss('inventory') },
])('$name', ({ make }) => {
  let made: TestToken;
  let alice: TestDepositary;

  beforeAll(async () => {
    made = await make();
    alice = await made.enrolDepositary('alice');
    await made.enrolDepositary('bob');
  });
  afterAll(() => {
    made.remove();
  });

  test.each(['with', 'without'] as const)(
    '%s the record of the ceremony, what it has made and grants of every kind are accounted for',
    async (record) => {
      const { place, userPin } = made;
      const pins = readPins(JSON.stringify(made.record()), { label: place.label });
      const token = await openToken({
        ...place,
        pin: Buffer.from(userPin),
        ...(record === 'with' ? { pins } : {}),
      });
      try {
        const recovery = newRecovery();
        await token.lend(['createTransport'], (lent) => lent.createTransport(recovery));
        const grants = await grantsOfAll(token, alice);
        const records: RecordedObjects = { transports: new Set([recovery]), grants, imports: new Set() };
        expect(await token.unaccounted(() => Promise.resolve(records))).toEqual([]);
        const none: RecordedObjects = { transports: new Set(), grants: new Map(), imports: new Set() };
        const strays = await token.unaccounted(() => Promise.resolve(none));
        expect(strays).toHaveLength(1 + grants.size);
        await token.lend(['destroyTransport', 'destroyGrant'], async (lent) => {
          await lent.destroyTransport(recovery);
          for (const id of grants.keys()) await lent.destroyGrant(id);
        });
        expect(await token.unaccounted(() => Promise.resolve(none))).toEqual([]);
      } finally {
        await token.close();
      }
    },
  );
});

/** A grant of each kind of key that the token claims, for each of its uses. */
async function grantsOfAll(token: OpenToken, alice: TestDepositary): Promise<Map<GrantId, RaisedGrant>> {
  const grants = new Map<GrantId, RaisedGrant>();
  const { keySpecs, mechanisms: known } = token.abilities;
  // the larger of a kind take seconds to make, and differ in nothing that is looked at
  const small = GENERATED_SPECS.filter((each) => each !== 'rsa-3072' && each !== 'rsa-4096');
  for (const spec of small.filter((each) => keySpecs.includes(each)))
    for (const use of KEY_SPECS[spec].uses) {
      const mechanisms = mechanismsFor(spec, use).filter((name) => known.includes(name));
      if (mechanisms.length === 0) continue;
      const kept = await deposit(token, spec, 'operate', [alice], use);
      grants.set(await raiseGrant(token, kept, use, [alice]), { spec, uses: [use], mechanisms });
    }
  return grants;
}
