import type { CommandArguments } from './commandArguments.js';
import type { ExitName } from './exitCodes.js';
import type { Precious } from './files/keptResult.js';
import type { Session } from './session.js';

export interface Result {
  /** For `--json`: one value of a stable shape. */
  readonly json: unknown;
  readonly lines: readonly string[];
  /** For people: what to do next, where there is a next step. */
  readonly next?: string | undefined;
  /** Instead of lines: written to standard output as it is, with `--json` too. */
  readonly raw?: Uint8Array;
  /** What of it cannot be had again: kept in a file, where standard output does not take it. */
  readonly precious?: Precious;
  /** When the answer itself is bad news. */
  readonly exit?: ExitName;
}

export interface OptionRow {
  /** As commander writes it: `--out <file>`, `--yes`, `--signature <file>`. */
  readonly flags: string;
  readonly about: string;
  readonly required?: true;
  /** It may stand several times. */
  readonly many?: true;
  readonly choices?: readonly string[];
  readonly default?: string;
}

export interface CommandRow {
  /** Name and arguments: `show <key>`. */
  readonly usage: string;
  readonly summary: string;
  /** More, for `--help`. */
  readonly about?: string;
  readonly options?: readonly OptionRow[];
  /** Command lines without `escrowctl`, each with what it does where that is not plain. */
  readonly examples: readonly string[];
  readonly run: (session: Session, given: CommandArguments) => Promise<Result>;
}

/** Commands on one thing: `escrowctl key ...`. */
export interface GroupRow {
  readonly name: string;
  readonly summary: string;
  /** What the name does by itself. */
  readonly itself?: CommandRow;
  readonly commands: readonly CommandRow[];
}
