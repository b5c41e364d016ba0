import type { Witnessing } from '../cosigning/witnessing.js';
import type { LogFacts } from '../escrow/logged/logFacts.js';
import type { Known } from '../metrics/state.js';
import type { Database } from '../postgres/database.js';
import type { SupervisedToken } from '../token/service/supervisedToken.js';
import type { Config } from './config.js';

/** What the parts of a daemon know without asking anybody, for its figures. */
export function knownTo({
  config,
  token,
  facts,
  database,
  witnessing,
}: {
  readonly config: Pick<Config, 'token' | 'witnesses'>;
  readonly token: Pick<SupervisedToken, 'requireInService' | 'openings'>;
  readonly facts: Pick<LogFacts, 'runningGrantIds'>;
  readonly database: Pick<Database, 'connections'>;
  readonly witnessing: Pick<Witnessing, 'silent'>;
}): () => Pick<Known, 'token' | 'witnesses' | 'connections'> {
  const names = config.witnesses.map(({ key }) => key.name);
  return () => ({
    token: {
      isInService: isInService(token),
      openings: token.openings,
      grants: facts.runningGrantIds().length,
      maxGrants: config.token.maxGrants,
    },
    witnesses: { names, silent: witnessing.silent },
    connections: database.connections(),
  });
}

function isInService(token: Pick<SupervisedToken, 'requireInService'>): boolean {
  try {
    token.requireInService();
    return true;
  } catch {
    return false;
  }
}
