/** What escrowctl's exit says, for scripts. Each code is stable. */
export const EXIT_CODES = {
  ok: { code: 0, meaning: 'It was done.' },
  unexpected: {
    code: 1,
    meaning:
      'Something went wrong that escrowctl does not know; it may or may not have been done. Of drill: a key does not open as it must.',
  },
  usage: { code: 2, meaning: 'The command, a file or the identity is not as it must be. Nothing was sent.' },
  refused: {
    code: 3,
    meaning:
      'The server said no, or not yet: forbidden, quorum-incomplete, delay-running, grant-exhausted, ...',
  },
  unreachable: { code: 4, meaning: 'No answer from an escrow server: network, TLS, or time ran out.' },
  disbelieved: {
    code: 5,
    meaning:
      'Something that the server or a file showed does not hold. Do not believe it; nothing was given away.',
  },
  unavailable: {
    code: 6,
    meaning: 'The server is there, but its token, log or database is not. Try again later.',
  },
  notProven: {
    code: 7,
    meaning:
      'A veto, denial, cancellation, stop or revocation was sent, and the server did not prove that it is in the log: take it as\n' +
      '     not done, and call those who can act on that: the depositaries, of a grant the security team.',
  },
  unrecoverable: {
    code: 8,
    meaning:
      'Nobody can bring a key back any more (coverage); or a policy would leave it so, and not that number was accepted (apply):\n' +
      '     then nothing was applied.',
  },
  unwritten: {
    code: 9,
    meaning:
      'It was done, and what came of it could not be written where it was to go (a full disk, a closed pipe): it is said where it is kept.',
  },
  interrupted: {
    code: 130,
    meaning: 'You broke it off (Ctrl-C). It is said whether anything had been sent.',
  },
} as const satisfies Record<string, { readonly code: number; readonly meaning: string }>;

export type ExitName = keyof typeof EXIT_CODES;

/** The text of `escrowctl help exit-codes`. */
export function exitCodesHelp(): readonly string[] {
  return [
    'Exit codes of escrowctl',
    '',
    ...Object.values(EXIT_CODES).map(({ code, meaning }) => `  ${code}  ${meaning}`),
    '',
    'With 4 and 1 a request may have reached the server: look (escrowctl recovery show, history) before you repeat it.',
  ];
}
