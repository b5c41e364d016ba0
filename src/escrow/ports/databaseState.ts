/** What the database says of itself. */
export type DatabaseHealth =
  | {
      readonly answers: true;
      readonly entries: number;
      /** Entries that the newest checkpoint covers. */
      readonly checkpointed: number;
      /** Why nothing can be appended, as far as it was tried. */
      readonly journalFault: string | undefined;
      /** Why the checkpoint does not follow the entries. */
      readonly integratorFault: string | undefined;
      /** By how much the clocks of this daemon and of the database are apart; undefined while they agree. */
      readonly clocksApartMs: number | undefined;
    }
  | { readonly answers: false };

/** The connections to the database but the one that appends. */
export interface PoolConnections {
  readonly used: number;
  readonly idle: number;
  /** Those who wait for one. */
  readonly waiting: number;
  readonly limit: number;
}
