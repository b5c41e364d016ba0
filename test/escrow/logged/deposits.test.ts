import { LogState } from '../../../src/escrow/logged/logState.js';
import { activated, entriesOf, filed, TIME } from '../../adversary/database/loggedActs.js';
import type { Said } from '../../adversary/database/loggedActs.js';

const DANA = 'da'.repeat(32);
const DAVE = 'de'.repeat(32);

/** The birth of a key, as its entries have it. */
function birth(key: string, quorums: readonly (readonly string[])[], dave = DAVE): Said {
  const recipients = [
    { depositary: 'dana', recipient: DANA },
    { depositary: 'dave', recipient: dave },
  ];
  const shares = (['operate', 'release'] as const).map((purpose) => ({ purpose, recipients }));
  return { subject: { key, owner: 'olga' }, detail: { quorums }, outcome: { shares } };
}

function stateOf(...entries: readonly (readonly Uint8Array[])[]): LogState {
  const state = new LogState();
  for (const [index, entry] of entries.flat().entries()) state.take(index, entry);
  return state;
}

const BOTH = [['dana', 'dave']];
const EACH = [['dana'], ['dave']];

test('keys are counted together that the same people can bring back, with the same keys of theirs', () => {
  const state = stateOf(
    entriesOf('key.generate', birth('key_1', BOTH)),
    entriesOf('key.generate', birth('key_2', EACH)),
    entriesOf('key.generate', birth('key_3', BOTH)),
    entriesOf('key.generate', birth('key_4', BOTH, 'ff'.repeat(32))),
  );
  const groups = state.depositGroups();
  expect(groups.map(({ keys, purposes }) => [keys, purposes[0]?.quorums])).toEqual([
    [2, BOTH],
    [1, EACH],
    [1, BOTH],
  ]);
  expect(groups[0]?.purposes).toEqual(
    ['operate', 'release'].map((purpose) => ({
      ...{ purpose, quorums: BOTH },
      recipients: new Map([
        ['dana', DANA],
        ['dave', DAVE],
      ]),
    })),
  );
});

test('a key is counted when it is born, once, and is being made until its act has an outcome', () => {
  const [attempt = new Uint8Array(), done = new Uint8Array()] = entriesOf(
    'key.generate',
    birth('key_1', BOTH),
    'act_1' as never,
  );
  const state = stateOf([attempt]);
  expect([state.depositGroups(), state.depositsBeingMade()]).toMatchObject([
    [],
    [{ keys: 1, purposes: [{ quorums: BOTH }] }],
  ]);
  state.take(1, done);
  // a second birth of the same key, by whoever wrote it there
  entriesOf('key.generate', birth('key_1', EACH)).forEach((entry, at) => {
    state.take(2 + at, entry);
  });
  expect(state.depositGroups()).toMatchObject([{ keys: 1, purposes: [{ quorums: BOTH }, {}] }]);
  expect(state.depositsBeingMade()).toEqual([]);
});

test('an attempt to make a key knows whether a policy is being put in force', () => {
  const [apply = new Uint8Array(), applied = new Uint8Array()] = entriesOf('policy.apply', {
    outcome: { version: 1, policyHash: DANA },
  });
  const attempt = (id: string): Uint8Array =>
    entriesOf('key.generate', birth(id, BOTH), id as never)[0] ?? new Uint8Array();
  const state = stateOf([attempt('act_1'), apply, attempt('act_2'), applied, attempt('act_3')]);
  expect(['act_1', 'act_2', 'act_3'].map((id) => state.asOf(id)?.isPolicyUnderWay)).toEqual([
    false,
    true,
    false,
  ]);
});

test('when a key was last used is what the newest use that was done says, or its release', () => {
  const about = { grant: 'grant_1', key: 'key_1' };
  const inputs = { inputs: ['a'], mechanism: 'RS256', input: 'message' };
  const born = entriesOf('key.generate', birth('key_1', BOTH));
  const activation = [
    entriesOf('recovery.request', filed('rec_1')),
    entriesOf('recovery.activate', activated('rec_1', 'grant_1')),
  ];
  const use = { subject: about, actor: 'mailer', detail: inputs };
  const [begun = new Uint8Array()] = entriesOf('grant.sign', use);
  expect(stateOf(born, ...activation, [begun]).lastUsedMs('key_1')).toBeUndefined();
  expect(stateOf(born, ...activation, entriesOf('grant.sign', use)).lastUsedMs('key_1')).toBe(
    Date.parse(TIME),
  );
  const released = entriesOf('recovery.release', { subject: { recovery: 'rec_2', keys: ['key_1'] } });
  const asked = entriesOf('recovery.request', filed('rec_2'));
  expect(stateOf(born, asked, released).lastUsedMs('key_1')).toBe(Date.parse(TIME));
  expect(stateOf(asked, released).lastUsedMs('key_1')).toBeUndefined();
});
