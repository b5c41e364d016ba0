import { types } from 'node:util';

import type { Act } from '../../../src/escrow/ledger/means.js';
import type { ActId } from '../../../src/escrow/records/ids.js';
import { newId } from '../../../src/escrow/records/ids.js';
import type { JournalWrite } from '../../../src/escrow/ports/journal.js';
import type { Subject } from '../../../src/log/entry/entry.ts';
import type { LogState, SavedState } from '../../../src/escrow/logged/logState.js';
import type { Json } from '../../../src/log/entry/canonical.js';
import { encodeEntry } from '../../../src/log/entry/entry.js';
import type { Database } from '../../../src/postgres/database.js';
import type { Follow } from '../../../src/postgres/log/followedState.ts';
import { freshBytes } from '../../support/fresh.js';

/* A log in which something of each kind has happened that a daemon decides by, without records of it. */
export const DIGEST = 'ab'.repeat(32);
export const TIME = '2026-02-03T04:05:06.789Z';

/** An act, as far as its entries say something of it. */
export interface Said {
  readonly subject?: Subject;
  readonly actor?: string;
  readonly detail?: Readonly<Record<string, Json>>;
  readonly outcome?: Readonly<Record<string, Json>>;
  readonly request?: string;
}

/** The attempt of an act, and that it was done. */
export function entriesOf(
  act: string,
  said: Said,
  id: ActId = newId('ActId', freshBytes),
): readonly Uint8Array[] {
  const { subject = {}, actor = 'dana', detail = {}, outcome = {}, request } = said;
  const asked = request === undefined ? {} : { request };
  const common = { v: 1, time: TIME, act, id, actor, subject } as const;
  return [
    encodeEntry({ ...common, phase: 'attempted', detail, ...asked }),
    encodeEntry({ ...common, phase: 'done', detail: outcome, digest: DIGEST }),
  ];
}

const SCOPE = {
  app: 'mailer',
  operations: ['sign', 'decrypt'],
  mechanisms: ['RS256', 'RSA-OAEP'],
  input: 'message',
  rate: { uses: 4, perMs: 60_000 },
  maxUses: 5,
  durationMs: 3_600_000,
};

/** A request for the use of a key. */
export function filed(recovery: string): Said {
  const detail = { requestHash: DIGEST, purpose: 'operate', scope: SCOPE };
  return { subject: { recovery, keys: ['key_1'], owner: 'olga' }, detail };
}

/** A request has become a grant. */
export const activated = (recovery: string, grant: string): Said => ({
  subject: { recovery },
  outcome: {
    app: 'mailer',
    maxUses: 5,
    startsAt: '2026-02-03T04:00:00.000Z',
    expiresAt: '2026-02-03T05:00:00.000Z',
    grants: { key_1: grant },
  },
});
/** Everything that a daemon with this state decides by, of what these entries are about. */
export function seen(facts: LogState): string {
  const of = {
    policy: facts.policy,
    requests: ['rec_open', 'rec_vetoed', 'rec_new'].map((id) => facts.request(id)),
    grants: ['grant_1', 'grant_2'].map((id) => facts.grant(id)),
    deposits: ['key_1', 'key_2'].map((id) => facts.deposit(id)),
    imports: ['imp_1', 'imp_2'].map((id) => facts.importPair(id)),
    drills: facts.drill('key_1', 'operate', 'dave'),
  };
  return JSON.stringify(of, (_name, value: unknown) =>
    types.isMap(value) || types.isSet(value) ? [...(value as Iterable<unknown>)] : value,
  );
}

const HAPPENED: readonly (readonly [Act, Said])[] = [
  ['policy.apply', { outcome: { version: 1, policyHash: DIGEST } }],
  ['key.generate', { subject: { key: 'key_1' } }],
  ['import.prepare', { outcome: { import: 'imp_1', expiresAt: TIME }, detail: { import: 'imp_1' } }],
  ...['rec_active', 'rec_vetoed', 'rec_open'].map((id) => ['recovery.request', filed(id)] as const),
  ['recovery.activate', activated('rec_active', 'grant_1')],
  ['recovery.veto', { subject: { recovery: 'rec_vetoed' }, actor: 'olga' }],
];

/** Appends what has happened; resolves with how many entries there are when a checkpoint covers them. */
export async function logHappened(database: Database): Promise<number> {
  for (const [act, said] of HAPPENED) await logAct(database, act, said);
  const size = 2 * HAPPENED.length;
  await database.log.inclusion(size - 1);
  return size;
}

/** Appends an act that was done. */
export async function logAct(database: Database, act: Act, said: Said): Promise<void> {
  const id = newId('ActId', freshBytes);
  const [attempt, outcome] = entriesOf(act, said, id);
  await database.journal.append(write(id, 'opens', attempt));
  await database.journal.append(write(id, 'closes', outcome));
}

function write(id: ActId, role: JournalWrite['role'], entry: Uint8Array | undefined): JournalWrite {
  return { id, role, entry: entry ?? new Uint8Array(), about: {}, claims: [], changes: [] };
}

/** Follows the log with a state that is kept, as the daemon does, and counts the entries that it was given. */
export function followOf(facts: LogState, release = '1.0.0'): Follow & { readonly taken: () => number } {
  let taken = 0;
  return {
    taken: () => taken,
    take: (index, entry) => {
      taken += 1;
      facts.take(index, entry);
    },
    state: {
      release,
      save: () => facts.save(),
      restore: (saved) => {
        facts.restore(saved as SavedState);
      },
    },
  };
}
