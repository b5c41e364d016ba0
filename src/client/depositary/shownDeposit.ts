import type { Binding } from '../../escrow/records/deposit.js';
import { BIRTHS } from '../../escrow/records/creation.js';
import { sha256Hex } from '../../escrow/records/digests.js';
import type { KeyId } from '../../escrow/records/ids.js';
import { layerContext, termsHash } from '../../escrow/records/sealing/layers.js';
import type {
  DepositReply,
  ForDepositaryReply,
  ProvenEntryReply,
  RecoveryKeyReply,
  RecoveryReply,
  ShareReply,
} from '../../api/replies.js';
import { type Purpose, PURPOSES } from '../../escrow/records/policy.js';
import { resealedIn } from '../../escrow/records/sealing/resealing.js';
import type { ApprovedKeys } from './approvedKeys.js';
import type { GenerationMemory } from './generations.js';
import type { Json } from '../../log/entry/canonical.js';
import type { Checkpoint } from '../../log/note/checkpoint.js';
import type { Entry } from '../../log/entry/entry.js';
import { parseDuration } from '../../policy/durations.js';
import { type Attested, checkValueOf, publicKeyOf } from './attestation.js';
import { type OaepName, oaepNamed } from '../identity/decryptionKey.js';
import { NotBelieved } from '../errors.js';
import { type Jwk, importJwk } from '../../jose/jws.js';
import { decodeBase64url } from '../../log/note/base64.js';
import type { LogView } from '../log/logView.js';
import { isKnown } from '../../api/reading.js';
import { KEY_SPEC_NAMES, KEY_USES } from '../../escrow/records/keySpecs.js';

/**
 * One key of a request, for one purpose, as the server shows it to a depositary: the share is the one that the entry of its deposit
 * has recorded, where that says so. The rest is shown only. It is proven when the link opens under `context` (see `reencryptShare`), of a
 * deposit of version 2 all of it, of one of version 1 the key, the purpose and whose share it is.
 */
export interface ShownDeposit {
  readonly key: KeyId;
  /** Whether the key was imported: somebody else may have it. */
  readonly bornOutside: boolean;
  readonly share: Buffer;
  readonly link: Buffer;
  readonly oaep: OaepName;
  /** What the link must have been sealed with, computed here from everything else. */
  readonly context: Uint8Array;
  readonly version: Binding['version'];
  /** Which deposit of the key it is, from 1. */
  readonly generation: number;
  /** For which of its purposes the share is. */
  readonly purpose: Purpose;
  readonly delayMs: number;
  readonly ownerMayVeto: boolean;
  /** Not given: at once. */
  readonly replies?: 'afterDelay';
  readonly requesters: readonly string[];
  readonly quorums: readonly (readonly string[])[];
  readonly recipients: DepositReply['recipients'];
}

export interface DepositPins {
  /** The id of the depositary whose client this is. */
  readonly depositary: string;
  /** Of the token that the deposit must be bound to. */
  readonly identityKey: Jwk;
  readonly log: Pick<LogView, 'believeInclusion'>;
  /** Of which deposits of keys this client has opened a share before. */
  readonly generations: GenerationMemory;
  /** Of which keys this person has approved the release to themselves. */
  readonly approvedKeys: ApprovedKeys;
}

/**
 * The deposits of the keys that the depositary has a share of, in their order. Nothing is decrypted.
 *
 * @throws NotBelieved `share-malformed`, `deposit-missing` by a server that does not show how keys were deposited,
 *   `entry-mismatch`, `entry-not-in-log`, `share-mismatch` when the entry of the deposit has recorded another share,
 *   `generation-old` when the deposit is older than one that this client has opened a share of
 */
export async function believeDeposits(
  shown: RecoveryReply,
  { shares, resealed = [] }: Pick<ForDepositaryReply, 'shares' | 'resealed'>,
  attested: Attested,
  checkpoint: Checkpoint,
  pins: DepositPins,
): Promise<readonly ShownDeposit[]> {
  const found = attested.keys.flatMap((key) => {
    const about = shown.keys.find((candidate) => candidate.key === key);
    return PURPOSES.flatMap((purpose) => {
      const share = shares.find((candidate) => candidate.key === key && isFor(candidate, purpose, attested));
      return share === undefined || about === undefined ? [] : [{ key, purpose, share, about }];
    });
  });
  if (found.length !== shares.length || found.length === 0) {
    throw new NotBelieved('share-malformed', 'the server shows shares of other keys than the request is for');
  }
  const reseals = resealed.map((entry) => believeEntry(entry, checkpoint, pins));
  const deposits: ShownDeposit[] = [];
  for (const { key, purpose, share, about } of found) {
    const deposit = shownDeposit(key, purpose, share, about, attested, pins);
    if (share.birth === undefined) checkReseal(reseals, deposit, attested, pins);
    else checkBirth(believeEntry(share.birth, checkpoint, pins), deposit, attested, pins);
    const highest = (await pins.generations.highest(key)) ?? 1;
    if (deposit.generation < highest) {
      throw new NotBelieved(
        'generation-old',
        `${key} was sealed anew since: this is its deposit ${deposit.generation}, and you have opened a share of deposit ${highest}`,
      );
    }
    deposits.push(deposit);
  }
  return deposits;
}

/** Whether a share is what is asked for: of a request that is for one purpose, that goes without saying. */
function isFor(share: ShareReply, purpose: Purpose, { asked }: Attested): boolean {
  if (asked.purpose === 'reseal') return share.purpose === purpose;
  return share.purpose === undefined && asked.purpose === purpose;
}

/**
 * A deposit as the server shows it; nothing of it is checked.
 * @throws NotBelieved `deposit-missing`, `share-malformed`, `key-mismatch` when it is in no form that this client knows
 */
export function shownDeposit(
  key: KeyId,
  purpose: Purpose,
  { share, oaep: how, link: sealed, deposit }: Pick<ShareReply, 'share' | 'oaep' | 'link' | 'deposit'>,
  about: Pick<
    RecoveryKeyReply,
    'label' | 'spec' | 'use' | 'quorums' | 'publicKeyPem' | 'checkValue' | 'bornOutside'
  >,
  { owner }: { readonly owner: string },
  { depositary, identityKey }: Pick<DepositPins, 'depositary' | 'identityKey'>,
): ShownDeposit {
  if (sealed === undefined || deposit === undefined) throw new NotBelieved('deposit-missing');
  const oaep = oaepNamed(how);
  if (oaep === undefined) throw new NotBelieved('share-malformed', `unknown encryption of the share: ${how}`);
  const { requesters, ownerMayVeto, recipients } = deposit;
  const { label, spec, use, quorums } = about;
  const bornOutside = about.bornOutside === true;
  const delayMs = parseDuration(deposit.delay);
  const binding = bindingOf(deposit, identityKey);
  const replies = repliesShown(deposit);
  const isKnownKey = isKnown(KEY_SPEC_NAMES, spec) && isKnown(KEY_USES, use);
  if (delayMs === undefined || binding === undefined || !isKnownKey || replies === undefined) {
    throw new NotBelieved(
      'deposit-missing',
      'what the server shows of the deposit is none that this client knows',
    );
  }
  const terms = termsHash({
    ...{
      owner,
      label,
      spec,
      use,
      publicKey: publicKeyOf(about),
      checkValue: checkValueOf(about),
      bornOutside,
    },
    ...{ requesters, delayMs, ownerMayVeto },
    ...replies,
    ...{ quorums, recipients },
  });
  return {
    ...{ key, purpose, bornOutside, oaep, share: bytesOf(share), link: bytesOf(sealed) },
    ...{ version: binding.version, generation: binding.version === 1 ? 1 : binding.generation },
    ...{ delayMs, ownerMayVeto, requesters, quorums, recipients },
    ...replies,
    context: layerContext({ key, purpose, binding, terms }, { depositary }),
  };
}

/** When replies are to come; undefined when it is said in a word that this version does not know. */
function repliesShown({ replies }: DepositReply): Pick<ShownDeposit, 'replies'> | undefined {
  if (replies === undefined) return {};
  return isKnown(['afterDelay'], replies) ? { replies } : undefined;
}

function bindingOf({ version, generation }: DepositReply, identityKey: Jwk): Binding | undefined {
  if (version === 1) return { version };
  const spki = importJwk(identityKey)?.export({ format: 'der', type: 'spki' });
  if (version !== 2 || spki === undefined || generation === undefined) return undefined;
  return { version, generation, token: sha256Hex(spki) };
}

/** An entry that the server shows, once it is proven under the checkpoint. @throws NotBelieved `entry-not-in-log` */
export function believeEntry(
  { index, entry, proof }: ProvenEntryReply,
  checkpoint: Checkpoint,
  { log }: Pick<DepositPins, 'log'>,
): Entry {
  const hashes = proof.map((hash) => decodeBase64url(hash) ?? new Uint8Array(0));
  return log.believeInclusion({ index, entry: Buffer.from(entry), proof: hashes }, checkpoint);
}

/**
 * The entry of birth must be of this key, and have recorded this very share; those from before shares were recorded say
 * nothing about it. That finds a share that was swapped in the database, and the entry says when it was made. It proves
 * nothing against whoever has the log's key: the link does.
 */
function checkBirth(
  { act, phase, subject, detail }: Entry,
  { key, bornOutside, share, version, purpose }: ShownDeposit,
  { owner }: Attested,
  { depositary }: DepositPins,
): void {
  const isBirth = BIRTHS.has(act) && (act === 'key.import') === bornOutside;
  if (!isBirth || phase !== 'done' || subject.key !== key || subject.owner !== owner) {
    throw new NotBelieved('entry-mismatch', 'the log entry shown is not the birth of this key');
  }
  const recorded = recordedShare(detail['shares'], purpose, depositary);
  const isRecorded = recorded === sha256Hex(share) || (recorded === undefined && version === 1);
  if (isRecorded) return;
  throw new NotBelieved(
    'share-mismatch',
    'the share shown is not the one that the birth of the key recorded',
  );
}

/** The same of a key that was sealed anew: one of these entries must have recorded this very deposit and share. */
function checkReseal(
  reseals: readonly Entry[],
  { key, share, generation, purpose }: ShownDeposit,
  { owner }: Attested,
  { depositary }: DepositPins,
): void {
  const ofKey = reseals.filter(({ subject }) => subject.keys?.includes(key) === true);
  if (ofKey.length === 0) throw new NotBelieved('deposit-missing');
  // two keys that were sealed anew together, one of them again since, are shown with both entries
  const recorded = ofKey
    .filter(
      ({ act, phase, subject }) => act === 'recovery.reseal' && phase === 'done' && subject.owner === owner,
    )
    .map(({ detail }) => resealedIn(detail['keys']).get(key))
    .find((deposit) => deposit?.generation === generation);
  if (recorded === undefined) {
    throw new NotBelieved('entry-mismatch', 'no log entry shown is that by which this key was sealed anew');
  }
  if (recorded.shares[purpose]?.[depositary] === sha256Hex(share)) return;
  throw new NotBelieved(
    'share-mismatch',
    'the share shown is not the one that was recorded when the key was sealed anew',
  );
}

/** The hash of a share in the entry of a birth; undefined where there is none. */
function recordedShare(shares: Json | undefined, purpose: string, depositary: string): Json | undefined {
  const ofPurpose = membersOf(shares).find((candidate) => candidate['purpose'] === purpose);
  return membersOf(ofPurpose?.['recipients']).find((one) => one['depositary'] === depositary)?.['share'];
}

function membersOf(list: Json | undefined): readonly Readonly<Record<string, Json>>[] {
  if (!Array.isArray(list)) return [];
  return (list as readonly Json[]).flatMap((item) =>
    typeof item === 'object' && item !== null && !Array.isArray(item)
      ? [item as Readonly<Record<string, Json>>]
      : [],
  );
}

function bytesOf(text: string): Buffer {
  return Buffer.from(text, 'base64url');
}
