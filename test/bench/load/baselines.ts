import { startChild, type Child } from '../child.js';
import type { BareOrder, BarePorts } from './bareServer.js';
import type { KeyWord } from './cells.js';
import type { CommitTimes } from './commits.js';
import type { RawOrder, RawRate } from './rawToken.js';
import type { TokenPlace } from './token.js';
import type { UnderLoad } from './underLoad.js';

/** What the machine does without the daemon, each in processes of its own that rest while others are measured. */
export interface Baselines {
  /** The token alone, by so many threads: signatures a second. */
  raw(key: KeyWord, threads: 1 | 2, seconds: number): Promise<number>;
  /** Two commits of one row each, one after the other, in the daemon's own cluster. */
  commits(seconds: number): Promise<CommitTimes>;
  /** Where the bare server listens. */
  readonly bare: BarePorts;
  stop(): Promise<void>;
}

/** Starts them on a copy of the daemon's token, which has the keys of these grants. */
export async function startBaselines(daemon: UnderLoad, grants: TokenPlace['grants']): Promise<Baselines> {
  const token: TokenPlace = { ...daemon.copyToken(), grants };
  const { signer, pins } = daemon.system.identity('app');
  const order: BareOrder = {
    token,
    tls: daemon.tls,
    clientCertificate: daemon.certificate.cert,
    caller: { kid: signer.kid, jwk: { ...signer.publicJwk }, audience: pins.logKey },
  };
  const bareServer = startChild('load/bareServer.ts', order);
  const committing = startChild('load/commits.ts', daemon.owner);
  const bare = await bareServer.next<BarePorts>();
  // one after the other: the module is not to be initialised at once
  const first = await startedRaw(token);
  const second = await startedRaw(token);
  await committing.next();
  return {
    raw: async (key, threads, seconds) => {
      const order: RawOrder = { key, seconds };
      const signing = threads === 1 ? [first] : [first, second];
      for (const child of signing) child.tell(JSON.stringify(order));
      const rates = await Promise.all(signing.map((child) => child.next<RawRate>()));
      return rates.reduce((sum, { signaturesPerSecond }) => sum + signaturesPerSecond, 0);
    },
    commits: async (seconds) => {
      committing.tell(JSON.stringify(seconds));
      return committing.next<CommitTimes>();
    },
    bare,
    stop: async () => {
      await Promise.all([bareServer, committing, first, second].map((child) => child.ended()));
    },
  };
}

async function startedRaw(token: TokenPlace): Promise<Child> {
  const child = startChild('load/rawToken.ts', token);
  await child.next();
  return child;
}
