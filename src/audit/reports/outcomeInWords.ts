import type { Outcome } from './acts.js';

/** What came of an act: `done`, `denied: grant-exhausted`, `open` where the log has no outcome. */
export function outcomeInWords(outcome: Outcome | undefined): string {
  if (outcome === undefined) return 'open';
  return outcome.error === undefined ? outcome.phase : `${outcome.phase}: ${outcome.error}`;
}
