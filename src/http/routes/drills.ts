import { drillShares } from '../../escrow/acts/drills/drillShares.js';
import { listDrillable } from '../../escrow/reads/drills.js';
import { ROUTES } from '../../api/routes.js';
import { drillPageReply, drilledReply } from '../replies.js';
import { type Route, act, view } from '../route.js';

/** Drills: that shares open is shown, and none is given away. */
export const drillRoutes: readonly Route[] = [
  view({
    ...ROUTES.listDrills,
    summary: 'The caller’s shares with all that is needed to drill them, newest keys first.',
    problems: ['key-unknown'],
    run: async (escrow, call, { query }) => drillPageReply(await listDrillable(escrow, call, query)),
  }),
  act({
    ...ROUTES.drillShares,
    summary: 'Hands in what came of opening shares, signed by their depositary; no secret is sent.',
    problems: [
      'key-unknown',
      'owners-differ',
      'drill-signature-invalid',
      'drill-mismatch',
      'drill-expired',
      'drill-out-of-turn',
    ],
    run: async (escrow, call, { body }) => {
      const { answer, index } = await drillShares(escrow, call, body);
      return { result: drilledReply(answer), entry: index };
    },
  }),
];
