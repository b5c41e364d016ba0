import { acknowledge } from '../../escrow/acts/duties/acknowledge.js';
import type { Acted, AcknowledgementReply } from '../../api/replies.js';
import { ROUTES } from '../../api/routes.js';
import { type Route, act } from '../route.js';

/** Duties that depositaries acknowledge. */
export const acknowledgementRoutes: readonly Route[] = [
  act({
    ...ROUTES.acknowledgeDuties,
    summary: 'A depositary acknowledges their duties by a signed statement, which stands in the log.',
    problems: ['approval-signature-invalid', 'approval-mismatch', 'approval-expired', 'policy-stale'],
    run: async (escrow, call, { body }): Promise<Acted<AcknowledgementReply>> => {
      const { answer, index } = await acknowledge(escrow, call, body);
      const { role, text, policyVersion } = answer;
      return { result: { role, text, policyVersion }, entry: index };
    },
  }),
];
