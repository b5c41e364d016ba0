import type { Notice } from '../escrow/records/notice.js';

/** A notice as webhooks and the file have it: the `data` of a webhook, or one line of the file. */
export type Payload = Readonly<Record<string, unknown>>;

/** The JSON of a notice, member by member; see docs/notifications.md. `origin` is the name of the log. */
export function payloadOf(origin: string, notice: Notice): Payload {
  const { request, uses } = notice;
  return {
    id: notice.id,
    origin,
    kind: notice.kind,
    to: notice.to,
    as: notice.as,
    text: notice.text,
    entry: notice.entry,
    time: notice.time,
    act: notice.act,
    actor: notice.actor,
    subject: {
      key: notice.subject.key,
      keys: notice.subject.keys,
      owner: notice.subject.owner,
      recovery: notice.subject.recovery,
      grant: notice.subject.grant,
    },
    outcome: notice.outcome,
    ...(request === undefined
      ? {}
      : {
          request: {
            requester: request.requester,
            purpose: request.purpose,
            ...(request.beneficiary === undefined ? {} : { beneficiary: request.beneficiary }),
            keys: request.keys.map(({ key, label }) => ({ key, label })),
            reason: request.reason,
            expiresAt: request.expiresAt,
          },
        }),
    ...(uses === undefined ? {} : { uses }),
  };
}
