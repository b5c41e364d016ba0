import { isForLog } from '../../log/note/audience.js';
import type { Principal } from '../records/principals.js';
import { type Drill, drillsAsJson } from '../records/drills/drilling.js';
import { EscrowError } from '../records/errors.js';
import { DRILL_TYPE } from '../records/statementTypes.js';
import {
  CLOCK_SKEW_SECONDS,
  type StatedTree,
  type StatementCheck,
  isStatedTree,
  isStatement,
} from './statement.js';

/** A statement about a drill says what was just seen. */
export const DRILL_HOLDS_SECONDS = 600;

/**
 * Checks that `jws` is this depositary's own statement about exactly these drills, of now. Returns the tree of the log that it names.
 *
 * @throws EscrowError `drill-signature-invalid`, `drill-mismatch`, `drill-expired`
 */
export async function checkDrillStatement(
  check: StatementCheck,
  depositary: Principal,
  drills: readonly Drill[],
  jws: string,
): Promise<StatedTree> {
  const verified = await check.statements.verify(jws, DRILL_TYPE, depositary.keys);
  if (verified === undefined) throw new EscrowError('drill-signature-invalid');
  const { aud, iat, exp, checkpoint, ...about } = verified.payload;
  const isAbout = isStatement(about, { iss: depositary.id, drills: drillsAsJson(drills) });
  if (!isForLog(aud, check.logKey) || !isAbout || !isStatedTree(checkpoint)) {
    throw new EscrowError('drill-mismatch', 'The statement says something else than the request.');
  }
  if (typeof iat !== 'number' || typeof exp !== 'number') throw new EscrowError('drill-mismatch');
  const now = check.clock.now().getTime() / 1000;
  const isOfNow = now < exp && iat <= now + CLOCK_SKEW_SECONDS && exp - iat <= DRILL_HOLDS_SECONDS;
  if (!isOfNow) throw new EscrowError('drill-expired');
  return checkpoint;
}
