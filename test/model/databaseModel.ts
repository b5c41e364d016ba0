import type { Depositary, Off } from './ceremony.js';
import { DEPOSITARIES } from './ceremony.js';
import type { Model, Move } from './explorer.js';

/**
 * What stands against the database in an act of recovery or use. Where a check is off, the daemon takes the adversary's word
 * for just that: a row, an entry that was inserted, or a query that leaves something out.
 */
export type DatabaseCheck =
  | 'share-hash'
  | 'request-hash'
  | 'deposit-digest'
  | 'statements-signed'
  | 'statements-name-request'
  | 'signers-listed'
  | 'recipient-approved'
  | 'delay-from-entries'
  | 'entries-by-daemons'
  | 'veto-from-state'
  | 'once-from-state'
  | 'grant-certificate'
  | 'uses-from-state'
  | 'revocation-from-state';

const RELEASE = 0;
const OPERATE = 1;
type Asked = typeof RELEASE | typeof OPERATE;
const NAMES = ['the release', 'the use'] as const;

/** What truly is: in statements that people signed, and in entries that daemons wrote. */
interface DatabaseState {
  /** Who approved each request, by a signed statement. */
  readonly approvals: readonly [readonly Depositary[], readonly Depositary[]];
  readonly vetoed: boolean;
  readonly delayOver: boolean;
  /** Depositary 2 is listed no more. */
  readonly removed: boolean;
  readonly carriedOut: readonly [number, number];
  readonly uses: number;
  readonly revoked: boolean;
  /** Set by the step that broke a promise. */
  readonly broken: string | undefined;
}

/** What the adversary makes a row say where the truth is: key A goes to depositary 1; key B is used once, by the app. */
interface Row {
  readonly key: 'as requested' | 'the other';
  readonly recipient: Depositary | 'a stranger';
}
const ROWS: readonly Row[] = (['as requested', 'the other'] as const).flatMap((key) =>
  ([...DEPOSITARIES, 'a stranger'] as const).map((recipient) => ({ key, recipient })),
);
const REQUESTED: Row = { key: 'as requested', recipient: 1 };

/**
 * Two requests, each for one of two keys: to release key A to depositary 1, who asked, after a delay and with the owner's veto;
 * and to use key B once. The host keeps to the protocol; the database shows it whatever rows serve the adversary best, every
 * statement that was ever signed and some that were not, and leaves out what would hinder.
 */
export function databaseModel(off: Off<DatabaseCheck>): Model<DatabaseState> {
  return {
    initial: {
      approvals: [[], []],
      vetoed: false,
      delayOver: false,
      removed: false,
      carriedOut: [0, 0],
      uses: 0,
      revoked: false,
      broken: undefined,
    },
    key: (state) => JSON.stringify(state),
    moves: (state) => (state.broken === undefined ? movesIn(state, off) : []),
    broken: (state) => state.broken,
  };
}

function* movesIn(state: DatabaseState, off: Off<DatabaseCheck>): Iterable<Move<DatabaseState>> {
  for (const asked of [RELEASE, OPERATE] as const) {
    yield* approvals(state, asked, off);
    for (const row of ROWS) {
      const to = carriedOut(state, asked, row, off);
      if (to !== undefined)
        yield {
          what: `${NAMES[asked]} is carried out, the row naming ${row.key === 'the other' ? 'the other key and ' : ''}${row.recipient}`,
          to,
        };
    }
  }
  if (!state.vetoed && !state.delayOver && state.carriedOut[RELEASE] === 0)
    yield { what: 'the owner vetoes the release', to: { ...state, vetoed: true } };
  if (!state.delayOver) yield { what: 'the delay is over', to: { ...state, delayOver: true } };
  if (!state.removed) yield { what: 'depositary 2 is removed', to: { ...state, removed: true } };
  if (state.carriedOut[OPERATE] === 0) return;
  if (!state.revoked) yield { what: 'the owner revokes the grant', to: { ...state, revoked: true } };
  for (const app of ['the app', 'a stranger'] as const) {
    const to = used(state, app, off);
    if (to !== undefined) yield { what: `${app} uses the grant`, to };
  }
}

function* approvals(
  state: DatabaseState,
  asked: Asked,
  off: Off<DatabaseCheck>,
): Iterable<Move<DatabaseState>> {
  const isOver = (asked === RELEASE && state.vetoed) || state.carriedOut[asked] > 0;
  for (const by of DEPOSITARIES) {
    if (isOver || state.approvals[asked].includes(by) || (state.removed && by === 2)) continue;
    const lists = [...state.approvals] as [readonly Depositary[], readonly Depositary[]];
    lists[asked] = [...lists[asked], by].sort();
    yield { what: `depositary ${by} approves ${NAMES[asked]}`, to: { ...state, approvals: lists } };
    // share and link of the adversary's own making fit together under the right context
    if (off.has('share-hash'))
      yield {
        what: `depositary ${by}, shown a share that is not the deposit's, approves ${NAMES[asked]}`,
        to: { ...state, broken: 'a reply leaves only for the share of the deposit' },
      };
  }
}

/** What becomes of the state when the daemon carries this out by what it is shown; undefined when it refuses. */
function carriedOut(
  state: DatabaseState,
  asked: Asked,
  row: Row,
  off: Off<DatabaseCheck>,
): DatabaseState | undefined {
  const isAsRequested = row.key === REQUESTED.key && row.recipient === REQUESTED.recipient;
  if (!off.has('request-hash') && !isAsRequested) return undefined;
  const counted = countedApprovals(state, asked, off);
  if (counted.size < 2) return undefined;
  if (asked === RELEASE) {
    const isApprover = typeof row.recipient === 'number' && counted.has(row.recipient);
    if (!off.has('recipient-approved') && !isApprover) return undefined;
    // the delay's length stands in the deposit, its beginning in the entries of the approvals
    const isDelayBelieved =
      off.has('deposit-digest') || off.has('delay-from-entries') || off.has('entries-by-daemons');
    if (!state.delayOver && !isDelayBelieved) return undefined;
    if (state.vetoed && !off.has('veto-from-state')) return undefined;
  }
  if (state.carriedOut[asked] > 0 && !off.has('once-from-state')) return undefined;
  const counts = [...state.carriedOut] as [number, number];
  counts[asked] += 1;
  return { ...state, carriedOut: counts, broken: brokenByCarrying(state, asked, row) };
}

function countedApprovals(
  { approvals, removed }: DatabaseState,
  asked: Asked,
  off: Off<DatabaseCheck>,
): ReadonlySet<Depositary> {
  const shown = [
    ...approvals[asked],
    ...(off.has('statements-name-request') ? approvals[asked === RELEASE ? OPERATE : RELEASE] : []),
    ...(off.has('statements-signed') ? DEPOSITARIES : []),
  ];
  return new Set(shown.filter((by) => !removed || by !== 2 || off.has('signers-listed')));
}

function brokenByCarrying(state: DatabaseState, asked: Asked, { key, recipient }: Row): string | undefined {
  const approvers = state.approvals[asked].filter((by) => !state.removed || by !== 2);
  if (approvers.length < 2) return 'a quorum of listed depositaries or nothing';
  if (key === 'the other') return 'an approval opens one key';
  if (state.carriedOut[asked] > 0) return 'a quorum is spent once';
  if (asked === OPERATE)
    return recipient === REQUESTED.recipient ? undefined : 'an approval is for one scope';
  if (typeof recipient !== 'number' || !approvers.includes(recipient))
    return 'a key is released to one who approved';
  if (recipient !== REQUESTED.recipient) return 'an approval is for one recipient';
  if (state.vetoed) return 'a veto ends a request';
  return state.delayOver ? undefined : 'nothing is released before its delay is over';
}

function used(
  state: DatabaseState,
  app: 'the app' | 'a stranger',
  off: Off<DatabaseCheck>,
): DatabaseState | undefined {
  if (app === 'a stranger' && !off.has('grant-certificate')) return undefined;
  if (state.uses > 0 && !off.has('uses-from-state')) return undefined;
  if (state.revoked && !off.has('revocation-from-state')) return undefined;
  const broken =
    app === 'a stranger'
      ? 'a grant is for one app'
      : state.uses > 0
        ? 'no use beyond what was approved'
        : state.revoked
          ? 'a revoked grant is used no more'
          : undefined;
  return { ...state, uses: state.uses + 1, broken };
}
