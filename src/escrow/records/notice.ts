import type { Entry } from '../../log/entry/entry.js';
import type { PrincipalId, KeyId } from './ids.js';
import type { AskedPurpose } from './recovery.js';

/**
 * What a notice is about: a request waits, the delay before an approval is over, a key was used, something was decided or has
 * ended, an attempt was refused, a key came from outside, a drill has found that a share does not open.
 */
export const NOTICE_KINDS = [
  'asked',
  'approval-due',
  'used',
  'decided',
  'refused',
  'imported',
  'drill-failed',
] as const;
/** One of {@link NOTICE_KINDS}. */
export type NoticeKind = (typeof NOTICE_KINDS)[number];
/** A recovery request as a notice tells it. */
export interface NoticeRequest {
  readonly requester: PrincipalId;
  readonly purpose: AskedPurpose;
  /** Who uses or receives the key; nobody does of one that is sealed anew. */
  readonly beneficiary: PrincipalId | undefined;
  /** Each key that is asked for, and what the owner has called it. */
  readonly keys: readonly { readonly key: KeyId; readonly label: string }[];
  readonly reason: string;
  readonly expiresAt: string;
}

/** Something that one person is told, because an entry in the log concerns them. Holds nothing that they cannot read by the API. */
export interface Notice {
  /** `ntc_` and 32 hex digits: the same for the same entry, person and kind, however often it is delivered. */
  readonly id: string;
  readonly kind: NoticeKind;
  readonly to: PrincipalId;
  /** Why this person: in what part the entry concerns them. */
  readonly as: 'depositary' | 'owner' | 'requester';
  /** One or two sentences in plain words, in one line, without control characters. */
  readonly text: string;
  /** The entry's place in the log, and what it says. */
  readonly entry: number;
  readonly time: string;
  readonly act: string;
  readonly actor: string;
  readonly subject: Entry['subject'];
  /** Where the request or the grant stands after it, or the stable code of the refusal or failure. */
  readonly outcome: string;
  /** kinds asked, approval-due and decided: what was asked for. */
  readonly request: NoticeRequest | undefined;
  /** kind used: how many uses this one act took; undefined when it failed. */
  readonly uses: number | undefined;
}
