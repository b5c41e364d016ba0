import { isDeepStrictEqual } from 'node:util';

import { type CertificateWatch, datedCertificates } from './certificates.js';
import type { Config } from '../config.js';
import { ConfigError } from '../start/configError.js';
import { exposedFiles } from '../exposedFiles.js';
import { inWords } from '../start/fault.js';
import { type OperatorLog, reasonsOf } from '../operatorLog.js';
import { readWitnesses } from '../readFiles.js';
import { type Notifications, readSinkFiles, type SinkFiles } from '../startNotifications.js';
import { readTlsPair, type TlsPair, tlsWarnings } from '../start/tlsPair.js';
import type { ApiServer, Limits } from '../../http/server.js';
import type { LiveNotifications, LiveWitnessing } from './liveParts.js';
import { restartNeeded } from './restartNeeded.js';

/** The parts of a daemon that can become others while it works. */
export interface ReloadableParts {
  /** What it was started with. */
  readonly config: Config;
  readonly configFile: string;
  readonly tls: TlsPair;
  readonly server: Pick<ApiServer, 'change'>;
  readonly limitsOf: (config: Config) => Partial<Limits>;
  readonly witnessing: LiveWitnessing;
  readonly notifications: LiveNotifications;
  readonly openNotifications: (config: Config, files: SinkFiles) => Promise<Notifications>;
  readonly certificates: CertificateWatch;
  readonly log: OperatorLog;
}

/** How a daemon is reloaded. */
export interface Reloading {
  /** Takes what the configuration is now; resolves with it, or undefined when nothing was changed. Never rejects. */
  readonly reload: (read: () => Config) => Promise<Config | undefined>;
  /** Lets what is under way end, and takes nothing from then on. */
  readonly end: () => Promise<void>;
}

/**
 * Takes a configuration while the daemon works: certificate and key, limits, witnesses and sinks. Everything is read and
 * checked first; when any of it cannot be used, nothing is changed, and the operator's log says why. Connections and requests that
 * there are go on. What only a start takes is named. One at a time.
 */
export function reloading(parts: ReloadableParts): Reloading {
  let isOver = false;
  let turn: Promise<unknown> = Promise.resolve();
  let shown: Pick<TlsPair, 'cert' | 'key'> = parts.tls;
  let limits = parts.limitsOf(parts.config);
  const once = async (read: () => Config): Promise<Config | undefined> => {
    const { log } = parts;
    if (isOver) return undefined;
    try {
      const config = read();
      const exposed = exposedFiles(config, parts.configFile);
      if (exposed.length > 0) throw new ConfigError(exposed);
      const tls = readTlsPair(config);
      const witnesses = readWitnesses(config);
      const sinks = readSinkFiles(config.notifications);
      const changed: string[] = [];
      const others = await parts.notifications.replace([config.notifications, sinks], () =>
        parts.openNotifications(config, sinks),
      );
      if (others) changed.push('notifications');
      const { cert, key } = tls;
      const newLimits = parts.limitsOf(config);
      parts.server.change({ tls: { cert, key }, limits: newLimits });
      if (cert !== shown.cert || key !== shown.key) changed.push('tls');
      if (!isDeepStrictEqual(limits, newLimits)) changed.push('requests');
      shown = tls;
      limits = newLimits;
      if (await parts.witnessing.replace(witnesses)) changed.push('witnesses');
      parts.certificates.replace(datedCertificates(config, { tls, witnesses, sinks }));
      for (const warning of tlsWarnings(tls, config.tls.certificate)) log.warn(inWords(warning));
      log.info('the configuration was read again', { changed: changed.join(' ') });
      const left = restartNeeded(parts.config, config);
      if (left.length > 0) log.warn('some of the configuration needs a restart', { members: left.join(' ') });
      return config;
    } catch (error) {
      log.error('the configuration was read again and cannot be used: nothing has changed', {
        reason: reasonsOf(error),
      });
      return undefined;
    }
  };
  return {
    reload: (read) => {
      const next = turn.then(() => once(read));
      turn = next;
      return next;
    },
    end: async () => {
      isOver = true;
      await turn;
    },
  };
}
