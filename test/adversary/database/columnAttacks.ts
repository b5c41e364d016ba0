import type { ActName, ColumnScene } from './columnScene.js';
import { ORDER_KEY, OTHER_GRANT, OTHER_ORDER_KEY, OTHER_RECOVERY } from './columnScene.js';

/** One way to change columns of one row, what is then tried, and what must be answered. */
export interface ColumnAttack {
  /** SQL of the new value, by column. */
  readonly set: Readonly<Record<string, string>>;
  /** What is done in place of an update, where the daemon's role may do something else only. */
  readonly sql?: string;
  /** Which row, before and (where that differs) after the change. */
  readonly where: string;
  readonly after?: string;
  /** Whoever owns the schema; else the daemon's own role. */
  readonly by?: 'owner';
  readonly act: ActName;
  readonly answer: string;
  /**
   * The test that shows the attack succeed with the check taken out, as `file: words of it`; or why nobody needs one: what is
   * tried decides nothing by this column.
   */
  readonly control: string;
}

const FACTS = (row: string): string =>
  `hiddenFacts.test.ts: the control: %s, where rows are believed | ${row}`;
const RECORD = (row: string): string =>
  `requestRecord.test.ts: the control: %s, where records are believed | ${row}`;
const CALLS = 'loggedCalls.test.ts: the control';
const UNREAD = 'no act reads it';
const AVAILABILITY = 'it can only stop what may be done';

/** Members of a JSON column are columns of their own: `document.reason`. */
function member(path: string, value: string): string {
  return `jsonb_set(document, '{${path.replaceAll('.', ',')}}', ${value})`;
}

/** Every column that the daemon's role may not change, so that whoever tries is refused by the database. */
export const REFUSED: Readonly<Record<string, readonly string[]>> = {
  log_entry: ['seq', 'id', 'part', 'entry', 'about_key', 'about_owner', 'about_recovery', 'about_grant'],
  log_batch: ['first', 'count', 'writer', 'counter', 'follows', 'since', 'signature'],
  log_writer: ['id', 'certificate'],
  log_unsigned: ['id', 'size'],
  log_tile: ['level', 'index', 'hash'],
  log_checkpoint: ['size', 'note'],
  log_cosignature: ['size', 'name', 'key_id', 'line', 'cosigned_at'],
  log_subject: ['first', 'block', 'about_key', 'about_owner', 'about_recovery', 'about_grant', 'seqs'],
  log_reading: [
    ...['seq', 'time', 'act', 'phase', 'actor', 'id'],
    ...['about_key', 'about_owner', 'about_recovery', 'about_grant', 'entry'],
  ],
  policy: ['version', 'hash', 'document', 'signatures', 'applied_at'],
  deposit: ['key', 'owner', 'created_at', 'quorums'],
  request_seen: ['request', 'expires_at'],
  idempotency_outcome: ['act', 'seq'],
  knex_migrations: ['id', 'name', 'batch', 'migration_time'],
};

/** Every other column, with what comes of it; and of those above, what the schema's owner can try. */
export function attacksOn(scene: ColumnScene): Readonly<Record<string, readonly ColumnAttack[]>> {
  const { live, unread, usedUp, revoked, paced, due, pending, vetoed, released, signing, decrypting } = scene;
  const grant = (id: string): string => `id = '${id}'`;
  const onGrant = (set: ColumnAttack['set'], more: Partial<ColumnAttack>): ColumnAttack => ({
    ...{ set, where: grant(live), act: 'sign', answer: 'record-mismatch' },
    ...{ control: FACTS('how many uses there are'), ...more },
  });
  /** Of a grant that the daemon reads for its first use, and of one that it has at hand: what the log said of that stands. */
  const onTerms = (
    set: ColumnAttack['set'],
    control: string = FACTS('how many uses there are'),
  ): readonly ColumnAttack[] => [
    onGrant(set, { where: grant(unread), act: 'sign for the first time', control }),
    onGrant(set, harmless(control)),
  ];
  const onRequest = (set: ColumnAttack['set'], more: Partial<ColumnAttack>): ColumnAttack => ({
    ...{ set, where: grant(due), act: 'release', answer: 'record-mismatch', control: RECORD('the reason') },
    ...more,
  });
  const inDocument = (path: string, value: string, more: Partial<ColumnAttack> = {}): ColumnAttack =>
    onRequest({ document: member(path, value) }, more);
  const onDeposit = (set: ColumnAttack['set'], more: Partial<ColumnAttack> = {}): ColumnAttack => ({
    ...{ set, where: `key = '${decrypting.key}'`, act: 'release', answer: 'record-mismatch' },
    ...{ control: FACTS('the quorums that a key was made with'), ...more },
  });
  const inDeposit = (path: string, value: string, more: Partial<ColumnAttack> = {}): ColumnAttack =>
    onDeposit({ document: member(path, value) }, more);
  const onPolicy = (set: ColumnAttack['set'], more: Partial<ColumnAttack>): ColumnAttack => ({
    ...{ by: 'owner', set, where: 'version = (select max(version) from policy)' },
    ...{ act: 'see the policy', answer: 'record-mismatch' },
    ...{ control: '../../escrow/directory.test.ts: and another in its place is found', ...more },
  });
  const ofOrder = `act = (select act from idempotency_key where key = '${ORDER_KEY}')`;
  const onOrder = (set: ColumnAttack['set'], more: Partial<ColumnAttack> = {}): ColumnAttack => ({
    ...{ set, where: `key = '${ORDER_KEY}'`, act: 'order by the same key', answer: 'record-mismatch' },
    ...{ control: CALLS, ...more },
  });
  const harmless = (control = UNREAD): Pick<ColumnAttack, 'answer' | 'control'> => ({
    answer: 'done',
    control,
  });

  return {
    grant_: [
      onGrant(
        { id: `'${OTHER_GRANT}'` },
        {
          where: grant(revoked),
          after: grant(OTHER_GRANT),
          act: 'sign under another name',
          answer: 'grant-revoked',
        },
      ),
      onGrant({ id: `'${OTHER_GRANT}'` }, { after: grant(OTHER_GRANT), act: 'sign under another name' }),
      ...onTerms({ recovery: `'${OTHER_RECOVERY}'` }),
      ...onTerms({ key: `'${decrypting.key}'` }),
      ...onTerms({ spec: `'rsa-2048'` }),
      ...onTerms({ owner: `'other-owner'` }),
      onGrant({ owner: `'other-owner'` }, { act: 'revoke another owner’s grant' }),
      onGrant({ app: `'other-app'` }, { act: 'sign by another app', answer: 'forbidden', control: UNREAD }),
      onGrant(
        { scope: `jsonb_set(scope, '{app}', '"other-app"')` },
        { act: 'sign by another app', answer: 'forbidden', control: FACTS('for whom a grant is') },
      ),
      onGrant(
        { scope: `jsonb_set(scope, '{app}', '"other-app"')` },
        {
          ...{ where: grant(unread), act: 'sign by another app for the first time' },
          control: FACTS('for whom a grant is'),
        },
      ),
      ...onTerms({ scope: `jsonb_set(scope, '{maxUses}', '91')` }),
      ...onTerms({ scope: `jsonb_set(scope, '{mechanisms}', '["ES256", "RS256"]')` }),
      ...onTerms({ scope: `jsonb_set(scope, '{operations}', '["sign", "decrypt"]')` }),
      ...onTerms({ scope: `jsonb_set(scope, '{input}', '"digest"')` }),
      onGrant(
        { scope: `jsonb_set(scope, '{rate}', 'null')` },
        {
          ...{ where: grant(paced), act: 'sign too soon', answer: 'grant-rate-exceeded' },
          control: FACTS('uses that were made'),
        },
      ),
      onGrant(
        { used: '0', status: `'active'` },
        {
          ...{ where: grant(usedUp), act: 'sign under a used up grant' },
          ...{ answer: 'grant-exhausted', control: FACTS('uses that were made') },
        },
      ),
      onGrant(
        { max_uses: '9', status: `'active'` },
        {
          ...{ where: grant(usedUp), act: 'sign under a used up grant', answer: 'grant-exhausted' },
          control: FACTS('uses that were made'),
        },
      ),
      ...onTerms({ certificate: `'a.b.c'` }, FACTS('that a grant has a certificate')),
      ...onTerms({ certificate: 'null' }, FACTS('that a grant has a certificate')),
      ...onTerms({ starts_at: `starts_at - interval '1 hour'` }),
      ...onTerms({ expires_at: `expires_at + interval '1 hour'` }, FACTS('when a grant ends')),
      onGrant({ status: `'revoked'` }, { answer: 'grant-revoked', control: AVAILABILITY }),
      onGrant(
        { used: 'max_uses', status: `'exhausted'` },
        { answer: 'grant-exhausted', control: AVAILABILITY },
      ),
      onGrant(
        { status: `'active'` },
        {
          where: grant(revoked),
          act: 'sign under a revoked grant',
          control: FACTS('a revocation'),
        },
      ),
      onGrant(
        { recent: `'[]'` },
        {
          ...{ where: grant(paced), act: 'sign too soon', answer: 'grant-rate-exceeded' },
          control: FACTS('uses that were made'),
        },
      ),
    ],
    recovery: [
      onRequest(
        { id: `'${OTHER_RECOVERY}'`, document: member('id', `'"${OTHER_RECOVERY}"'`) },
        {
          ...{ after: grant(OTHER_RECOVERY), act: 'release under another name' },
          control: RECORD('a release is redirected'),
        },
      ),
      onRequest({ revision: 'revision + 1' }, { answer: 'busy', control: AVAILABILITY }),
      onRequest(
        { status: `'approved'` },
        {
          ...{ where: grant(vetoed), act: 'release of a vetoed request' },
          ...{ answer: 'recovery-ended', control: UNREAD },
        },
      ),
      onRequest({ keys: `array['${signing.key}']` }, { act: 'see it', ...harmless() }),
      onRequest(
        { participants: `array['other-owner']` },
        { act: 'veto by another', answer: 'forbidden', control: UNREAD },
      ),
      onRequest({ filed_at: `filed_at - interval '1 day'` }, { act: 'see it', ...harmless() }),
      inDocument('version', `'3'`, { control: RECORD('the form of the hash') }),
      inDocument('id', `'"${OTHER_RECOVERY}"'`, { control: RECORD('a release is redirected') }),
      inDocument('revision', `'7'`, { answer: 'busy', control: AVAILABILITY }),
      inDocument('keys', `'["${signing.key}"]'`, {
        answer: 'purpose-not-allowed',
        control: RECORD('the attestation'),
      }),
      inDocument('owner', `'"other-owner"'`, { control: RECORD('the owner') }),
      inDocument('owner', `'"other-owner"'`, {
        ...{ act: 'veto by another', control: RECORD('the owner') },
      }),
      inDocument('requester', `'"officer-2"'`, { control: RECORD('the requester') }),
      inDocument('asked.recipient', `'"officer-2"'`, {
        ...{ act: 'release to another', control: RECORD('a release is redirected') },
      }),
      inDocument('reason', `'"another"'`, { control: RECORD('the reason') }),
      inDocument('filedAt', `'"2026-01-01T00:00:00.000Z"'`, {
        control: RECORD('the time of filing'),
      }),
      inDocument('expiresAt', `'"2099-01-01T00:00:00.000Z"'`, {
        control: RECORD('the expiry'),
      }),
      inDocument('approvalsHoldMs', `'1000000000'`, {
        control: RECORD('how long approvals hold'),
      }),
      inDocument('requestHash', `to_jsonb(repeat('0', 64))`, { control: RECORD('the reason') }),
      inDocument('transportKey', `'"AAAA"'`, { control: RECORD('the transport key') }),
      inDocument('attestation', `'"a.b.c"'`, { control: RECORD('the attestation') }),
      inDocument('approvals', `'[]'`, {
        ...{ answer: 'quorum-incomplete', control: AVAILABILITY },
      }),
      inDocument('approvals.1.depositary', `'"officer-2"'`, {
        ...{ answer: 'quorum-incomplete', control: RECORD('who has approved') },
      }),
      inDocument('approvals', `(select document -> 'approvals' from recovery where id = '${due}')`, {
        ...{ where: grant(pending), act: 'release without a quorum', answer: 'quorum-incomplete' },
        control: RECORD('what an approver has said'),
      }),
      inDocument('intents', `(select document -> 'approvals' from recovery where id = '${due}')`, {
        ...{ where: grant(pending), act: 'release without a quorum', answer: 'quorum-incomplete' },
        control: RECORD('what an approver has said'),
      }),
      inDocument('denials', `'[]'`, {
        ...{ where: grant(vetoed), act: 'release of a vetoed request' },
        answer: 'recovery-ended',
        control: FACTS('a denial'),
      }),
      ...['transferKey', 'wrappedKey'].map((part) =>
        inDocument(`state.answers.0.${part}`, `'"AAAA"'`, {
          ...{ where: grant(released), act: 'see what was released' },
          control: 'releasedAnswers.test.ts: the control: %s, where the record is believed',
        }),
      ),
      inDocument('state', `(select document -> 'state' from recovery where id = '${due}')`, {
        ...{ where: grant(vetoed), act: 'release of a vetoed request' },
        control: FACTS('a veto'),
      }),
      inDocument('state', `(select document -> 'state' from recovery where id = '${due}')`, {
        ...{ where: grant(pending), act: 'release without a quorum', answer: 'quorum-incomplete' },
        control: FACTS('that nobody else has approved'),
      }),
    ],
    deposit: [
      onDeposit(
        { key: `'key_${'e'.repeat(32)}'` },
        {
          ...{ by: 'owner', after: `key = 'key_${'e'.repeat(32)}'`, answer: 'key-unknown' },
          control: AVAILABILITY,
        },
      ),
      onDeposit(
        { owner: `'other-owner'` },
        { by: 'owner', act: 'see a key as somebody else', answer: 'forbidden', control: UNREAD },
      ),
      onDeposit(
        { depositaries: `array['other-owner']` },
        { act: 'see a key as somebody else', answer: 'forbidden', control: UNREAD },
      ),
      onDeposit(
        { created_at: `created_at - interval '1 day'` },
        { by: 'owner', act: 'see a key', ...harmless() },
      ),
      onDeposit(
        { quorums: `'[]'` },
        { by: 'owner', answer: 'refused', control: 'the database makes it of the document, whoever asks' },
      ),
      inDeposit('key', `'"${signing.key}"'`),
      inDeposit('key', `'"${signing.key}"'`, { act: 'see a key' }),
      onDeposit({ document: `(select document from deposit where key = '${signing.key}')` }),
      onDeposit(
        { document: `(select document from deposit where key = '${signing.key}')` },
        { act: 'see a key' },
      ),
      inDeposit('owner', `'"other-owner"'`),
      inDeposit('owner', `'"other-owner"'`, { act: 'see a key as somebody else' }),
      inDeposit('label', `'"another"'`),
      inDeposit('spec', `'"rsa-3072"'`),
      inDeposit('use', `'"sign"'`),
      inDeposit('publicKey', `'"AAAA"'`),
      inDeposit('checkValue', `'"AAAA"'`),
      inDeposit('bornOutside', `'false'`),
      inDeposit('createdAt', `'"2026-01-01T00:00:00.000Z"'`),
      inDeposit('binding', `'{"version": 1}'`),
      inDeposit('rule.name', `'"another"'`),
      inDeposit('requesters', `'["depositary", "admin", "app"]'`),
      inDeposit('requests.approvalsHoldMs', `'1000000000'`),
      inDeposit('operate.maxUses', `'1000000'`),
      inDeposit('release', `'{"delayMs": 0, "ownerMayVeto": false}'`),
      inDeposit('purposes', `(select document -> 'purposes' from deposit where key = '${signing.key}')`),
      inDeposit('purposes.0.quorums.0.members', `'["manager"]'`),
      inDeposit('purposes.0.shares.0.share', `document #> '{purposes,0,shares,1,share}'`),
      inDeposit('ownersCopy', `'{"transferKey": "AAAA", "key": "AAAA"}'`),
      inDeposit('digest', `to_jsonb(repeat('0', 64))`),
      inDeposit('label', `'"another"'`, { act: 'see a key' }),
      inDeposit('label', `'"another"'`, { act: 'ask for a key' }),
    ],
    policy_head: [
      {
        set: { version: 'version - 1' },
        where: 'id = 1',
        act: 'sign',
        answer: 'busy',
        control: AVAILABILITY,
      },
      {
        set: { version: 'version + 1' },
        where: 'id = 1',
        act: 'sign',
        answer: 'busy',
        control: AVAILABILITY,
      },
      { set: { id: 'id + 1' }, where: 'id = 1', act: 'sign', answer: 'refused', control: AVAILABILITY },
    ],
    policy: [
      onPolicy({ version: 'version + 1' }, { after: 'version = (select max(version) from policy)' }),
      onPolicy({ hash: `repeat('0', 64)` }, { act: 'see policies' }),
      onPolicy({ document: `replace(document, 'PT24H', 'PT23H')` }, {}),
      onPolicy(
        { signatures: `array['a.b.c']` },
        { act: 'see policies', ...harmless('who signed is known by signatures that were verified') },
      ),
      onPolicy(
        { applied_at: `now()` },
        { act: 'see policies', ...harmless('the time that is shown is the database’s word') },
      ),
    ],
    log_head: [
      { set: { id: 'id + 1' }, where: 'id = 1', act: 'sign', answer: 'refused', control: AVAILABILITY },
      {
        set: { size: 'size - 1' },
        where: 'id = 1',
        act: 'sign',
        answer: 'log-unavailable',
        control: AVAILABILITY,
      },
    ],
    log_subject_head: [
      {
        set: { id: 'id + 1' },
        where: 'id = 1',
        act: 'have a history stated',
        answer: 'refused',
        control: AVAILABILITY,
      },
      {
        ...{ set: { size: 'size + 100000' }, where: 'id = 1', act: 'have a history stated' },
        ...harmless('what is stated is held against every entry: history.test.ts'),
      },
    ],
    instance: [
      {
        set: { id: `'another'` },
        where: 'true',
        after: `id = 'another'`,
        act: 'sign',
        ...harmless(AVAILABILITY),
      },
      {
        set: { lease_until: `now() - interval '1 hour'` },
        where: 'true',
        act: 'sign',
        ...harmless(AVAILABILITY),
      },
    ],
    request_seen: [
      {
        ...{ set: { request: 'gone' }, sql: 'delete from request_seen', where: 'true' },
        ...{ act: 'send an order again', answer: 'request-replayed', control: CALLS },
      },
      {
        ...{ by: 'owner' as const, set: { request: 'gen_random_uuid()' }, where: 'true' },
        ...{ act: 'send an order again' as const, answer: 'request-replayed', control: CALLS },
      },
      {
        ...{ by: 'owner' as const, set: { expires_at: `now() - interval '1 day'` }, where: 'true' },
        ...{ act: 'send an order again' as const, answer: 'request-replayed', control: CALLS },
      },
    ],
    idempotency_key: [
      onOrder({ principal: `'other-owner'` }),
      onOrder({ key: `'another'` }),
      onOrder({ act: `(select act from idempotency_key where key = '${OTHER_ORDER_KEY}')` }),
      onOrder(
        { fingerprint: `repeat('0', 64)` },
        { answer: 'idempotency-key-reused', control: AVAILABILITY },
      ),
      onOrder({ claimed_at: `claimed_at - interval '2 days'` }, { ...harmless() }),
      onOrder({ expires_at: `now() - interval '1 hour'` }),
    ],
    idempotency_outcome: [
      onOrder(
        { act: `'act_of_nobody'` },
        {
          ...{ sql: `delete from idempotency_outcome where ${ofOrder}` },
          ...{ answer: 'idempotency-in-progress', control: AVAILABILITY },
        },
      ),
      onOrder(
        { seq: 'that of another' },
        {
          sql: `delete from idempotency_outcome where ${ofOrder};
                insert into idempotency_outcome (act, seq)
                select k.act, o.seq from idempotency_key k, idempotency_outcome o
                where k.key = '${ORDER_KEY}' and o.act = (
                  select act from idempotency_key where key = '${OTHER_ORDER_KEY}')`,
        },
      ),
    ],
  };
}

/**
 * Columns of tables by which no act decides, or of which there is no row while nothing is under way: what comes of rows of one's own
 * there is tried in `columns.test.ts`, behind the rows; of a state that a start goes on from, in `stateSnapshot.test.ts`.
 */
export const SURROUNDINGS: Readonly<Record<string, readonly string[]>> = {
  open_act: ['id', 'instance', 'holds_recovery', 'seq', 'keyed'],
  log_frontier: ['id', 'size', 'frontier'],
  log_state: ['id', 'statement', 'state'],
  notification_sink: [
    ...['name', 'next_entry', 'next_position', 'leased_by', 'leased_until', 'attempts'],
    ...['not_before', 'last_fault'],
  ],
  notification_dropped: [
    ...['sink', 'notice', 'entry', 'recipient', 'kind', 'fault', 'dropped_at', 'delivered_at'],
  ],
};
