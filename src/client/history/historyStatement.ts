import { z } from 'zod';

import type { HistoryFilter, HistoryStatementPayload } from '../../escrow/records/ownerHistory.js';
import { encodeBase64 } from '../../log/note/base64.js';
import type { Checkpoint } from '../../log/note/checkpoint.js';
import { NotBelieved } from '../errors.js';
import { type Jwk, jwsHolds, parseJws } from '../../jose/jws.js';
import { HISTORY_TYPE } from '../../escrow/records/statementTypes.js';

/** How long ago, and how far ahead by our clock, a fresh statement may have been made. */
const FRESHNESS_MS = 300_000;

const count = z.int().min(0);
/** See {@link HistoryFilter}. */
export const historyFilter = z.strictObject({
  key: z.exactOptional(z.string()),
  act: z.exactOptional(z.string()),
  since: z.exactOptional(z.string()),
  until: z.exactOptional(z.string()),
}) satisfies z.ZodType<HistoryFilter>;
const payloadSchema = z.strictObject({
  iss: z.string(),
  sub: z.string(),
  iat: count,
  filter: historyFilter,
  checkpoint: z.strictObject({ size: count, root: z.string() }),
  count,
  list: z.string().regex(/^[0-9a-f]{64}$/),
}) satisfies z.ZodType<HistoryStatementPayload>;

/**
 * Reads a statement about a history that the token's identity key has signed (ES256), of this log and about the tree of
 * this checkpoint.
 * @throws NotBelieved `history-statement-invalid`
 */
export function openHistoryStatement(
  statement: string,
  pins: { readonly origin: string; readonly identityKey: Jwk },
  checkpoint: Checkpoint,
): HistoryStatementPayload {
  const jws = parseJws(statement);
  if (jws?.header['typ'] !== HISTORY_TYPE) throw invalid('it is not one');
  if (!jwsHolds(jws, { jwk: pins.identityKey, alg: 'ES256' })) {
    throw invalid('it is not signed by the pinned identity key');
  }
  const payload = payloadSchema.safeParse(jws.payload);
  if (!payload.success) throw invalid('it lacks what a statement says');
  const { iss, checkpoint: about } = payload.data;
  if (iss !== pins.origin) throw invalid('it is by another server');
  if (about.size !== checkpoint.size || about.root !== encodeBase64(checkpoint.root)) {
    throw invalid('it is about another tree than that of the checkpoint beside it');
  }
  return payload.data;
}

/**
 * Refuses a statement that was made at another time: it would leave out what came since.
 * @throws NotBelieved `history-statement-invalid`
 */
export function requireFresh({ iat }: HistoryStatementPayload, now: Date): void {
  if (Math.abs(now.getTime() - iat * 1000) > FRESHNESS_MS) {
    throw invalid(`it was not made now, but at ${new Date(iat * 1000).toISOString()}`);
  }
}

function invalid(why: string): NotBelieved {
  return new NotBelieved(
    'history-statement-invalid',
    `the statement that the history is complete does not hold: ${why}`,
  );
}
