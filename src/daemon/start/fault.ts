/** Something that keeps the daemon from starting, or that somebody should know before, in the parts that one needs to mend it. No secrets. */
export interface Fault {
  /** What is wrong: a clause, without a stop. */
  readonly what: string;
  /** The file, the member of the configuration, the variable or the address that it is about. */
  readonly where: string;
  /** What mends it: a clause, without a stop. */
  readonly do: string;
}

/** A fault in one sentence, for a log or a terminal. */
export function inWords({ what, where, do: remedy }: Fault): string {
  return `${where}: ${what}; ${remedy}`;
}
