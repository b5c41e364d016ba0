import { DatabaseError } from 'pg';
import { codeOf, messageOf } from '../system/errors.js';
import { DatabaseAway, DatabaseRefused, UnsafeDatabase } from './faults.js';

/** What a failure to connect, or to ask, means (PostgreSQL appendix A; Node's codes of sockets and of TLS). */
export function faultIn(error: unknown): Error {
  const message = messageOf(error);
  const refused = (reason: DatabaseRefused['reason'], what: string, remedy: string): DatabaseRefused =>
    new DatabaseRefused(reason, what, remedy, { cause: error });
  if (error instanceof DatabaseAway || error instanceof DatabaseRefused || error instanceof UnsafeDatabase)
    return error;
  if (error instanceof DatabaseError) {
    switch (error.code ?? '') {
      case '28P01':
      case '28000':
        return refused(
          'credentials',
          `the database refuses the role or its password (${message})`,
          'correct role and password in the URL, and see pg_hba.conf on the server',
        );
      case '3D000':
        return refused(
          'database-missing',
          `there is no such database on the server (${message})`,
          'correct its name in the URL, or have it made there: CREATE DATABASE',
        );
      case '42501':
        return refused(
          'rights',
          `the database does not let the role do this (${message})`,
          'grant it, or start once with DATABASE_OWNER_URL set to the role that owns the schema',
        );
      case '08P01':
        if (message.includes('startup parameter'))
          return refused(
            'pooler',
            `a pooler stands between escrowd and the database, and refuses how sessions begin (${message})`,
            'connect to the server itself, or set the pooler up as docs/operations.md says ("A pooler")',
          );
        break;
      default:
    }
    return new DatabaseAway(`the database cannot serve now (${message})`, { cause: error });
  }
  if (isOfTls(codeOf(error)) || message.includes('SSL connections'))
    return refused(
      'tls',
      `the connection to the database is not secured as its URL asks (${message})`,
      'name the CA of the database in its URL (sslrootcert), by the name that is in its certificate',
    );
  if (message.includes('SASL') || message.includes('password must be a string'))
    return refused(
      'credentials',
      `the database asks for a password in another way than it is given (${message})`,
      'write the password into the URL',
    );
  return new DatabaseAway(`the database does not answer (${message})`, { cause: error });
}

function isOfTls(code = ''): boolean {
  return /^(?:CERT_|ERR_TLS_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|HOSTNAME_MISMATCH)/.test(code);
}
