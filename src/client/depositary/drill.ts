import type { DrillOrder } from '../../api/orders.js';
import type { DrillPageReply, DrillShareReply } from '../../api/replies.js';
import { isKnown } from '../../api/reading.js';
import { base64url, sha256Hex } from '../../escrow/records/digests.js';
import {
  type Drill,
  type DrillFinding,
  type RecordedDeposit,
  chainEnd,
  chainPreimage,
  drillsAsJson,
  recordedDeposit,
} from '../../escrow/records/drills/drilling.js';
import { type KeyId, parseId } from '../../escrow/records/ids.js';
import { type Purpose, PURPOSES } from '../../escrow/records/policy.js';
import { DRILL_TYPE } from '../../escrow/records/statementTypes.js';
import { encodeBase64 } from '../../log/note/base64.js';
import type { Checkpoint } from '../../log/note/checkpoint.js';
import { NotBelieved } from '../errors.js';
import type { DecryptionKey } from '../identity/decryptionKey.js';
import type { Signer } from '../identity/signingKey.js';
import type { LogView } from '../log/logView.js';
import { signStatement } from '../statement.js';
import { openLinkOf } from './share.js';
import { type DepositPins, believeEntry, shownDeposit } from './shownDeposit.js';

export interface DrillTrust extends Omit<DepositPins, 'approvedKeys'> {
  readonly log: LogView;
}

/** A share that is shown, and what the log says of the deposit that it is of. */
export interface ShareToDrill {
  readonly key: KeyId;
  readonly purpose: Purpose;
  /** As the log says. */
  readonly owner: string;
  readonly shown: DrillShareReply;
  readonly recorded: RecordedDeposit;
  /** That the entry of the deposit is under. */
  readonly checkpoint: Checkpoint;
}

/** What came of a share here; undefined `drill`: its chain has no hash left that could be shown. */
export interface FoundShare extends ShareToDrill {
  readonly finding: DrillFinding;
  readonly drill: Drill | undefined;
}

/**
 * Checks a page of shares: that the log continues what was seen, has the entries that are shown, and that each recorded the newest deposit of
 * a key with a share of this depositary. Nothing is opened.
 *
 * @throws NotBelieved `checkpoint-invalid`, `log-rolled-back`, `log-forked`, `witnesses-missing`, `entry-not-in-log`,
 *   `entry-mismatch`, `generation-old`
 */
export async function believeDrills(
  page: DrillPageReply,
  trust: DrillTrust,
): Promise<readonly ShareToDrill[]> {
  if (page.items.length === 0) return [];
  if (page.checkpoint === undefined) throw new NotBelieved('checkpoint-invalid');
  const checkpoint = await trust.log.believe(page.checkpoint);
  await trust.log.believeWitnessed(Math.max(...page.entries.map(({ index }) => index)) + 1);
  const entries = new Map(page.entries.map((one) => [one.index, believeEntry(one, checkpoint, trust)]));
  const found: ShareToDrill[] = [];
  for (const shown of page.items) {
    const entry = entries.get(shown.recordedAt);
    const key = parseId('KeyId', shown.key);
    const recorded = entry === undefined || key === undefined ? undefined : recordedDeposit(entry, key);
    const { purpose } = shown;
    if (key === undefined || !isKnown(PURPOSES, purpose) || recorded?.owner === undefined) {
      throw new NotBelieved('entry-mismatch', `the log entry shown recorded no deposit of ${shown.key}`);
    }
    if (recorded.shares !== undefined && !isHeld(recorded, purpose, trust.depositary)) {
      throw new NotBelieved('entry-mismatch', `the log has no share of ${key} for you that is shown`);
    }
    if (recorded.generation < ((await trust.generations.highest(key)) ?? 1)) {
      throw new NotBelieved('generation-old', `${key} was sealed anew since, as this client has seen`);
    }
    found.push({ key, purpose, owner: recorded.owner, shown, recorded, checkpoint });
  }
  return found;
}

function isHeld({ shares }: RecordedDeposit, purpose: string, depositary: string): boolean {
  return shares?.get(purpose)?.has(depositary) === true;
}

/**
 * Opens a share with the depositary's own key, and with what is in it the link. Of what is in that, only a hash of hashes is kept; the secret and the rest
 * are overwritten before this resolves.
 */
export async function findShare(
  one: ShareToDrill,
  depositaryKey: DecryptionKey,
  pins: Pick<DepositPins, 'depositary' | 'identityKey'>,
): Promise<FoundShare> {
  const { key, purpose, owner, shown, recorded } = one;
  const said = recorded.shares?.get(purpose)?.get(pins.depositary);
  const hashes = { share: hashOf(shown.share), link: hashOf(shown.link) };
  const found = (finding: DrillFinding, preimage: string | null): FoundShare => {
    const { generation } = recorded;
    return { ...one, finding, drill: { key, purpose, generation, ...hashes, result: finding, preimage } };
  };
  if (said?.share !== undefined && said.share !== hashes.share) return found('share-mismatch', null);
  const order = orderOf(one, pins, owner);
  if (order === undefined) return found('link-unopened', null);
  const opened = await openLinkOf({ ...order, depositaryKey });
  if ('failed' in opened) return found(opened.failed, null);
  const { opening } = opened;
  try {
    if (said?.end === undefined) return found('opened', null);
    if (!chainEnd(opening).equals(said.end)) return found('chain-mismatch', null);
    const preimage = chainPreimage(opening, shown.shown);
    return preimage === undefined
      ? { ...one, finding: 'opened', drill: undefined }
      : found('opened', base64url(preimage));
  } finally {
    opening.fill(0);
  }
}

/** What is to be opened, under what the link must be bound to; undefined when what is shown is in no form that this client knows. */
function orderOf(
  { key, purpose, shown }: ShareToDrill,
  pins: Pick<DepositPins, 'depositary' | 'identityKey'>,
  owner: string,
): Pick<ReturnType<typeof shownDeposit>, 'share' | 'link' | 'context' | 'oaep'> | undefined {
  try {
    return shownDeposit(key, purpose, shown, shown, { owner }, pins);
  } catch (error) {
    if (error instanceof NotBelieved) return undefined;
    throw error;
  }
}

/** Signs what came of shares of keys of one owner, in ascending order: they are looked at one after the other, and none twice. */
export async function signDrills(
  drills: readonly Drill[],
  checkpoint: Checkpoint,
  signer: Signer,
  { logKey, now }: { readonly logKey: string; readonly now: Date },
): Promise<DrillOrder> {
  const said = {
    drills: drillsAsJson(drills),
    checkpoint: { size: checkpoint.size, root: encodeBase64(checkpoint.root) },
  };
  return {
    statement: await signStatement(signer, DRILL_TYPE, { logKey, now, lifetimeMs: HOLDS_MS }, said),
    drills: drills.map((drill) => ({ ...drill })),
  };
}

const HOLDS_MS = 5 * 60_000;

function hashOf(text: string): string {
  return sha256Hex(Buffer.from(text, 'base64url'));
}
