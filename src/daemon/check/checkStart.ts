import { datedCertificates, datedFault } from '../reload/certificates.js';
import { systemClock } from '../clock.js';
import { type Config, readConfig } from '../config.js';
import { ConfigError } from '../start/configError.js';
import type { Environment } from '../start/environment.js';
import { exposedFiles } from '../exposedFiles.js';
import { readAdministrators, readWitnesses } from '../readFiles.js';
import { readSinkFiles, type SinkFiles } from '../startNotifications.js';
import { authorityOf } from '../start/addresses.js';
import { tryAddresses } from '../start/freeAddresses.js';
import { readTlsPair, type TlsPair, tlsWarnings } from '../start/tlsPair.js';
import type { FileSystem } from '../../system/place.js';
import { checkDatabase, checkLogOf } from './databaseCheck.js';
import { Findings } from './findings.js';
import { checkFileSink } from './fileSinkCheck.js';
import { checkPeers } from './peers.js';
import { checkToken, checkTokenFiles } from './tokenCheck.js';

/** What a start is given. */
export interface StartToCheck {
  readonly configFile: string;
  readonly environment: Environment;
  /** Where package.json, node_modules and hsm-config are. */
  readonly packageDirectory: string;
  /** Told the configuration once it is read, before anything that may hang. */
  readonly begin?: (config: Config) => void;
  /** Whether the token proves itself as at a start, which takes its time and makes keys that are gone when it is over. */
  readonly selfTest?: boolean;
  /** The time of this machine; that of the system when it is not given. */
  readonly now?: () => Date;
  /** What file system there is at a path; asked of the system when it is not given. */
  readonly fileSystemAt?: (path: string) => FileSystem;
}

/**
 * Finds what a start would find, all of it and in its order, by the functions that a start goes by, whether the daemon runs or not.
 * Changes nothing: no database is started or migrated, nothing is made in the token, and nothing logged. The PIN is tried at
 * most once, and not at all when its file is not as it must be.
 *
 * @throws only what is a fault of the program
 */
export async function checkStart({
  configFile,
  environment,
  packageDirectory,
  begin,
  selfTest = false,
  now = () => systemClock.now(),
  fileSystemAt,
}: StartToCheck): Promise<Findings> {
  const findings = new Findings();
  const config = await findings.attempt({ code: 'config', where: configFile }, () =>
    readConfig(configFile, environment),
  );
  if (config === undefined) return findings;
  begin?.(config);
  const exposed = exposedFiles(config, configFile);
  if (exposed.length > 0) findings.error(new ConfigError(exposed), { code: 'file-mode', where: configFile });
  const tls = await findings.attempt({ code: 'tls', where: 'tls' }, () => readTlsPair(config));
  if (tls !== undefined)
    for (const warning of tlsWarnings(tls, config.tls.certificate))
      findings.add('warning', { code: 'tls', ...warning });
  const administrators = await findings.attempt({ code: 'file', where: 'administrators' }, () =>
    readAdministrators(config.administrators),
  );
  const witnesses = await findings.attempt({ code: 'file', where: 'witnesses' }, () => readWitnesses(config));
  const sinks = await findings.attempt({ code: 'file', where: 'notifications' }, () =>
    readSinkFiles(config.notifications),
  );
  if (tls !== undefined)
    for (const each of datedCertificates(config, {
      tls,
      witnesses: witnesses ?? [],
      sinks: sinks ?? NO_SINKS,
    })) {
      const fault = datedFault(each, now());
      if (fault === undefined) continue;
      const { where, what, do: remedy } = fault;
      findings.add('warning', { code: 'tls-expiry', where, what, do: remedy });
    }
  const configured = await checkTokenFiles(config, { configFile, packageDirectory, fileSystemAt }, findings);
  await checkAddresses(config, tls, findings);
  const database = await checkDatabase(config, { packageDirectory, now, fileSystemAt }, findings);
  const token = await checkToken(config, configured, { provesItself: selfTest, findings });
  if (token !== undefined && database !== undefined)
    await checkLogOf(database, token, { config, administrators }, findings);
  await checkPeers(config, { witnesses: witnesses ?? [], sinks: sinks ?? NO_SINKS }, findings);
  checkFileSink(config, findings, fileSystemAt);
  return findings;
}

const NO_SINKS: SinkFiles = { webhooks: [], smtp: undefined };

async function checkAddresses(config: Config, tls: TlsPair | undefined, findings: Findings): Promise<void> {
  const about = { code: 'address', where: 'listen' } as const;
  const tried = await findings.attempt(about, () => tryAddresses(config));
  for (const refused of tried?.refused ?? []) findings.error(refused, about);
  const running = tried?.running;
  if (running === undefined) return;
  const where = `listen: ${authorityOf(config.listen)}`;
  findings.add('note', {
    code: 'daemon-runs',
    where,
    what: `a daemon of ${running.origin} serves there: its addresses are taken by itself`,
    do: 'nothing',
  });
  const [own] = tls?.chain ?? [];
  if (own === undefined || running.certificate?.fingerprint256 === own.fingerprint256) return;
  findings.add('warning', {
    code: 'tls',
    where,
    what: 'the daemon that serves there shows another certificate than the one in tls.certificate',
    do: 'have it take the new one: send it SIGHUP (systemctl reload)',
  });
}
