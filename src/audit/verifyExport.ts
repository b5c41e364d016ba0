import { createReadStream } from 'node:fs';

import type { Entry } from '../log/entry/entry.js';
import { followsFromSecond } from '../escrow/logged/secondOutcomes.js';
import { NoteError } from '../log/note/noteKey.js';
import { standsAlone } from '../log/export/actPairing.js';
import type { Documents, Late, Objection, Verdict } from '../log/export/verifier.js';
import { ExportVerifier, policyAct } from '../log/export/verifier.js';
import { AcknowledgementEvidence } from './acknowledgements.js';
import { CreationEvidence } from './creations.js';
import { ImportEvidence } from './imports.js';
import { DepositEvidence } from './deposits.js';
import { DrillEvidence } from './drills.js';
import { DirectoryInForce } from './directoryInForce.js';
import type { EntryFollower } from './reports/follower.js';
import { GrantEvidence } from './grants.js';
import { type FalseStatement, HistoryEvidence, HistoryRecount } from './histories.js';
import { LateEnds } from './lateEnds.js';
import type { Jwk } from '../jose/jws.js';
import { OutcomeEvidence } from './outcomes.js';
import { PolicyInForce } from './policyInForce.js';
import type { PublicPart } from '../client/identity/publicPart.js';
import { type RequestCounts, RequestEvidence } from './requests.js';
import { QuorumEvidence } from './quorums.js';
import { RecoveryEvidence } from './recoveries.js';
import { ResealEvidence } from './reseals.js';
import { StatedTrees } from './statedTrees.js';
import { StatementEvidence } from './statements.js';
import { TermsEvidence } from './terms.js';
import { type WitnessPins, readWitnessPins } from '../client/log/witnessPins.js';

/** What an export is checked against; nothing of it comes from the export. */
export interface ExportCheck {
  readonly path: string;
  /** Pinned: a C2SP verifier key. Its name is the origin of the log. */
  readonly logKey: string;
  /** Pinned: the token's identity key, by which grants are certified. */
  readonly identityKey?: Jwk;
  /** An older signed checkpoint that the export must extend. */
  readonly against?: string;
  /** Pinned witnesses of whom so many must have cosigned the export's checkpoint. */
  readonly witnesses?: WitnessPins;
  /** Public parts of the first administrators, when they are known. */
  readonly bootstrap?: readonly PublicPart[];
  /** Learns from the entries as they are verified: nothing that may be told before the verdict. */
  readonly follower?: EntryFollower;
}

/**
 * Verifies an export offline, as it is read: form, tree, signature of the log, continuation of the older checkpoint,
 * pairing of acts, that what was done is what was attempted, the trees that depositaries have seen, the signatures of everyone who
 * asked, decided and made rules, that what was decided is what was asked, that each key was deposited, and sealed anew, as the policy has it, that none was asked for beyond its rule or came back without a quorum,
 * that no grant was used beyond what it allows, that nothing was made twice of one order, and that no history was said to be
 * complete which was not; for the last of these it is read again, where there are such statements. What is not as it should be
 * about an act that the log does not say was done is reported, and the export believed all the same.
 */
export async function verifyExport(check: ExportCheck): Promise<{
  readonly verdict: Verdict;
  readonly requests: RequestCounts;
  /** Statements that a history is complete, each of which was made anew. */
  readonly histories: number;
}> {
  const origin = originOf(check.logKey);
  const directory = new DirectoryInForce(check.bootstrap ?? []);
  const outcomes = new OutcomeEvidence();
  const statements = new StatementEvidence(check.logKey, directory);
  const acknowledgements = new AcknowledgementEvidence(check.logKey, directory);
  const recoveries = new RecoveryEvidence();
  const terms = new TermsEvidence();
  const lateEnds = new LateEnds();
  const quorums = new QuorumEvidence(terms, directory);
  const grants = new GrantEvidence(
    { origin, logKey: check.logKey, identityKey: check.identityKey },
    lateEnds,
  );
  const requests = new RequestEvidence(check.logKey, directory, grants);
  const policy = new PolicyInForce();
  const deposits = new DepositEvidence(terms, policy);
  const drills = new DrillEvidence();
  const reseals = new ResealEvidence(policy, terms, { quorums, drills }, lateEnds);
  const imports = new ImportEvidence();
  const creations = new CreationEvidence();
  const trees = new StatedTrees();
  const histories = new HistoryEvidence();
  const { follower } = check;
  const checkEntry = (entry: Entry, index: number, documents: Documents): Objection | Late | undefined => {
    directory.follow(documents);
    const signers = follower === undefined ? undefined : statements.signersOf(entry);
    const reason = reasonAgainst(entry, index, documents);
    follower?.follow({ entry, index, documents, doubt: inWords(reason), signers });
    return reason;
  };
  const reasonAgainst = (entry: Entry, index: number, documents: Documents): Objection | Late | undefined => {
    policy.follow(entry);
    // what was refused before any attempt has done nothing: nothing else is learnt from it
    if (standsAlone(entry)) return requests.check(entry);
    // also of an attempt that is refused for something else
    const isOther = outcomes.check(entry);
    const reason =
      requests.check(entry) ??
      statements.check(entry) ??
      acknowledgements.check(entry) ??
      recoveries.check(entry) ??
      quorums.check(entry) ??
      grants.check(entry) ??
      deposits.check(entry, documents) ??
      reseals.check(entry, index, documents) ??
      imports.check(entry) ??
      drills.check(entry) ??
      terms.check(entry) ??
      creations.check(entry) ??
      trees.check(entry, index) ??
      histories.check(entry, index) ??
      isOther ??
      lateEnds.check(entry);
    if (entry.act === policyAct && entry.phase === 'done') directory.changed(entry.time);
    return reason;
  };
  const followVoid = (entry: Entry, index: number): string | undefined => {
    const follows = followsFromSecond(entry);
    if (follows === undefined) return undefined;
    follower?.ended(entry, index);
    lateEnds.ended(entry);
    recoveries.ended(entry);
    quorums.ended(entry);
    reseals.ended(entry);
    grants.ended(entry);
    return follows === 'counts' ? COUNTS : OVER;
  };
  const { logKey, against, witnesses } = check;
  const verifier = new ExportVerifier({
    logKey,
    origin,
    ...(against === undefined ? {} : { against }),
    ...(witnesses === undefined ? {} : { witnesses: readWitnessPins(witnesses) }),
    checkEntry,
    followVoid,
  });
  const read = (): AsyncIterable<Buffer> => createReadStream(check.path, { highWaterMark: CHUNK_BYTES });
  for await (const chunk of read()) verifier.write(chunk);
  const verdict = verifier.finish();
  const counted = { requests: requests.counts, histories: histories.statements.length };
  if (!verdict.ok) return { verdict, ...counted };
  const foreign = await trees.findForeign(read());
  if (foreign !== undefined) return { verdict: { ok: false, index: foreign, reason: FOREIGN }, ...counted };
  const isFalse = await falseHistory(read, histories);
  return { verdict: isFalse === undefined ? verdict : { ok: false, ...isFalse }, ...counted };
}

function inWords(reason: Objection | Late | undefined): string | undefined {
  if (reason === undefined || typeof reason === 'string') return reason;
  return 'late' in reason ? reason.late : reason.invented;
}

/** Reads the export again, where it has statements that a history is complete, and makes each of them anew. */
async function falseHistory(
  read: () => AsyncIterable<Buffer>,
  { statements }: HistoryEvidence,
): Promise<FalseStatement | undefined> {
  if (statements.length === 0) return undefined;
  const recount = new HistoryRecount(statements);
  for await (const chunk of read()) recount.write(chunk);
  return recount.finish();
}

const COUNTS = 'what it ends has ended all the same';
const OVER = 'the request is over by it, and something may have been done';

const FOREIGN =
  'the statement names a tree that this log did not go through: its depositary has seen another log';

/** Read at a time: large enough that reading is not waited for, and small enough to be used again. */
const CHUNK_BYTES = 256 * 1024;

/** The origin that a log key is for. @throws NoteError when it is not a vkey */
function originOf(logKey: string): string {
  const name = /^([^+]+)\+/.exec(logKey)?.[1];
  if (name === undefined) throw new NoteError('malformed verifier key');
  return name;
}
