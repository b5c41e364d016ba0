import type { Clock } from '../escrow/ports/clock.js';
import type { Config } from './config.js';
import type { OperatorLog } from './operatorLog.js';
import type { TokenPrograms } from './startToken.js';

/** Configuration and places of one daemon. Clocks, and the programs that work with the token, are for whoever starts it to choose. */
export interface DaemonParts extends TokenPrograms {
  readonly config: Config;
  readonly configFile: string;
  /** Where package.json, node_modules and hsm-config are. */
  readonly packageDirectory: string;
  readonly log: OperatorLog;
  /** Time; that of the system when it is not given. */
  readonly clock?: Clock;
  /** Ends a start that is under way, before its next step; what was started is stopped again. */
  readonly stop?: AbortSignal;
  /** What the database's clock must agree with; that of the system when it is not given. */
  readonly ownClock?: Pick<Clock, 'now'>;
}
