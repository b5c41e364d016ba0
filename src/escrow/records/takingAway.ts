/**
 * Acts that only take something away: nobody has more after them. They are answered with the proof that they are in the log, so
 * that nobody can be told that they were done when they were not, and count also as the second outcome of their act.
 */
export const TAKING_AWAY = [
  'recovery.deny',
  'recovery.veto',
  'recovery.cancel',
  'recovery.stop',
  'grant.revoke',
] as const;
