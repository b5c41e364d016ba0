import type { ServerReply } from '../../api/replies.js';
import { ROUTES } from '../../api/routes.js';
import { type Route, open } from '../route.js';
import { acknowledgementRoutes } from './acknowledgements.js';
import { drillRoutes } from './drills.js';
import { grantRoutes } from './grants.js';
import { importRoutes } from './imports.js';
import { keyRoutes } from './keys.js';
import { logRoutes } from './log.js';
import { notificationRoutes } from './notifications.js';
import { policyRoutes } from './policy.js';
import { recoveryRoutes } from './recoveries.js';

/** The public keys of a server: facts of its token. */
export interface ServerKeys {
  /** Public JWK of the identity key. */
  readonly identityKey: Readonly<Record<string, string>>;
  /** C2SP verifier key of the log. */
  readonly logKey: string;
}

/** Every route of the API. What is not here is refused. */
export function routesOf(keys: ServerKeys): readonly Route[] {
  return [
    serverRoute(keys),
    ...policyRoutes,
    ...keyRoutes,
    ...drillRoutes,
    ...importRoutes,
    ...recoveryRoutes,
    ...grantRoutes,
    ...logRoutes,
    ...acknowledgementRoutes,
    ...notificationRoutes,
  ];
}

function serverRoute({ identityKey, logKey }: ServerKeys): Route {
  return open({
    ...ROUTES.getServer,
    summary: 'What this server says it is; clients pin its keys from the ceremony’s record instead.',
    problems: [],
    run: ({ origin, token }) => {
      const { profile, keySpecs, mechanisms, oaep } = token.abilities;
      const reply: ServerReply = {
        origin,
        identityKey,
        logKey,
        token: { profile, keySpecs, mechanisms, oaep },
      };
      return Promise.resolve({ status: 200, json: reply });
    },
  });
}
