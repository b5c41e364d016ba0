import { isForLog } from '../log/note/audience.js';
import type { Entry } from '../log/entry/entry.js';
import { type Objection, policyAct, policyHashFact } from '../log/export/verifier.js';
import { type DirectoryInForce, TOLERANCE_MS } from './directoryInForce.js';
import { type ParsedJws, jwsHolds, parseJws } from '../jose/jws.js';
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
    const { iss, aud } = jws.payload;
    if (iss !== actor || !isForLog(aud, this.#logKey)) {
      return { invented: `the drill of ${actor} is somebody else's` };
    }
    return this.#checkSigner(entry, jws, 'drill');
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

  #checkStop({ detail, subject, time }: Entry): string | undefined {
    const administrators = this.#directory.administrators;
    if (administrators === undefined) return undefined;
    const { statements, requestHash, signers, reason } = detail;
    const signed = (Array.isArray(statements) ? (statements as readonly unknown[]) : []).flatMap(
      (statement) => {
        const jws = parsed(statement, STOP_TYPE);
        const iss = jws?.payload['iss'];
        if (jws === undefined || typeof iss !== 'string') return [];
        const { aud, recovery, requestHash: hash, exp } = jws.payload;
        const isForThis =
          isForLog(aud, this.#logKey) && recovery === subject.recovery && hash === requestHash;
        const isInTime = typeof exp === 'number' && Date.parse(time) <= exp * 1000 + TOLERANCE_MS;
        const isTheirs = administrators.get(iss)?.some((key) => holds(jws, key)) === true;
        return isForThis && isInTime && isTheirs ? [{ iss, reason: jws.payload['reason'] }] : [];
      },
    );
    const by = [...new Set(signed.map(({ iss }) => iss))].sort();
    const { quorum } = this.#directory;
    if (by.length < quorum)
      return `the request was ended by ${by.length} administrators, and that takes ${quorum}`;
    const isSaid = isSameList(signers, by) && signed.some((one) => one.reason === reason);
    return isSaid
      ? undefined
      : 'the request is said to have been ended by others than signed, or for another reason';
  }

  #checkPolicy({ detail }: Entry): string | undefined {
    const administrators = this.#directory.administrators;
    const { signatures, version } = detail;
    const { hash: before, quorum } = this.#directory;
    if (administrators === undefined) return undefined;
    if (!Array.isArray(signatures) || typeof version !== 'number') return 'the policy is not signed';
    const signers = new Set(
      (signatures as readonly unknown[]).flatMap((signature) => {
        const jws = parsed(signature, POLICY_SIGNATURE_TYPE);
        const iss = jws?.payload['iss'];
        if (jws === undefined || typeof iss !== 'string') return [];
        const isForThis =
          isForLog(jws.payload['aud'], this.#logKey) &&
          jws.payload['hash'] === detail[policyHashFact] &&
          jws.payload['base'] === version - 1 &&
          (before === undefined || jws.payload['replaces'] === before);
        const isTheirs = administrators.get(iss)?.some((key) => holds(jws, key)) === true;
        return isForThis && isTheirs ? [iss] : [];
      }),
    );
    return signers.size >= quorum
      ? undefined
      : `the policy has ${signers.size} signatures of administrators, and needs ${quorum}`;
  }
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
