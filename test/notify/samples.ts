import type { KeyId, PrincipalId } from '../../src/escrow/records/ids.js';
import type { Notice } from '../../src/escrow/records/notice.ts';
import { NOTICE_KINDS } from '../../src/escrow/records/notice.ts';

export const everyKind = new Set(NOTICE_KINDS);

/** A notice of entry 7; `more` says what else is special. */
export function noticeOf(more: Partial<Notice> = {}): Notice {
  return {
    id: `ntc_${'a'.repeat(32)}`,
    kind: 'asked',
    to: 'manager' as PrincipalId,
    as: 'depositary',
    text: 'somebody asks for something',
    entry: 7,
    time: '2026-02-03T04:05:06.789Z',
    act: 'recovery.request',
    actor: 'manager',
    subject: { keys: [`key_${'2'.repeat(32)}`], owner: 'owner', recovery: 'rec_1' },
    outcome: 'pending',
    request: {
      requester: 'manager' as PrincipalId,
      purpose: 'release',
      beneficiary: 'manager' as PrincipalId,
      keys: [{ key: `key_${'2'.repeat(32)}` as KeyId, label: 'contracts' }],
      reason: 'the owner has left',
      expiresAt: '2026-02-04T00:00:00.000Z',
    },
    uses: undefined,
    ...more,
  };
}

/** A use of the owner's key. */
export function useOf(id: string, grant = 'grant_1'): Notice {
  return noticeOf({
    id,
    kind: 'used',
    to: 'owner' as PrincipalId,
    as: 'owner',
    text: `use ${id}`,
    act: 'grant.sign',
    subject: { owner: 'owner', grant },
    outcome: 'done',
    request: undefined,
    uses: 1,
  });
}
