import type { Deposit } from '../../escrow/records/deposit.js';
import type { Grant } from '../../escrow/records/grant.js';
import type { Change } from '../../escrow/ports/journal.js';
import type { Recovery } from '../../escrow/records/recovery.js';
import type { LockedRows, Statement, Undo } from './lockedRows.js';
import { depositariesOf, participantsOf, toDocument } from '../rows.js';

/** Makes a change on the locked rows; undefined when it does not fit there. */
export function takeChange(change: Change, locked: LockedRows): Undo | undefined {
  switch (change.change) {
    case 'policy-applied': {
      const before = locked.policyVersion;
      if (change.version !== before + 1) return undefined;
      locked.policyVersion = change.version;
      return () => (locked.policyVersion = before);
    }
    case 'deposit-created': {
      const { key, digest } = change.deposit;
      if (locked.deposits.has(key)) return undefined;
      locked.deposits.set(key, digest);
      return () => locked.deposits.delete(key);
    }
    case 'deposit-replaced': {
      const { key, digest } = change.deposit;
      if (locked.deposits.get(key) !== change.replaced) return undefined;
      locked.deposits.set(key, digest);
      return () => locked.deposits.set(key, change.replaced);
    }
    case 'recovery-saved': {
      const { id, revision } = change.recovery;
      const before = locked.recoveries.get(id);
      if (revision !== (before ?? 0) + 1) return undefined;
      locked.recoveries.set(id, revision);
      return () => (before === undefined ? locked.recoveries.delete(id) : locked.recoveries.set(id, before));
    }
    case 'grant-created': {
      const { id, status, used, recent, scope, startsAt, expiresAt, certificate } = change.grant;
      const isCertified = certificate !== undefined;
      if (locked.grants.has(id)) return undefined;
      const { maxUses, rate } = scope;
      locked.grants.set(id, { status, used, maxUses, rate, recent, startsAt, expiresAt, isCertified });
      return () => locked.grants.delete(id);
    }
    case 'grant-certified': {
      const grant = locked.grants.get(change.grant);
      if (grant?.status !== 'active' || grant.isCertified) return undefined;
      grant.isCertified = true;
      return () => (grant.isCertified = false);
    }
    case 'grant-ended': {
      const grant = locked.grants.get(change.grant);
      if (grant?.status !== 'active') return undefined;
      grant.status = change.status;
      return () => (grant.status = 'active');
    }
  }
}

/**
 * Writes a change that the judge let through. That it fits needs no second look: the judge saw the rows under locks which
 * the transaction holds, and a row that appeared since breaks a primary key.
 */
export function changeStatements(change: Change): readonly Statement[] {
  switch (change.change) {
    case 'policy-applied':
      return applyPolicy(change);
    case 'deposit-created':
      return [insertDeposit(change.deposit)];
    case 'deposit-replaced':
      return [replaceDeposit(change)];
    case 'recovery-saved':
      return [
        change.recovery.revision === 1 ? insertRecovery(change.recovery) : replaceRecovery(change.recovery),
      ];
    case 'grant-created':
      return [insertGrant(change.grant)];
    case 'grant-certified':
      return [certifyGrant(change)];
    case 'grant-ended':
      return [endGrant(change)];
  }
}

function applyPolicy({
  version,
  hash,
  document,
  signatures,
  at,
}: Extract<Change, { change: 'policy-applied' }>): readonly Statement[] {
  return [
    {
      name: 'insert-policy',
      text: 'insert into policy (version, hash, document, signatures, applied_at) values ($1, $2, $3, $4, $5)',
      values: [version, hash, document, [...signatures], at.toISOString()],
    },
    { name: 'set-policy-head', text: 'update policy_head set version = $1 where id = 1', values: [version] },
  ];
}

function insertDeposit(deposit: Deposit): Statement {
  return {
    name: 'insert-deposit',
    text: `insert into deposit (key, owner, depositaries, created_at, document) values ($1, $2, $3, $4, $5)`,
    values: [
      deposit.key,
      deposit.owner,
      depositariesOf(deposit),
      deposit.createdAt.toISOString(),
      toDocument(deposit),
    ],
  };
}

function replaceDeposit({ deposit, replaced }: Extract<Change, { change: 'deposit-replaced' }>): Statement {
  return {
    name: 'replace-deposit',
    text: `update deposit set depositaries = $2, document = $3 where key = $1 and document ->> 'digest' = $4`,
    values: [deposit.key, depositariesOf(deposit), toDocument(deposit), replaced],
  };
}

/** The depositaries of the keys take part from the start: they are who is asked. */
function insertRecovery(recovery: Recovery): Statement {
  return {
    name: 'insert-recovery',
    text: `insert into recovery (id, revision, status, keys, filed_at, document, participants)
           values ($1, $2, $3, $4, $5, $6,
                   array(select unnest($7::text[]) union select unnest(depositaries) from deposit where key = any($4::text[])))`,
    values: recoveryValues(recovery),
  };
}

function replaceRecovery(recovery: Recovery): Statement {
  return {
    name: 'replace-recovery',
    text: `update recovery set revision = $2, status = $3, keys = $4, filed_at = $5, document = $6,
                  participants = array(select unnest($7::text[]) union select unnest(participants))
           where id = $1 and revision = $2 - 1`,
    values: recoveryValues(recovery),
  };
}

function recoveryValues(recovery: Recovery): readonly unknown[] {
  const { id, revision, state, keys, filedAt } = recovery;
  return [
    id,
    revision,
    state.status,
    [...keys],
    filedAt.toISOString(),
    toDocument(recovery),
    participantsOf(recovery),
  ];
}

function insertGrant(grant: Grant): Statement {
  return {
    name: 'insert-grant',
    text: `insert into grant_ (id, recovery, key, spec, owner, app, scope, used, max_uses, starts_at, expires_at, status,
                               recent, certificate)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
    values: [
      grant.id,
      grant.recovery,
      grant.key,
      grant.spec,
      grant.owner,
      grant.scope.app,
      toDocument(grant.scope),
      grant.used,
      grant.scope.maxUses,
      grant.startsAt.toISOString(),
      grant.expiresAt.toISOString(),
      grant.status,
      JSON.stringify(grant.recent),
      grant.certificate ?? null,
    ],
  };
}

function certifyGrant({ grant, certificate }: Extract<Change, { change: 'grant-certified' }>): Statement {
  return {
    name: 'certify-grant',
    text: `update grant_ set certificate = $2 where id = $1 and certificate is null`,
    values: [grant, certificate],
  };
}

function endGrant({ grant, status }: Extract<Change, { change: 'grant-ended' }>): Statement {
  return {
    name: 'end-grant',
    text: `update grant_ set status = $2 where id = $1 and status = 'active'`,
    values: [grant, status],
  };
}
