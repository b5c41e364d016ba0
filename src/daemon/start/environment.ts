import { whyNoDatabaseUrl } from '../../postgres/databaseUrl.js';
import type { Fault } from './fault.js';

/** Variables by name, as a process is given them. */
export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * What the driver of the database (pg 8) and pgpass read by themselves: where, as whom, and how sessions begin. The file of PGPASSFILE
 * is read here (see src/postgres/passwordFile.ts), before the driver would.
 */
const DRIVER_VARIABLES = [
  'NODE_PG_FORCE_NATIVE',
  'PGAPPNAME',
  'PGBINARY',
  'PGCLIENT_ENCODING',
  'PGCONNECT_TIMEOUT',
  'PGDATABASE',
  'PGHOST',
  'PGOPTIONS',
  'PGPASSWORD',
  'PGPASS_NO_DEESCAPE',
  'PGPORT',
  'PGREPLICATION',
  'PGSSLMODE',
  'PGSSLNEGOTIATION',
  'PGUSER',
] as const;

/** The URLs of a database that is not the daemon's own. One that is empty is not given. */
export function databaseUrlsOf(environment: Environment): {
  readonly databaseUrl: string | undefined;
  readonly databaseOwnerUrl: string | undefined;
} {
  const given = (name: string): string | undefined => {
    const url = environment[name];
    return url === '' ? undefined : url;
  };
  return { databaseUrl: given('DATABASE_URL'), databaseOwnerUrl: given('DATABASE_OWNER_URL') };
}

/** A file that is named somewhere, and where. */
export interface FileNamed {
  readonly name: string;
  readonly path: string;
  readonly isSecret?: true;
}

/** The files that decide who is believed as the database, and as whom the daemon comes to it. */
export function filesNamedIn(environment: Environment): readonly FileNamed[] {
  const { databaseUrl, databaseOwnerUrl } = databaseUrlsOf(environment);
  const file = (name: string, path: string | null | undefined, isSecret?: true): readonly FileNamed[] =>
    path === null || path === undefined || path === '' ? [] : [{ name, path, ...(isSecret && { isSecret }) }];
  const ofUrl = (name: string, url: string | undefined): readonly FileNamed[] => {
    const query = new URLSearchParams(/\?(.*)$/s.exec(url ?? '')?.[1]);
    return [
      ...file(`${name} (sslrootcert)`, query.get('sslrootcert')),
      ...file(`${name} (sslcert)`, query.get('sslcert')),
      ...file(`${name} (sslkey)`, query.get('sslkey'), true),
    ];
  };
  return [
    ...file('NODE_EXTRA_CA_CERTS', environment['NODE_EXTRA_CA_CERTS']),
    ...(databaseUrl === undefined ? [] : file('PGPASSFILE', environment['PGPASSFILE'])),
    ...ofUrl('DATABASE_URL', databaseUrl),
    ...ofUrl('DATABASE_OWNER_URL', databaseOwnerUrl),
  ];
}

/** Which variables of the driver are set. */
export function driverVariablesIn(environment: Environment): readonly string[] {
  return DRIVER_VARIABLES.filter((name) => (environment[name] ?? '') !== '');
}

/**
 * Takes the variables of the driver out of a process's environment where the database is the daemon's own: what they say is about
 * another one. With a database that is named by URL they stay, and {@link databaseFaults} refuses them.
 *
 * @returns which were taken out
 */
export function shutOutDriver(environment: Record<string, string | undefined>): readonly string[] {
  if (databaseUrlsOf(environment).databaseUrl !== undefined) return [];
  const found = driverVariablesIn(environment);
  for (const name of found) Reflect.deleteProperty(environment, name);
  return found;
}

/** What is wrong with the environment for a database that is named by URL. */
export function databaseFaults(environment: Environment): readonly Fault[] {
  const urls = databaseUrlsOf(environment);
  const { databaseUrl, databaseOwnerUrl } = urls;
  const named = [
    ['DATABASE_URL', databaseUrl],
    ['DATABASE_OWNER_URL', databaseOwnerUrl],
  ] as const;
  if (databaseUrl === undefined && databaseOwnerUrl === undefined) return [];
  const unchecked: Fault = {
    where: 'NODE_TLS_REJECT_UNAUTHORIZED in the environment',
    what: 'NODE_TLS_REJECT_UNAUTHORIZED=0 is set: whoever answers for the database of DATABASE_URL would be believed',
    do: 'unset it; name the CA of the database in its URL (sslrootcert) or in NODE_EXTRA_CA_CERTS',
  };
  const driver = driverVariablesIn(environment);
  return [
    ...named.flatMap(([name, url]) => {
      const why = url === undefined ? undefined : whyNoDatabaseUrl(url);
      return why === undefined ? [] : [{ where: `${name} in the environment`, ...why }];
    }),
    ...(driver.length === 0
      ? []
      : [
          {
            where: `${driver.join(', ')} in the environment`,
            what: 'the driver of the database would go by this besides the URL',
            do: 'unset it; where, as whom and how to connect stands in DATABASE_URL and DATABASE_OWNER_URL alone',
          },
        ]),
    ...(environment['NODE_TLS_REJECT_UNAUTHORIZED'] === '0' ? [unchecked] : []),
  ];
}
