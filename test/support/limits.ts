/**
 * How long a test or hook may take in suites for which the usual limit (jest.config.js) is too short, and why. They end a wait
 * and promise nothing: each is many times what is taken on a machine that does nothing else.
 */
export const LIMITS_MS = {
  /** Daemon, database and token are started, and asked over TLS for one thing after the other. */
  system: 240_000,
  /** A server of PostgreSQL is started, stopped, lost or waited for, and the part of a daemon that stands on it. */
  database: 240_000,
  /** A token is made and opened by a process of its own; it searches for primes where none are ready. */
  token: 240_000,
  /** People make RSA pairs as the command line does, by a search for primes that is now and then a long one. */
  pairs: 120_000,
  /** The command line is run for one command after the other, each with files of its own and a connection over TLS. */
  commands: 120_000,
  /** Programs are started one after the other, each a new node. */
  programs: 120_000,
  /** Hundreds of cases are drawn, and each is a life of a request or a log. */
  drawn: 120_000,
} as const satisfies Readonly<Record<string, number>>;
