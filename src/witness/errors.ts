/** What stops a witness from being made or from serving: a closed set of stable codes. */
export type WitnessFaultCode =
  /** There is a key or a state already; nothing was overwritten. */
  | 'witness-exists'
  /** The key file is missing, malformed, or readable by others. */
  | 'witness-key'
  /** The state is missing, malformed, or of another key. A witness without its memory must not sign. */
  | 'witness-state'
  /** Another process serves from this state directory. */
  | 'witness-in-use'
  /** A log's key is none, or stands twice. */
  | 'witness-log';

/** A witness that cannot be made, or cannot serve; the message is a sentence for who runs it. */
export class WitnessFault extends Error {
  override readonly name = 'WitnessFault';

  constructor(
    readonly code: WitnessFaultCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
