import type { Escrow } from '../escrow/escrow.js';
import { type Deposit, type PurposeDeposit, brakesOf, generationOf } from '../escrow/records/deposit.js';
import { base64url } from '../escrow/records/digests.js';
import type { Grant, GrantStatus } from '../escrow/records/grant.js';
import {
  type CoveragePage,
  type CoveredKey,
  type CoveredPurpose,
  type Standing,
  coverageOfKey,
} from '../escrow/reads/coverage.js';
import type { HistoryPage } from '../escrow/reads/history.js';
import type { PrincipalId } from '../escrow/records/ids.js';
import type { Used } from '../escrow/acts/useGrant.js';
import { repliesOf } from '../escrow/records/policy.js';
import type { StoredEntry } from '../escrow/ports/log.js';
import type { Page } from '../escrow/ports/store.js';
import type { Rate } from '../escrow/records/rate.js';
import { type Asked, type DescribedKey, type ReleasedKey, endOf } from '../escrow/records/recovery.js';
import type { Scope } from '../escrow/records/scope.js';
import { type LiveQuorums, coverageOf } from '../escrow/rules/liveQuorums.js';
import { brakesOfAll } from '../escrow/rules/requestTerms.js';
import { requestInWords } from '../escrow/records/inWords.js';
import type { LosingKey } from '../escrow/reads/losses.js';
import type { KeyView, RecoveryView } from '../escrow/reads/recoveries.js';
import type { DrilledShare } from '../escrow/acts/drills/drillShares.js';
import type { DrillPage, DrillableShare } from '../escrow/reads/drills.js';
import { type DecisionProofs, type ProvenEntry, outcomeProof } from '../escrow/reads/proofs.js';
import type {
  Acted,
  CoveragePageReply,
  CoveredKeyReply,
  DepositReply,
  DrillPageReply,
  DrillShareReply,
  DrilledReply,
  EntryReply,
  ForDepositaryReply,
  GrantReply,
  HistoryReply,
  KeyReply,
  LosingKeyReply,
  PageReply,
  ProofReply,
  PurposeCoverageReply,
  RateReply,
  RecoveryKeyReply,
  RecoveryReply,
  ReleaseReply,
  ReleasedKeysReply,
  ScopeReply,
  ShareReply,
} from '../api/replies.js';
import { BIRTHS } from '../escrow/records/creation.js';
import { decodeEntry } from '../log/entry/entry.js';
import { spkiPem } from './publicKey.js';
import { formatDuration } from '../policy/durations.js';

/*
 * From the core's records to src/api/replies.ts: field by field, so that nothing goes out that was not written down
 * here. Members without a value are absent.
 */

/** A page, each item as `reply` has it. */
export function pageReply<T, W>(page: Page<T>, reply: (item: T) => W): PageReply<W> {
  return { items: page.items.map(reply), ...(page.next === undefined ? {} : { next: page.next }) };
}

/** A key, as this viewer sees it: the owner's copy is for the owner alone. */
export function keyReply(deposit: Deposit, viewer: PrincipalId, standing: Standing): KeyReply {
  const { operate, release, requests, ownersCopy } = deposit;
  return {
    key: deposit.key,
    owner: deposit.owner,
    label: deposit.label,
    spec: deposit.spec,
    use: deposit.use,
    ...publicKeyPem(deposit),
    ...checkValue(deposit),
    ...bornOutside(deposit),
    createdAt: deposit.createdAt.toISOString(),
    generation: generationOf(deposit),
    rule: {
      name: deposit.rule.name,
      policyVersion: deposit.rule.policyVersion,
      policyHash: deposit.rule.policyHash,
    },
    purposes: deposit.purposes.map((sealed) => ({
      purpose: sealed.purpose,
      quorums: sealed.quorums.map(({ members }) => members),
      recipients: recipientsReply(sealed),
    })),
    terms: {
      ...(operate === undefined
        ? {}
        : {
            operate: {
              operations: operate.operations,
              maxUses: operate.maxUses,
              maxDuration: formatDuration(operate.maxDurationMs),
              ...rateReply(operate.rate),
              ...(operate.mechanisms === undefined ? {} : { mechanisms: operate.mechanisms }),
              input: operate.input,
              delay: formatDuration(operate.delayMs),
              ownerMayVeto: operate.ownerMayVeto,
              ...repliesOf(operate),
            },
          }),
      ...(release === undefined
        ? {}
        : {
            release: {
              delay: formatDuration(release.delayMs),
              ownerMayVeto: release.ownerMayVeto,
              ...repliesOf(release),
            },
          }),
      requests: {
        maxValidFor: formatDuration(requests.maxValidForMs),
        approvalsHold: formatDuration(requests.approvalsHoldMs),
        ...(requests.denialsToEnd === undefined ? {} : { denialsToEnd: requests.denialsToEnd }),
        distinct: requests.distinct,
      },
    },
    digest: deposit.digest,
    coverage: {
      policyVersion: standing.policy.version,
      isTokenAsked: standing.enrolled !== undefined,
      purposes: coverageOfKey(deposit, standing).map(purposeCoverageReply),
    },
    ...(ownersCopy === undefined || viewer !== deposit.owner
      ? {}
      : { ownersCopy: releaseReply(ownersCopy, oaepOf(deposit)) }),
  };
}

/** Who can bring a key back for one purpose. */
export function purposeCoverageReply({
  purpose,
  live,
  singlePoints,
  unable,
  kek,
}: LiveQuorums & Partial<Pick<CoveredPurpose, 'kek'>>): PurposeCoverageReply {
  return {
    purpose,
    live,
    singlePoints,
    unable: unableReply(unable),
    ...(kek === undefined ? {} : { kekState: kek.is }),
  };
}

/** The keys of a page, each with who can bring it back. */
export function coveragePageReply(page: CoveragePage): CoveragePageReply {
  const { standing, totals } = page;
  return {
    ...pageReply(page, coveredKeyReply),
    policyVersion: standing.policy.version,
    policyHash: standing.policy.hash,
    isTokenAsked: standing.enrolled !== undefined,
    ...(totals === undefined
      ? {}
      : {
          totals: {
            keys: totals.keys,
            lost: totals.lost,
            oneQuorum: totals['one-quorum'],
            singlePoint: totals['single-point'],
            covered: totals.covered,
          },
        }),
  };
}

function coveredKeyReply(covered: CoveredKey): CoveredKeyReply {
  const { deposit, department, lastUsedAt, isAsLogged, coverage, purposes } = covered;
  return {
    key: deposit.key,
    owner: deposit.owner,
    ...(department === undefined ? {} : { department }),
    label: deposit.label,
    spec: deposit.spec,
    use: deposit.use,
    rule: deposit.rule.name,
    createdAt: deposit.createdAt.toISOString(),
    generation: generationOf(deposit),
    ...(lastUsedAt === undefined ? {} : { lastUsedAt: lastUsedAt.toISOString() }),
    isAsLogged,
    coverage,
    purposes: purposes.map((each, at) => ({
      coverage: coverageOf(each),
      quorums: deposit.purposes[at]?.quorums.length ?? 0,
      kek: deposit.purposes[at]?.kek ?? '',
      ...purposeCoverageReply(each),
      drilled: each.drilled,
      drills: each.drills.map(({ depositary, at, isOpened, isProven }) => ({
        ...{ depositary, at: at.toISOString(), isOpened, isProven },
      })),
    })),
  };
}

/** A key that a policy would leave covered worse. */
export function losingKeyReply({ deposit, losses }: LosingKey): LosingKeyReply {
  const { key, owner, label } = deposit;
  return {
    ...{ key, owner, label },
    purposes: losses.map(({ before, after, left }) => ({ before, after, ...purposeCoverageReply(left) })),
  };
}

function unableReply(unable: LiveQuorums['unable']): PurposeCoverageReply['unable'] {
  return unable.map(({ depositary, because }) => ({ depositary, because }));
}

/**
 * A recovery request, as its viewer sees it. `proofs` are for a depositary who is to decide; without them, as in lists, `forDepositary` is absent.
 *
 * @param oaep how releases are encrypted: the standard's name
 */
export function recoveryReply(view: RecoveryView, oaep: string, proofs?: DecisionProofs): RecoveryReply {
  const { recovery, status, released } = view;
  const { asked, state } = recovery;
  return {
    recovery: recovery.id,
    owner: recovery.owner,
    keys: eachKeyOnce(view.keys).map(recoveryKeyReply),
    requester: recovery.requester,
    reason: recovery.reason,
    purpose: asked.purpose,
    ...askedReply(asked),
    filedAt: recovery.filedAt.toISOString(),
    expiresAt: recovery.expiresAt.toISOString(),
    approvalsHold: formatDuration(recovery.approvalsHoldMs),
    requestHash: recovery.requestHash,
    summary: requestInWords({ ...recovery, descriptions: descriptionsOf(view) }),
    status,
    ...intentsReply(view),
    approvedBy: view.approvals.map(({ depositary }) => depositary),
    deniedBy: recovery.denials.map(({ depositary, reason }) => ({ depositary, reason })),
    ownerMayVeto: brakesOfAll(view.keys).ownerMayVeto,
    ...endReply(view),
    ...(status === 'approved' && state.status === 'approved'
      ? { releasableAt: state.releasableAt.toISOString(), holdsUntil: state.holdsUntil.toISOString() }
      : {}),
    ...(released === undefined ? {} : { release: releasedKeysReply(released, oaep) }),
    ...(proofs === undefined ? {} : forDepositary(view, proofs)),
  };
}

/** The keys, with what they are where the hash of the request covers it. */
function descriptionsOf({ recovery, keys }: RecoveryView): readonly DescribedKey[] {
  return recovery.version === 3 ? [] : eachKeyOnce(keys).map(({ deposit }) => deposit);
}

/** One that is to be sealed anew stands there for each of its purposes; who can bring it back is the same for each. */
function eachKeyOnce(keys: readonly KeyView[]): readonly KeyView[] {
  return keys.filter(({ deposit }, at) => keys[at - 1]?.deposit !== deposit);
}

function askedReply(asked: Asked): Pick<RecoveryReply, 'scope' | 'recipient' | 'reseal'> {
  switch (asked.purpose) {
    case 'operate':
      return { scope: scopeReply(asked.scope) };
    case 'release':
      return { recipient: asked.recipient };
    case 'reseal': {
      const { job, policy, plan } = asked;
      const { rule, quorums, recipients, keks, from, rotations, unrotated } = plan;
      return {
        reseal: {
          ...{ job, policyVersion: policy.version, policyHash: policy.hash, rule, quorums, keks },
          recipients: recipients.map(({ depositary, fingerprint }) => ({ depositary, fingerprint })),
          from: Object.entries(from).map(([key, generation]) => ({ key, generation })),
          ...(rotations === undefined ? {} : { rotations: rotations.map(({ from, to }) => ({ from, to })) }),
          ...(unrotated === undefined ? {} : { unrotated }),
        },
      };
    }
  }
}

function recoveryKeyReply({ deposit, sealed, left, grant }: KeyView): RecoveryKeyReply {
  return {
    key: deposit.key,
    label: deposit.label,
    spec: deposit.spec,
    use: deposit.use,
    ...publicKeyPem(deposit),
    ...checkValue(deposit),
    ...bornOutside(deposit),
    quorums: sealed.quorums.map(({ members }) => members),
    ...(left === undefined ? {} : { quorumsLeft: left.quorums, unable: unableReply(left.gone) }),
    ...(grant === undefined ? {} : { grant: { grant: grant.id, status: grant.status } }),
  };
}

function bornOutside(deposit: Deposit): Pick<KeyReply, 'bornOutside'> {
  return deposit.bornOutside === true ? { bornOutside: true } : {};
}

/** The keys of a released request. */
export function releasedKeysReply(answers: readonly ReleasedKey[], oaep: string): ReleasedKeysReply {
  return {
    keys: answers.map(({ key, transferKey, wrappedKey }) => ({
      key,
      ...releaseReply({ transferKey, key: wrappedKey }, oaep),
    })),
  };
}

/** A grant where it stands now. */
export function grantReply(grant: Grant, status: GrantStatus): GrantReply {
  return {
    grant: grant.id,
    recovery: grant.recovery,
    key: grant.key,
    owner: grant.owner,
    spec: grant.spec,
    scope: scopeReply(grant.scope),
    used: grant.used,
    startsAt: grant.startsAt.toISOString(),
    expiresAt: grant.expiresAt.toISOString(),
    status,
  };
}

/** What came of a use of a grant, in the order of the inputs. */
export function outputsReply(used: Used): readonly string[] {
  return used.outputs.map(base64url);
}

/** A key in two parts: X to its recipient, and the key under X. */
export function releaseReply(
  answer: { readonly transferKey: Uint8Array; readonly key: Uint8Array },
  oaep: string,
): ReleaseReply {
  return { transferKey: base64url(answer.transferKey), wrappedKey: base64url(answer.key), oaep };
}

/** An entry's exact bytes, which are UTF-8, as text. */
export function entryReply({ index, entry }: StoredEntry): EntryReply {
  return { index, entry: Buffer.from(entry).toString('utf8') };
}

/** A page of a history, with its proofs. */
export function historyReply(page: HistoryPage): HistoryReply {
  return {
    ...pageReply(page, ({ index, entry, proof }) => ({
      ...entryReply({ index, entry }),
      proof: proof.map(base64url),
    })),
    ...(page.checkpoint === undefined ? {} : { checkpoint: page.checkpoint }),
  };
}

function scopeReply(scope: Scope): ScopeReply {
  return {
    app: scope.app,
    operations: scope.operations,
    mechanisms: scope.mechanisms,
    input: scope.input,
    maxUses: scope.maxUses,
    ...rateReply(scope.rate),
    duration: formatDuration(scope.durationMs),
    ...(scope.notBefore === undefined ? {} : { notBefore: scope.notBefore.toISOString() }),
    ...(scope.notAfter === undefined ? {} : { notAfter: scope.notAfter.toISOString() }),
  };
}

function rateReply(rate: Rate | undefined): { readonly rate?: RateReply } {
  return rate === undefined ? {} : { rate: { uses: rate.uses, per: formatDuration(rate.perMs) } };
}

function intentsReply({
  intents,
}: RecoveryView): Pick<RecoveryReply, 'replies' | 'intendedBy' | 'repliesFrom'> {
  if (intents === undefined) return {};
  const { of, repliesFrom } = intents;
  return {
    replies: 'afterDelay',
    intendedBy: of.map(({ intent }) => intent.depositary),
    ...(repliesFrom === undefined ? {} : { repliesFrom: repliesFrom.toISOString() }),
  };
}

/** Why it ended: by the records, or by the clock alone. */
function endReply({ recovery, status }: RecoveryView): Pick<RecoveryReply, 'ended'> {
  const { state } = recovery;
  switch (state.status) {
    case 'pending':
    case 'approved':
      return status === 'expired' ? { ended: { at: endOf(recovery).toISOString() } } : {};
    case 'active':
      return {};
    case 'released':
    case 'resealed':
    case 'expired':
      return { ended: { at: state.at.toISOString() } };
    case 'denied':
    case 'vetoed':
    case 'cancelled':
      return { ended: { by: state.by, reason: state.reason, at: state.at.toISOString() } };
    case 'failed':
      return { ended: { reason: state.reason, at: state.at.toISOString() } };
  }
}

function forDepositary(
  { recovery, keys, intents }: RecoveryView,
  { filing, deposited, checkpoint }: DecisionProofs,
): Pick<RecoveryReply, 'forDepositary'> {
  const isReseal = recovery.asked.purpose === 'reseal';
  const shares = keys.flatMap((key) => shareReply(key, deposited.get(key.deposit.key), isReseal));
  if (shares.length === 0) return {};
  const resealed = [...new Set(deposited.values())].filter((one) => !isBirth(one));
  return {
    forDepositary: {
      shares,
      ...(resealed.length === 0 ? {} : { resealed: resealed.map(proofReply) }),
      transportKey: base64url(recovery.transportKey),
      requestHash: recovery.requestHash,
      requestVersion: recovery.version,
      attestation: recovery.attestation,
      logged: { ...proofReply(filing), checkpoint },
      ...(intents === undefined
        ? {}
        : {
            intents: intents.of.map(({ intent: { depositary, statement }, key }) => ({
              ...{ depositary, statement, key: key.jwk },
            })),
          }),
    } satisfies ForDepositaryReply,
  };
}

/** A page of shares to drill. */
export function drillPageReply(page: DrillPage): DrillPageReply {
  const { entries, checkpoint, held } = page;
  return {
    ...pageReply(page, drillShareReply),
    entries: entries.map(proofReply),
    ...(checkpoint === undefined ? {} : { checkpoint }),
    ...(held === undefined ? {} : { held: { keys: held.keys, due: held.due } }),
  };
}

function drillShareReply(one: DrillableShare): DrillShareReply {
  const { deposit, sealed, share, recordedAt, drilled, isDue } = one;
  return {
    key: deposit.key,
    owner: deposit.owner,
    label: deposit.label,
    spec: deposit.spec,
    use: deposit.use,
    ...publicKeyPem(deposit),
    ...checkValue(deposit),
    ...bornOutside(deposit),
    purpose: sealed.purpose,
    quorums: sealed.quorums.map(({ members }) => members),
    share: base64url(share.share),
    oaep: sealed.mechanisms.oaep,
    link: base64url(share.link),
    deposit: depositReply(deposit, sealed),
    recordedAt,
    shown: drilled?.shown ?? 0,
    ...(drilled?.atMs === undefined
      ? {}
      : {
          last: {
            at: new Date(drilled.atMs).toISOString(),
            isOpened: drilled.isOpened,
            isProven: drilled.isProven,
          },
        }),
    isDue,
  };
}

/** What came of each share that was drilled. */
export function drilledReply(shares: readonly DrilledShare[]): DrilledReply {
  return {
    results: shares.map(({ key, purpose, generation, result }) => ({ key, purpose, generation, result })),
  };
}

/** What the link of a share is bound to, beside what stands with its key. */
function depositReply(deposit: Deposit, sealed: PurposeDeposit): DepositReply {
  const { binding, requesters } = deposit;
  const { delayMs, ownerMayVeto, ...rest } = brakesOf(deposit, sealed.purpose);
  return {
    version: binding.version,
    ...(binding.version === 1 ? {} : { generation: binding.generation }),
    requesters,
    delay: formatDuration(delayMs),
    ownerMayVeto,
    ...repliesOf(rest),
    recipients: recipientsReply(sealed),
  };
}

function shareReply(
  { deposit, sealed, share }: KeyView,
  depositedBy: ProvenEntry | undefined,
  isReseal: boolean,
): readonly ShareReply[] {
  if (share === undefined || depositedBy === undefined) return [];
  return [
    {
      key: deposit.key,
      ...(isReseal ? { purpose: sealed.purpose } : {}),
      share: base64url(share.share),
      oaep: sealed.mechanisms.oaep,
      link: base64url(share.link),
      deposit: depositReply(deposit, sealed),
      ...(isBirth(depositedBy) ? { birth: proofReply(depositedBy) } : {}),
    },
  ];
}

/** Whether a key was born by this entry; else it was sealed anew by it. */
function isBirth({ entry }: ProvenEntry): boolean {
  return BIRTHS.has(decodeEntry(entry.entry).act);
}

function recipientsReply({ shares }: PurposeDeposit): DepositReply['recipients'] {
  return shares.map(({ depositary, recipient }) => ({ depositary, fingerprint: recipient }));
}

/** An answer with the proof of its entry; without one when it cannot be proven in time. */
export async function withProof<T>(escrow: Pick<Escrow, 'log'>, acted: Acted<T>): Promise<Acted<T>> {
  const proven = await outcomeProof(escrow, acted.entry);
  if (proven === undefined) return acted;
  return { ...acted, proof: { ...proofReply(proven), checkpoint: proven.checkpoint } };
}

function proofReply({ entry, proof }: ProvenEntry): Omit<ProofReply, 'checkpoint'> {
  const { index, entry: text } = entryReply(entry);
  return { index, entry: text, proof: proof.map(base64url) };
}

function publicKeyPem({ publicKey }: Deposit): { readonly publicKeyPem?: string } {
  return publicKey === undefined ? {} : { publicKeyPem: spkiPem(publicKey) };
}

/** All purposes of a deposit are made in one act, with one OAEP; a deposit has at least one. */
function oaepOf(deposit: Deposit): string {
  return deposit.purposes[0]?.mechanisms.oaep ?? '';
}

function checkValue({ checkValue: value }: Deposit): { readonly checkValue?: string } {
  return value === undefined ? {} : { checkValue: base64url(value) };
}
