import { isForLog } from '../log/note/audience.js';
import type { Entry } from '../log/entry/entry.js';
import { type Objection, policyAct, policyHashFact } from '../log/export/verifier.js';
import { type DirectoryInForce, TOLERANCE_MS } from './directoryInForce.js';
import { type ParsedJws, jwsHolds, parseJws } from '../jose/jws.js';
import { DRILL_HOLDS_SECONDS } from '../escrow/rules/drillStatement.js';
import {
  STATEMENT_TYPE,
  INTENT_TYPE,
  STOP_TYPE,
  CONFIRMATION_TYPE,
  DRILL_TYPE,
  POLICY_SIGNATURE_TYPE,
} from '../escrow/records/statementTypes.js';

/**
 * Checks the statements that people signed for others to rely on: each depositary's intent, approval or denial is their own and
 * about this request with all of its keys, each drill their own, each confirmation that released keys have come is their recipient's own, and each
 * policy was signed by as many administrators of the one before it as that asks for, as was each end that administrators
 * put to a request, by those of the policy in force.
 */
export class StatementEvidence {
  readonly #logKey: string;
  readonly #directory: DirectoryInForce;

  /** `logKey`: the C2SP verifier key of the log, which statements are for. */
  constructor(logKey: string, directory: DirectoryInForce) {
    this.#logKey = logKey;
    this.#directory = directory;
  }

  /** Why a statement in this entry is refused, if it is. */
  check(entry: Entry): Objection | undefined {
    if (entry.phase !== 'attempted') return undefined;
    if (entry.act === 'recovery.intend') return this.#checkDecision(entry, 'intend');
    if (entry.act === 'recovery.approve') return this.#checkDecision(entry, 'approve');
    if (entry.act === 'recovery.deny') return this.#checkDecision(entry, 'deny');
    if (entry.act === 'recovery.confirm') return this.#checkConfirmation(entry);
    if (entry.act === 'key.drill') return this.#checkDrill(entry);
    if (entry.act === 'recovery.stop') return this.#checkStop(entry);
    return entry.act === policyAct ? this.#checkPolicy(entry) : undefined;
  }

  /**
   * The administrators who have signed what this entry attempts: a policy, or the end of a request; undefined of other acts, and
   * while nobody knows who they are. Asked before the entry takes effect.
   */
  signersOf(entry: Entry): readonly string[] | undefined {
    const { administrators } = this.#directory;
    if (administrators === undefined || entry.phase !== 'attempted') return undefined;
    if (entry.act === policyAct) return this.#policySigners(entry, administrators);
    if (entry.act !== 'recovery.stop') return undefined;
    return namesIn(this.#stopsOf(entry, administrators));
  }

  #checkDecision(entry: Entry, decision: 'approve' | 'intend' | 'deny'): Objection | undefined {
    const { actor, subject, detail } = entry;
    const jws = parsed(detail['statement'], decision === 'intend' ? INTENT_TYPE : STATEMENT_TYPE);
    if (jws === undefined) return { invented: `${actor} has signed no statement` };
    const { iss, aud, recovery, requestHash, keys: named, decision: decided } = jws.payload;
    const isAboutThis =
      iss === actor &&
      isForLog(aud, this.#logKey) &&
      decided === decision &&
      recovery === subject.recovery &&
      requestHash === detail['requestHash'] &&
      isSameList(named, subject.keys);
    if (!isAboutThis) return { invented: `the statement of ${actor} is about something else` };
    return this.#checkSigner(entry, jws, 'statement');
  }

  #checkConfirmation(entry: Entry): Objection | undefined {
    const { actor, subject, detail } = entry;
    const jws = parsed(detail['statement'], CONFIRMATION_TYPE);
    if (jws === undefined) return { invented: `${actor} has signed no confirmation` };
    const { iss, aud, recovery, keys: named } = jws.payload;
    const isAboutThis =
      iss === actor &&
      isForLog(aud, this.#logKey) &&
      recovery === subject.recovery &&
      isSameList(named, subject.keys);
    if (!isAboutThis) return { invented: `the confirmation of ${actor} is about something else` };
    return this.#checkSigner(entry, jws, 'confirmation');
  }

  #checkDrill(entry: Entry): Objection | undefined {
    const { actor, detail } = entry;
    const jws = parsed(detail['statement'], DRILL_TYPE);
    if (jws === undefined) return { invented: `${actor} has signed no drill` };
    const { iss, aud, iat, exp } = jws.payload;
    if (iss !== actor || !isForLog(aud, this.#logKey)) {
      return { invented: `the drill of ${actor} is somebody else's` };
    }
    const atMs = Date.parse(entry.time);
    // one that was kept back says nothing of the day on which it is shown
    const isOfThen =
      typeof iat === 'number' &&
      typeof exp === 'number' &&
      exp - iat <= DRILL_HOLDS_SECONDS &&
      iat * 1000 - TOLERANCE_MS <= atMs &&
      atMs <= exp * 1000 + TOLERANCE_MS;
    return (
      this.#checkSigner(entry, jws, 'drill') ??
      (isOfThen ? undefined : `the drill of ${actor} is of another time`)
    );
  }

  #checkSigner(
    { actor, time }: Entry,
    jws: ParsedJws,
    what: 'statement' | 'confirmation' | 'drill',
  ): Objection | undefined {
    const keys = this.#directory.keysOf(actor, Number(jws.payload['iat']), time);
    if (keys === undefined || keys.some((key) => holds(jws, key))) return undefined;
    const reason = `the ${what} is not signed by ${actor}`;
    const wasTheirs = this.#directory.formerKeysOf(actor).some((key) => holds(jws, key));
    return wasTheirs ? `${reason} by a key that is listed` : { invented: reason };
  }

  #checkStop(entry: Entry): string | undefined {
    const administrators = this.#directory.administrators;
    if (administrators === undefined) return undefined;
    const { signers, reason } = entry.detail;
    const signed = this.#stopsOf(entry, administrators);
    const by = namesIn(signed);
    const { quorum } = this.#directory;
    if (by.length < quorum)
      return `the request was ended by ${by.length} administrators, and that takes ${quorum}`;
    const isSaid = isSameList(signers, by) && signed.some((one) => one.reason === reason);
    return isSaid
      ? undefined
      : 'the request is said to have been ended by others than signed, or for another reason';
  }

  /** The statements that end this very request, each by an administrator. */
  #stopsOf({ detail, subject, time }: Entry, administrators: Administrators): readonly Stop[] {
    const { statements, requestHash } = detail;
    return (Array.isArray(statements) ? (statements as readonly unknown[]) : []).flatMap((statement) => {
      const jws = parsed(statement, STOP_TYPE);
      const iss = jws?.payload['iss'];
      if (jws === undefined || typeof iss !== 'string') return [];
      const { aud, recovery, requestHash: hash, exp } = jws.payload;
      const isForThis = isForLog(aud, this.#logKey) && recovery === subject.recovery && hash === requestHash;
      const isInTime = typeof exp === 'number' && Date.parse(time) <= exp * 1000 + TOLERANCE_MS;
      const isTheirs = administrators.get(iss)?.some((key) => holds(jws, key)) === true;
      return isForThis && isInTime && isTheirs ? [{ iss, reason: jws.payload['reason'] }] : [];
    });
  }

  #checkPolicy(entry: Entry): string | undefined {
    const { administrators, quorum } = this.#directory;
    if (administrators === undefined) return undefined;
    const { signatures, version } = entry.detail;
    if (!Array.isArray(signatures) || typeof version !== 'number') return 'the policy is not signed';
    const signers = this.#policySigners(entry, administrators);
    return signers.length >= quorum
      ? undefined
      : `the policy has ${signers.length} signatures of administrators, and needs ${quorum}`;
  }

  /** The administrators, by those listed before, who have signed this very policy on top of the one before it. */
  #policySigners({ detail }: Entry, administrators: Administrators): readonly string[] {
    const { signatures, version } = detail;
    const { hash: before } = this.#directory;
    const signed = (Array.isArray(signatures) ? (signatures as readonly unknown[]) : []).flatMap(
      (signature) => {
        const jws = parsed(signature, POLICY_SIGNATURE_TYPE);
        const iss = jws?.payload['iss'];
        if (jws === undefined || typeof iss !== 'string') return [];
        const isForThis =
          isForLog(jws.payload['aud'], this.#logKey) &&
          jws.payload['hash'] === detail[policyHashFact] &&
          jws.payload['base'] === Number(version) - 1 &&
          (before === undefined || jws.payload['replaces'] === before);
        const isTheirs = administrators.get(iss)?.some((key) => holds(jws, key)) === true;
        return isForThis && isTheirs ? [{ iss }] : [];
      },
    );
    return namesIn(signed);
  }
}

type Administrators = NonNullable<DirectoryInForce['administrators']>;

/** An administrator's word that a request is to end. */
interface Stop {
  readonly iss: string;
  readonly reason: unknown;
}

/** Who has signed, each once, in lexical order. */
function namesIn(signed: readonly Pick<Stop, 'iss'>[]): readonly string[] {
  return [...new Set(signed.map(({ iss }) => iss))].sort();
}

function isSameList(named: unknown, keys: readonly string[] | undefined): boolean {
  return Array.isArray(named) && named.join(' ') === keys?.join(' ');
}

function parsed(value: unknown, typ: string): ParsedJws | undefined {
  const jws = typeof value === 'string' ? parseJws(value) : undefined;
  return jws?.header['typ'] === typ ? jws : undefined;
}

function holds(
  jws: ParsedJws,
  key: Parameters<typeof jwsHolds>[1] & { readonly thumbprint: string },
): boolean {
  return jws.header['kid'] === key.thumbprint && jwsHolds(jws, key);
}
