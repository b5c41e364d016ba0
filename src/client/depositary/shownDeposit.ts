import type { Binding } from '../../escrow/records/deposit.js';
import { BIRTHS } from '../../escrow/records/creation.js';
import { sha256Hex } from '../../escrow/records/digests.js';
import type { KeyId } from '../../escrow/records/ids.js';
import { layerContext, termsHash } from '../../escrow/records/layers.js';
import type { DepositReply, RecoveryKeyReply, RecoveryReply, ShareReply } from '../../api/replies.js';
import type { Json } from '../../log/entry/canonical.js';
import type { Checkpoint } from '../../log/note/checkpoint.js';
import type { Entry } from '../../log/entry/entry.js';
import { parseDuration } from '../../policy/durations.js';
import { type Attested, publicKeyOf } from './attestation.js';
import { type OaepName, oaepNamed } from '../identity/decryptionKey.js';
import { NotBelieved } from '../errors.js';
import { type Jwk, importJwk } from '../../jose/jws.js';
import { decodeBase64url } from '../../log/note/base64.js';
import type { LogView } from '../log/logView.js';
import { isKnown } from '../../api/reading.js';
import { KEY_SPEC_NAMES, KEY_USES } from '../../escrow/records/keySpecs.js';

/**
 * One key of a request as the server shows it to a depositary: the share is the one that the birth of the key has recorded,
 * where that says so. The rest is shown only. It is proven when the link opens under `context` (see `reencryptShare`), of a
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
}

/**
 * The deposits of the keys that the depositary has a share of, in their order. Nothing is decrypted.
 *
 * @throws NotBelieved `share-malformed`, `deposit-missing` by a server that does not show how keys were deposited,
 *   `entry-mismatch`, `entry-not-in-log`, `share-mismatch` when the birth of the key has recorded another share
 */
export function believeDeposits(
  shown: RecoveryReply,
  shares: readonly ShareReply[],
  attested: Attested,
  checkpoint: Checkpoint,
  pins: DepositPins,
): readonly ShownDeposit[] {
  const found = attested.keys.flatMap((key) => {
    const share = shares.find((candidate) => candidate.key === key);
    const about = shown.keys.find((candidate) => candidate.key === key);
    return share === undefined || about === undefined ? [] : [{ key, share, about }];
  });
  if (found.length !== shares.length || found.length === 0) {
    throw new NotBelieved('share-malformed', 'the server shows shares of other keys than the request is for');
  }
  return found.map(({ key, share, about }) => {
    const deposit = shownDeposit(key, share, about, attested, pins);
    checkBirth(share, deposit, attested, checkpoint, pins);
    return deposit;
  });
}

function shownDeposit(
  key: KeyId,
  { share, oaep: how, link: sealed, deposit }: ShareReply,
  about: RecoveryKeyReply,
  { owner, asked: { purpose } }: Attested,
  { depositary, identityKey }: DepositPins,
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
    ...{ owner, label, spec, use, publicKey: publicKeyOf(about), bornOutside },
    ...{ requesters, delayMs, ownerMayVeto },
    ...replies,
    ...{ quorums, recipients },
  });
  return {
    ...{ key, bornOutside, oaep, share: bytesOf(share), link: bytesOf(sealed), version: binding.version },
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

/**
 * The entry of birth must be of this key, and have recorded this very share; those from before shares were recorded say
 * nothing about it. That finds a share that was swapped in the database, and the entry says when it was made. It proves
 * nothing against whoever has the log's key: the link does.
 */
function checkBirth(
  { birth }: ShareReply,
  { key, bornOutside, share, version }: ShownDeposit,
  { owner, asked }: Attested,
  checkpoint: Checkpoint,
  { depositary, log }: DepositPins,
): void {
  if (birth === undefined) throw new NotBelieved('deposit-missing');
  const proof = birth.proof.map((hash) => decodeBase64url(hash) ?? new Uint8Array(0));
  const { act, phase, subject, detail }: Entry = log.believeInclusion(
    { index: birth.index, entry: Buffer.from(birth.entry), proof },
    checkpoint,
  );
  const isBirth = BIRTHS.has(act) && (act === 'key.import') === bornOutside;
  if (!isBirth || phase !== 'done' || subject.key !== key || subject.owner !== owner) {
    throw new NotBelieved('entry-mismatch', 'the log entry shown is not the birth of this key');
  }
  const recorded = recordedShare(detail['shares'], asked.purpose, depositary);
  const isRecorded = recorded === sha256Hex(share) || (recorded === undefined && version === 1);
  if (!isRecorded) {
    throw new NotBelieved(
      'share-mismatch',
      'the share shown is not the one that the birth of the key recorded',
    );
  }
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
