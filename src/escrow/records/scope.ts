import type { PrincipalId } from './ids.js';
import type { Operation } from './keySpecs.js';
import type { Mechanism } from './mechanisms.js';
import type { Rate } from './rate.js';

/** What an app may send: messages, which the daemon hashes; digests as well. */
export const INPUTS = ['message', 'digest'] as const;

/** What an app may do with a recovered key; with each of them, where there are several. The approver signs exactly this. */
export interface Scope {
  readonly app: PrincipalId;
  readonly operations: readonly Operation[];
  readonly mechanisms: readonly Mechanism[];
  readonly input: (typeof INPUTS)[number];
  readonly maxUses: number;
  readonly rate: Rate | undefined;
  /** Counted from activation. */
  readonly durationMs: number;
  /** No use before this instant; undefined: from activation. */
  readonly notBefore: Date | undefined;
  /** No use from this instant on, however long the duration; undefined: as long as that. */
  readonly notAfter: Date | undefined;
}
