import type { CallCheck } from './callModel.js';
import { callModel } from './callModel.js';
import type { DatabaseCheck } from './databaseModel.js';
import { databaseModel } from './databaseModel.js';
import type { Found, Model } from './explorer.js';
import { explore } from './explorer.js';
import type { HostCheck } from './hostModel.js';
import { hostModels } from './hostModel.js';
import type { LogCheck } from './logModel.js';
import { logModel } from './logModel.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.drawn);

/** What one search of all these found: the first promise that is broken, or how many states hold them all. */
function searched<State>(models: readonly Model<State>[]): Found {
  let states = 0;
  for (const model of models) {
    const found = explore(model);
    states += found.states;
    if ('attack' in found) return found;
  }
  return { states };
}

const host =
  (rotates: boolean) =>
  (...off: readonly HostCheck[]): Found =>
    searched(hostModels({ rotates, off: new Set(off) }));
const withoutRotation = host(false);
const withRotation = host(true);
const database = (...off: readonly DatabaseCheck[]): Found => searched([databaseModel(new Set(off))]);
const log = (...off: readonly LogCheck[]): Found => searched([logModel(new Set(off))]);
const calls = (...off: readonly CallCheck[]): Found => searched([callModel(new Set(off))]);

test.each([
  ['the host', withoutRotation, 900],
  ['the host, while KEKs can be rotated', withRotation, 9000],
  ['the database', database, 1000],
  ['the owner of the schema of the log', log, 30],
  ['a principal without rights, and the network', calls, 6],
] as const)('with every check, no promise is broken by %s', (_, search, atLeast) => {
  const found = search();
  expect(found).toEqual({ states: expect.any(Number) as number });
  expect(found.states).toBeGreaterThanOrEqual(atLeast);
});

/** A check, where it is looked at, the promise that falls without it, and the step by which it falls. */
type Row = readonly [
  check: string,
  search: () => Found,
  promise: string,
  steps: readonly (string | RegExp)[],
];

const QUORUM = 'a quorum or nothing';
const LEAVE = 'what must not leave cannot leave';
const USE = 'a key is for the use that it was deposited for';
const agrees = (by: number, to: string): string => `depositary ${by} agrees to ${to}`;
/** The token's own: two approve that the pair is used, and the host does the rest. */
const TWO_AGREE = [agrees(1, 'operate the pair'), agrees(2, 'operate the pair')];
const ROTATED = 'on a clean host, the KEKs are rotated and all is sealed anew';

const HOST_ROWS: readonly Row[] = [
  ['client-opens-link', () => withoutRotation('client-opens-link'), LEAVE, [agrees(1, 'operate the pair')]],
  ['link-names-key', () => withoutRotation('link-names-key'), QUORUM, TWO_AGREE],
  ['link-names-purpose', () => withoutRotation('link-names-purpose'), LEAVE, TWO_AGREE],
  [
    'layer-of-each-member',
    () => withoutRotation('layer-of-each-member'),
    QUORUM,
    [agrees(1, 'operate the pair')],
  ],
  ['kek-of-each-purpose', () => withoutRotation('kek-of-each-purpose'), LEAVE, TWO_AGREE],
  ['operate-private', () => withoutRotation('operate-private'), LEAVE, TWO_AGREE],
  ['operate-unextractable', () => withoutRotation('operate-unextractable'), LEAVE, TWO_AGREE],
  ['operate-class', () => withoutRotation('operate-class'), USE, TWO_AGREE],
  ['operate-uses', () => withoutRotation('operate-uses'), USE, TWO_AGREE],
  ['operate-frozen', () => withoutRotation('operate-frozen'), USE, TWO_AGREE],
  ['release-untrusted', () => withRotation('release-untrusted'), LEAVE, TWO_AGREE],
  ['rotate-private', () => withRotation('rotate-private'), LEAVE, TWO_AGREE],
  ['rotate-sensitive', () => withRotation('rotate-sensitive'), LEAVE, TWO_AGREE],
  ['rotate-trusted-only', () => withRotation('rotate-trusted-only'), LEAVE, TWO_AGREE],
  [
    'trusted-wrap-local-only',
    () => withRotation('trusted-wrap-local-only'),
    LEAVE,
    [/^depositary 1 agrees to operate/, 'depositary 3 colludes'],
  ],
  ['rotated-on-clean-host', () => withRotation('rotated-on-clean-host'), QUORUM, [...TWO_AGREE, ROTATED]],
  ['old-keks-destroyed', () => withRotation('old-keks-destroyed'), QUORUM, [...TWO_AGREE, ROTATED]],
  ['strays-destroyed', () => withRotation('strays-destroyed'), QUORUM, [...TWO_AGREE, ROTATED]],
  [
    'replies-after-delay',
    () => withoutRotation('replies-after-delay'),
    'a veto within the delay leaves nobody a quorum of replies',
    [/agrees to release/, /agrees to release/, /the owner vetoes/],
  ],
  [
    'veto-shown',
    () => withoutRotation('veto-shown'),
    'a veto within the delay leaves nobody a quorum of replies',
    [/the owner vetoes/, /agrees to release/, /agrees to release/],
  ],
];

const approves = (by: number, what: string): string => `depositary ${by} approves ${what}`;
const carriedOut = (what: string, naming: string): string =>
  `${what} is carried out, the row naming ${naming}`;
const RELEASE_APPROVED = [approves(1, 'the release'), approves(2, 'the release')];
const RELEASED = carriedOut('the release', '1');
const USE_APPROVED = [approves(1, 'the use'), approves(2, 'the use')];
const ACTIVE = carriedOut('the use', '1');

const DATABASE_ROWS: readonly Row[] = [
  [
    'share-hash',
    () => database('share-hash'),
    'a reply leaves only for the share of the deposit',
    [/shown a share that is not the deposit's/],
  ],
  [
    'request-hash',
    () => database('request-hash'),
    'an approval is for one scope',
    [...USE_APPROVED, /naming 2$/],
  ],
  [
    'deposit-digest',
    () => database('deposit-digest'),
    'nothing is released before its delay is over',
    [...RELEASE_APPROVED, RELEASED],
  ],
  [
    'delay-from-entries',
    () => database('delay-from-entries'),
    'nothing is released before its delay is over',
    [...RELEASE_APPROVED, RELEASED],
  ],
  [
    'entries-by-daemons',
    () => database('entries-by-daemons'),
    'nothing is released before its delay is over',
    [...RELEASE_APPROVED, RELEASED],
  ],
  [
    'statements-signed',
    () => database('statements-signed'),
    'a quorum of listed depositaries or nothing',
    [ACTIVE],
  ],
  [
    'statements-name-request',
    () => database('statements-name-request'),
    'a quorum of listed depositaries or nothing',
    [...RELEASE_APPROVED, ACTIVE],
  ],
  [
    'signers-listed',
    () => database('signers-listed'),
    'a quorum of listed depositaries or nothing',
    [...USE_APPROVED, 'depositary 2 is removed', ACTIVE],
  ],
  [
    'recipient-approved',
    () => database('recipient-approved'),
    'a key is released to one who approved',
    [approves(2, 'the release'), approves(3, 'the release'), 'the delay is over', RELEASED],
  ],
  [
    'veto-from-state',
    () => database('veto-from-state'),
    'a veto ends a request',
    [...RELEASE_APPROVED, 'the owner vetoes the release', 'the delay is over', RELEASED],
  ],
  [
    'once-from-state',
    () => database('once-from-state'),
    'a quorum is spent once',
    [...USE_APPROVED, ACTIVE, ACTIVE],
  ],
  [
    'grant-certificate',
    () => database('grant-certificate'),
    'a grant is for one app',
    [...USE_APPROVED, ACTIVE, 'a stranger uses the grant'],
  ],
  [
    'uses-from-state',
    () => database('uses-from-state'),
    'no use beyond what was approved',
    [...USE_APPROVED, ACTIVE, 'the app uses the grant', 'the app uses the grant'],
  ],
  [
    'revocation-from-state',
    () => database('revocation-from-state'),
    'a revoked grant is used no more',
    [...USE_APPROVED, ACTIVE, 'the owner revokes the grant', 'the app uses the grant'],
  ],
];

const SIGNED = 'a tree over all that is stored is signed';
const ASKED = 'the app asks';
const DELIVERED = 'what the app signed is delivered to this server';

const OTHER_ROWS: readonly Row[] = [
  [
    'leaves-signed-by-writers',
    () => log('leaves-signed-by-writers'),
    'no tree has an entry that no daemon wrote',
    ['the database inserts an entry', SIGNED],
  ],
  [
    'own-leaves-compared',
    () => log('own-leaves-compared'),
    'what was acknowledged is in the next tree',
    ['the daemon appends an entry', 'an append is acknowledged and not stored', SIGNED],
  ],
  [
    'anchor-in-token',
    () => log('anchor-in-token'),
    'the log cannot be cut short unnoticed',
    [/./, SIGNED, /copy/],
  ],
  [
    'reader-remembers',
    () => log('reader-remembers'),
    'no reader believes two logs',
    [/./, SIGNED, 'a reader sees the newest tree', 'a reader is shown another log'],
  ],
  [
    'history-from-state',
    () => log('history-from-state'),
    'a history that is said to be complete is',
    [/./, SIGNED, 'an entry is left out of the index of its owner'],
  ],
  [
    'signature-by-registered-key',
    () => calls('signature-by-registered-key'),
    'nobody uses what is not granted to them',
    ['a stranger uses the grant under the name of the app'],
  ],
  ['rights', () => calls('rights'), 'nobody uses what is not granted to them', [/under their own name/]],
  [
    'signature-covers-body',
    () => calls('signature-covers-body'),
    'nothing is done that was not asked',
    [ASKED, `${DELIVERED} with another body`],
  ],
  [
    'signature-names-server',
    () => calls('signature-names-server'),
    'nothing is done where it was not asked',
    [ASKED, 'what the app signed is delivered to another server'],
  ],
  [
    'signature-once',
    () => calls('signature-once'),
    'nothing is done more often than it was asked',
    [ASKED, DELIVERED, DELIVERED],
  ],
  [
    'key-listed-in-transaction',
    () => calls('key-listed-in-transaction'),
    'a key that was removed does nothing more',
    [ASKED, 'the key of the app is removed', DELIVERED],
  ],
];

test.each([...HOST_ROWS, ...DATABASE_ROWS, ...OTHER_ROWS])(
  'without the check %s, the attack that it stops is found',
  (_, search, promise, steps) => {
    const found = search();
    expect(found).toMatchObject({ promise });
    const { attack } = found as Extract<Found, { attack: unknown }>;
    expect(attack).toHaveLength(steps.length);
    attack.forEach((step, at) => {
      expect(step).toMatch(new RegExp(patternOf(steps[at] ?? '')));
    });
  },
);

test.each([
  ['operate-sensitive', withoutRotation],
  ['rotate-class', withRotation],
] as const)('%s is a second line: what it keeps in, another check keeps in as well', (check, search) => {
  expect(search(check)).not.toHaveProperty('attack');
});

function patternOf(step: string | RegExp): string {
  return typeof step === 'string' ? `^${step.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$` : step.source;
}
