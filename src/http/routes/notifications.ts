import { redeliver } from '../../escrow/acts/redeliverNotices.js';
import type { Acted, RedeliveryReply } from '../../api/replies.js';
import { pageReply } from '../replies.js';
import { ROUTES } from '../../api/routes.js';
import { type Route, act, view } from '../route.js';

/** Who is told outside of the API: what they could not be told. */
export const notificationRoutes: readonly Route[] = [
  view({
    ...ROUTES.listGivenUpNotices,
    summary: 'The notices that a sink did not take and that were given up, newest first.',
    problems: [],
    run: async (escrow, _call, { query: { sink, page } }) =>
      pageReply(await escrow.store.givenUp({ sink }, page), ({ givenUpAt, ...notice }) => ({
        notice: notice.notice,
        sink: notice.sink,
        entry: notice.entry,
        to: notice.to,
        kind: notice.kind,
        fault: notice.fault,
        givenUpAt: givenUpAt.toISOString(),
      })),
  }),
  act({
    ...ROUTES.redeliverNotices,
    summary: 'Has a sink told again what was given up, in its turn and under the same ids.',
    problems: ['notice-unknown'],
    run: async (escrow, call, { body }): Promise<Acted<RedeliveryReply>> => {
      const { answer, index } = await redeliver(escrow, call, body);
      return { result: { sink: answer.sink, notices: answer.notices }, entry: index };
    },
  }),
];
