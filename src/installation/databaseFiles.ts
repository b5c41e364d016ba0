import { randomBytes } from 'node:crypto';

import { daemonRole, ownerRole, scramVerifier } from '../privatePostgres/initialise.js';
import { PATHS } from './configuration.js';
import { type DatabaseAddress, databaseUrl } from './order.js';

/** What a server of PostgreSQL and the daemon are told of each other. */
export interface DatabaseFiles {
  /** For a superuser to run, once; holds verifiers and no password. */
  readonly rolesSql: string;
  /** The passwords, as libpq reads them (PostgreSQL documentation, "The Password File"). */
  readonly passwords: string;
  /** DATABASE_URL and the path of the password file, as systemd.exec(5) reads an EnvironmentFile and as a shell does. */
  readonly daemonEnvironment: string;
  /** DATABASE_OWNER_URL, for the first start and for upgrades. */
  readonly ownerEnvironment: string;
}

/** Makes up passwords for the two roles, and writes down what each side needs of them. `directory` is absolute. */
export function databaseFiles(address: DatabaseAddress, directory: string): DatabaseFiles {
  const owner = randomBytes(32).toString('base64url');
  const daemon = randomBytes(32).toString('base64url');
  const { name } = address;
  const role = (of: string, password: string): string =>
    `create role ${of} login nosuperuser nocreatedb nocreaterole noreplication nobypassrls\n  password '${scramVerifier(password)}';`;
  return {
    rolesSql: `-- For a superuser, once: psql -f roles.sql. Here are verifiers (RFC 7677), and no password.
\\set ON_ERROR_STOP on
-- Owns the schema, and changes it at an upgrade.
${role(ownerRole, owner)}
-- What the daemon works as: it may connect, and what the owner grants it.
${role(daemonRole, daemon)}
create database "${name}" owner ${ownerRole} encoding 'UTF8' locale 'C' template template0;
revoke all on database "${name}" from public;
grant connect on database "${name}" to ${daemonRole};
`,
    passwords: `*:*:${name}:${ownerRole}:${owner}\n*:*:${name}:${daemonRole}:${daemon}\n`,
    daemonEnvironment: `DATABASE_URL="${databaseUrl(address, daemonRole)}"\nPGPASSFILE="${directory}/${PATHS.passwords}"\n`,
    ownerEnvironment: `DATABASE_OWNER_URL="${databaseUrl(address, ownerRole)}"\n`,
  };
}
