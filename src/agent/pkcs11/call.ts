import type { Caller } from './caller.js';
import type { MessageReader } from './messageReader.js';
import type { MessageWriter } from './messageWriter.js';

/** Writes the results of a call. */
export type Answer = (reply: MessageWriter) => unknown;

/** One of the functions of PKCS#11, as p11-kit calls it. */
export interface Call {
  readonly name: string;
  /** The types of its arguments, which both ends must have the same. */
  readonly takes: string;
  /** The types of its results. */
  readonly gives: string;
  /** Reads all arguments. @throws Pkcs11Error, which the program is answered; MalformedMessage, which closes the connection */
  run(caller: Caller, take: MessageReader): Answer | Promise<Answer>;
}

/** Of a call that gives nothing. */
export const NOTHING: Answer = () => undefined;
