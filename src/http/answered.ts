import type { ErrorCode } from '../escrow/records/errors.js';

/**
 * A request that was answered, or whose caller went away before: for the operators' log and for figures. Nothing in it is free
 * text of a caller, and no member grows with what strangers send.
 */
export interface Answered {
  /** As in X-Request-Id; undefined of what was no HTTP that can be read. */
  readonly requestId: string | undefined;
  /** One of the methods of HTTP; undefined of what could not be read. */
  readonly method: string | undefined;
  /** The path of the route with its parameters' names, `/v1/keys/:key`; undefined when there is no such route. */
  readonly route: string | undefined;
  /** The address at the other end of the connection. */
  readonly address: string;
  /** Who asked, once they have proven it. */
  readonly caller: string | undefined;
  readonly status: number;
  /** Why not. */
  readonly code: ErrorCode | undefined;
  /** Index of the log's entry of what was done or refused. */
  readonly entry: number | undefined;
  /** From the end of the headers to the last byte of the answer, or to the loss of the connection. */
  readonly durationMs: number;
  /** The connection was lost before the whole answer had left. */
  readonly isCut: boolean;
}

/** Told of each request once. */
export type TellAnswered = (answered: Answered) => void;
