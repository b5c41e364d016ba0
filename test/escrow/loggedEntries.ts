import type { Entry } from '../../src/log/entry/entry.js';
import { encodeEntry } from '../../src/log/entry/entry.js';

const time = '2026-03-01T12:00:00.000Z';

/** What the entries of an act say. */
interface Facts {
  readonly attempted?: Entry['detail'];
  readonly done?: Entry['detail'];
  readonly digest?: string;
}

/** The two entries of an act that was done. */
export function doneAct(
  act: string,
  id: string,
  subject: Entry['subject'],
  { attempted = {}, done = {}, digest = 'ab'.repeat(32) }: Facts = {},
): readonly Uint8Array[] {
  const common = { v: 1, time, act, id, actor: 'dave', subject } as const;
  return [
    { ...common, phase: 'attempted', detail: attempted } as const,
    { ...common, phase: 'done', detail: done, digest } as const,
  ].map(encodeEntry);
}

/** That a policy came into force. */
export function policyApplied({ version, hash }: { version: number; hash: string }): readonly Uint8Array[] {
  return doneAct('policy.apply', `act_policy_${version}`, {}, { done: { version, policyHash: hash } });
}
