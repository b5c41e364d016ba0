import type { Notice, NoticeKind } from '../escrow/records/notice.js';

/** At least one notice, in order. */
export type Notices = readonly [Notice, ...Notice[]];

/** What came of handing notices over. The sentence in `fault` is one that a stranger may read; `reason` is for operators. */
export type DeliveryResult =
  /** So many of the leading notices are in the receiver's hands. */
  | { readonly accepted: number }
  | {
      readonly accepted: 'none';
      /**
       * `refused`: the receiver does not want this notice. `deferred`: not now, and it is because of this notice.
       * `unavailable`: the receiver does not work, whatever the notice.
       */
      readonly because: 'refused' | 'deferred' | 'unavailable';
      readonly fault: string;
      readonly reason: string;
      /** No sooner than this, as the receiver says. */
      readonly retryAfterMs?: number;
    };

/** Where notices go. */
export interface Sink {
  /** Its name among the sinks, by which its progress is kept. */
  readonly name: string;
  readonly kinds: ReadonlySet<NoticeKind>;
  /**
   * Hands over one or more of the leading notices. What it says it took, the receiver has; what it does not, the receiver
   * may have as well. Bounded in time: well under a minute. One call at a time.
   */
  deliver(notices: Notices): Promise<DeliveryResult>;
  /** Breaks off what is under way. */
  close(): void;
}
