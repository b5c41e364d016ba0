import type { Subject } from '../../log/entry/entry.js';

/** Acts that a key has a deposit by: it is made, or it is taken from outside. */
export const BIRTHS: ReadonlySet<string> = new Set(['key.generate', 'key.import']);

/** How long an Idempotency-Key stands for what was made under it; what comes with it later is taken for new. */
export const IDEMPOTENCY_KEY_KEPT_MS = 24 * 60 * 60 * 1000;
/** The caller's own name for one creation (draft-ietf-httpapi-idempotency-key-header), covered by the request's signature. */
export interface IdempotencyKey {
  readonly key: string;
  /** SHA-256 (hex) of what is asked: with another one, the key is used for something else. */
  readonly fingerprint: string;
}

/** What a key stands for. */
export type Creation = { readonly fingerprint: string } & (
  | { readonly status: 'open' }
  | {
      readonly status: 'done';
      /** The place of the outcome in the log, and what it is about. */
      readonly index: number;
      readonly about: Subject;
    }
);
