import { daemonRole, databaseName, ownerRole, type Passwords } from './initialise.js';
import type { ConnectionSettings } from './lock.js';
import { port } from './postmaster.js';

/** How to reach a private cluster. */
export interface ClusterConnections {
  /** The role that owns the database and its schema: runs migrations. No superuser. */
  readonly owner: ConnectionSettings;
  /** The role the daemon works as: it may connect, and do what migrations grant it. */
  readonly daemon: ConnectionSettings;
}

/** Both roles, by the socket in this directory. */
export function connectionsTo(passwords: Passwords, host: string): ClusterConnections {
  return {
    owner: { host, port, user: ownerRole, password: passwords.owner, database: databaseName },
    daemon: { host, port, user: daemonRole, password: passwords.daemon, database: databaseName },
  };
}
