import type { Terminal } from './terminal.js';

/** The outside world of one run. */
export interface Environment {
  readonly terminal: Terminal;
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly now: () => Date;
  /** Where the programs beside escrowctl are. */
  readonly programs: string;
  /** Resolves when the process is asked to end (SIGTERM, SIGINT); for what runs until then. */
  readonly stopped: () => Promise<void>;
  /** Resolves when a person breaks it off (SIGINT), unless it runs until it is asked to end. */
  readonly interrupted: Promise<void>;
}
