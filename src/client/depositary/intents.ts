import { isForLog } from '../../log/note/audience.js';
import { askedAsJson } from '../../escrow/records/digests.js';
import type { SigningKey } from '../../escrow/records/principals.js';
import { isStatement } from '../../escrow/rules/statement.js';
import type { SignedIntentReply } from '../../api/replies.js';
import { type BelievedRecovery, type DepositaryTrust, partOf } from './believedRecovery.js';
import { NotBelieved, NotYet } from '../errors.js';
import { type Jwk, type ParsedJws, jwkThumbprint, jwsHolds, parseJws } from '../../jose/jws.js';
import type { Signer } from '../identity/signingKey.js';
import type { DueRecovery } from './dueRecovery.js';
import { INTENT_TYPE } from '../../escrow/records/statementTypes.js';

/** How old the newest cosignatures may be, where witnesses are pinned, when a secret leaves after a delay. */
const FRESH_MS = 60 * 60 * 1000;
/** How far apart the clocks of people and of the server may be. */
const CLOCKS_APART_MS = 60_000;

/**
 * Lets a believed request be approved: at once, where replies go at once. Where they go after the delay, when that has passed by
 * the caller's own clock since the latest `iat` of the intents of a quorum that the caller is in, for each key that they have a
 * share of; the server must not say that it takes them later; and where witnesses are pinned, they have cosigned the log within the hour.
 *
 * Every intent that is shown must hold: about exactly this request, after its filing, signed by the key shown for its
 * depositary. The caller's own is checked by their own key and must be there: so no server can make a secret leave earlier than
 * the delay after its own depositary said that it may. Whose the other keys are is the server's word.
 *
 * @throws NotYet `intents-incomplete`, `delay-running`; NotBelieved `intent-invalid`, `witnesses-missing` and what believing a
 *   checkpoint throws. Nothing is decrypted
 */
export async function believeDue(
  recovery: BelievedRecovery,
  signer: Pick<Signer, 'id' | 'kid' | 'publicJwk'>,
  trust: Pick<DepositaryTrust, 'log' | 'now'>,
): Promise<DueRecovery> {
  if (recovery.replies === 'atOnce') return recovery as DueRecovery;
  const from = repliesFrom(recovery, signer, trust.now);
  if (trust.now < from) {
    throw new NotYet('delay-running', `the delay is not over before ${from.toISOString()}`, from);
  }
  await trust.log.believeWitnessed(recovery.index + 1, new Date(trust.now.getTime() - FRESH_MS));
  return recovery as DueRecovery;
}

/** Whether the caller has said that they intend to approve, by what is shown. */
export function hasIntended({ shown }: Pick<BelievedRecovery, 'shown'>, id: string): boolean {
  return partOf(shown).intents?.some(({ depositary }) => depositary === id) ?? false;
}

/** From when replies may go, by the intents shown. */
function repliesFrom(
  recovery: BelievedRecovery,
  signer: Pick<Signer, 'id' | 'kid' | 'publicJwk'>,
  now: Date,
): Date {
  const { shown, deposits } = recovery;
  const saidAtMs = intentTimes(recovery, signer, now);
  const complete = deposits.map(({ quorums }) =>
    Math.min(
      ...quorums
        .filter((members) => members.includes(signer.id) && members.every((member) => saidAtMs.has(member)))
        .map((members) => Math.max(...members.map((member) => saidAtMs.get(member) ?? Infinity))),
    ),
  );
  const delayMs = Math.max(...deposits.map((deposit) => deposit.delayMs));
  const fromMs = Math.max(...complete) + delayMs;
  if (!Number.isFinite(fromMs) || shown.repliesFrom === undefined) {
    const by = [...saidAtMs.keys()].join(', ');
    throw new NotYet(
      'intents-incomplete',
      `the delay has not begun: not enough depositaries have said that they intend to approve${by === '' ? '' : ` (so far ${by})`}`,
    );
  }
  return new Date(Math.max(fromMs, Date.parse(shown.repliesFrom)));
}

/** When each depositary signed their intent, in milliseconds, of those that have not expired. */
function intentTimes(
  recovery: BelievedRecovery,
  signer: Pick<Signer, 'id' | 'kid' | 'publicJwk'>,
  now: Date,
): ReadonlyMap<string, number> {
  const times = new Map<string, number>();
  const kids = new Set<string>();
  for (const shown of partOf(recovery.shown).intents ?? []) {
    const isOwn = shown.depositary === signer.id;
    const { kid, iat, exp } = believedIntent(recovery, isOwn ? { ...shown, key: signer.publicJwk } : shown);
    const isOnes = !times.has(shown.depositary) && !kids.has(kid) && (isOwn || kid !== signer.kid);
    if (!isOnes) throw new NotBelieved('intent-invalid', 'one intent is shown as that of two depositaries');
    if (iat * 1000 + CLOCKS_APART_MS < recovery.filedAt.getTime()) {
      throw new NotBelieved('intent-invalid', `the intent of ${shown.depositary} is older than the request`);
    }
    kids.add(kid);
    if (now.getTime() < exp * 1000) times.set(shown.depositary, iat * 1000);
  }
  return times;
}

/** The one algorithm of each kind of key. */
const ALGORITHMS: Readonly<Record<string, SigningKey['alg']>> = {
  'P-256': 'ES256',
  'P-384': 'ES384',
  Ed25519: 'EdDSA',
  RSA: 'PS256',
};

function isSignedBy(jws: ParsedJws, jwk: Jwk): boolean {
  const alg = ALGORITHMS[jwk['crv'] ?? jwk['kty'] ?? ''];
  return alg !== undefined && jwsHolds(jws, { jwk, alg });
}

/** The intent must be of this depositary, about exactly this request, by the key shown. */
function believedIntent(
  { attested, logKey }: BelievedRecovery,
  { depositary, statement, key }: SignedIntentReply,
): { readonly kid: string; readonly iat: number; readonly exp: number } {
  const refuse = (why: string): never => {
    throw new NotBelieved('intent-invalid', `what is shown as the intent of ${depositary} ${why}`);
  };
  const jws = parseJws(statement);
  const kid = jwkThumbprint(key);
  if (jws?.header['typ'] !== INTENT_TYPE || kid === undefined) return refuse('is none');
  if (jws.header['kid'] !== kid || !isSignedBy(jws, key)) return refuse('is not signed by them');
  const { aud, iat, exp, checkpoint: seen, ...about } = jws.payload;
  const expected = {
    iss: depositary,
    decision: 'intend',
    recovery: attested.recovery,
    requestHash: attested.requestHash,
    keys: attested.keys,
    ...askedAsJson(attested.asked),
    transport: attested.transport,
  };
  if (!isForLog(aud, logKey) || !isStatement(about, expected)) return refuse('is about something else');
  if (typeof iat !== 'number' || typeof exp !== 'number' || seen === undefined) return refuse('is none');
  return { kid, iat, exp };
}
