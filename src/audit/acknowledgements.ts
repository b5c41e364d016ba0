import { z } from 'zod';

import { ACKNOWLEDGEMENT_TYPE } from '../escrow/records/statementTypes.js';
import { isForLog } from '../log/note/audience.js';
import { canonicalJson } from '../log/entry/canonical.js';
import type { Entry } from '../log/entry/entry.js';
import { type Objection, policyAct } from '../log/export/verifier.js';
import { jwsHolds, parseJws } from '../jose/jws.js';
import { type DirectoryInForce, TOLERANCE_MS } from './directoryInForce.js';

const statementSchema = z.strictObject({
  iss: z.string(),
  aud: z.string(),
  iat: z.int(),
  exp: z.int(),
  role: z.string(),
  text: z.string(),
  policyVersion: z.int(),
});

/**
 * Checks that whoever is said to have acknowledged their duties has signed just that: this text, this role, for this log, at that
 * time, under the policy that was in force. So nobody's acknowledgement is invented, taken for another's, or taken again later.
 */
export class AcknowledgementEvidence {
  readonly #logKey: string;
  readonly #directory: DirectoryInForce;
  #version = 0;

  /** `logKey`: the C2SP verifier key of the log, which statements are for. */
  constructor(logKey: string, directory: DirectoryInForce) {
    this.#logKey = logKey;
    this.#directory = directory;
  }

  /** Why this entry is refused, if it is. */
  check({ act, phase, actor, detail, time }: Entry): Objection | undefined {
    if (act === policyAct && phase === 'done') this.#version = Number(detail['version']);
    if (act !== 'depositary.acknowledge' || phase !== 'attempted') return undefined;
    const { statement, ...told } = detail;
    const jws = typeof statement === 'string' ? parseJws(statement) : undefined;
    const said = statementSchema.safeParse(jws?.payload).data;
    if (jws?.header['typ'] !== ACKNOWLEDGEMENT_TYPE || said === undefined)
      return { invented: `${actor} has signed no acknowledgement` };
    const { iss, aud, iat, exp, ...about } = said;
    if (iss !== actor || !isForLog(aud, this.#logKey) || canonicalJson(about) !== canonicalJson(told))
      return { invented: `the acknowledgement of ${actor} is of something else, or somebody else's` };
    const atMs = Date.parse(time);
    if (atMs + TOLERANCE_MS < iat * 1000 || atMs > exp * 1000 + TOLERANCE_MS)
      return { invented: `the acknowledgement of ${actor} is of another time` };
    if (said.policyVersion !== this.#version) return `the acknowledgement of ${actor} is of another policy`;
    const keys = this.#directory.keysOf(actor, iat, time);
    if (keys === undefined) return undefined;
    const isTheirs = keys.some((key) => jws.header['kid'] === key.thumbprint && jwsHolds(jws, key));
    return isTheirs ? undefined : { invented: `the acknowledgement is not signed by ${actor}` };
  }
}
