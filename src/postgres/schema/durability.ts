import { UnsafeDatabase } from '../faults.js';

/** The server's settings that decide whether a commit survives a crash of the machine. */
export interface DurabilitySettings {
  readonly fsync: string;
  readonly full_page_writes: string;
  readonly synchronous_commit: string;
}

/** Reads them, as they are for the connection that asks. */
export const durabilityQuery = `
  select current_setting('fsync') as fsync, current_setting('full_page_writes') as full_page_writes,
         current_setting('synchronous_commit') as synchronous_commit`;

/**
 * Throws UnsafeDatabase unless a commit is on disk, here and on the synchronous standbys that the server is told to wait
 * for, when it is acknowledged.
 */
export function requireDurable(settings: DurabilitySettings): void {
  const unsafe = [
    settings.fsync === 'on' ? undefined : 'fsync',
    settings.full_page_writes === 'on' ? undefined : 'full_page_writes',
    ['on', 'remote_apply'].includes(settings.synchronous_commit) ? undefined : 'synchronous_commit',
  ].filter((name) => name !== undefined);
  if (unsafe.length > 0) {
    throw new UnsafeDatabase(
      `the database can lose what it has acknowledged: ${unsafe.join(', ')} must be on`,
    );
  }
}
