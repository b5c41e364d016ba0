import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Reading } from '../../audit/reports/reading.js';
import type { RequestCounts } from '../../audit/requests.js';
import { verifyExport } from '../../audit/verifyExport.js';
import { NotBelieved } from '../../client/errors.js';
import { exportLog } from '../../client/log/logExport.js';
import type { Believed } from '../../log/export/verifier.js';
import type { CommandArguments } from '../commandArguments.js';
import { type LogTrust, logTrust } from '../logTrust.js';
import type { Session } from '../session.js';
import { bar } from '../spinner.js';

/** On what a report rests. */
export interface Evidence {
  readonly verdict: Believed;
  readonly requests: RequestCounts;
  readonly trust: LogTrust;
  /** The file that was read; undefined: the log was fetched. */
  readonly file: string | undefined;
}

/**
 * Has a reading follow a whole log that is believed: that of the export which `--from-export` names, or the newest, which is
 * fetched into a directory of its own for as long as it takes.
 *
 * @throws NotBelieved `export-refused` when it is not to be believed: then nothing of it may be told
 */
export async function readLog(
  session: Session,
  given: CommandArguments,
  reading: Reading,
): Promise<Evidence> {
  const file = given.find('fromExport');
  if (file !== undefined) return { ...(await verified(session, given, reading, file)), file };
  const directory = await mkdtemp(join(tmpdir(), 'escrowctl-report-'));
  try {
    const path = join(directory, 'log.ndjson');
    await fetchLog(session, path);
    return { ...(await verified(session, given, reading, path)), file: undefined };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function fetchLog(session: Session, path: string): Promise<void> {
  const { identity, client, log } = await session.connect();
  const { origin, logKey } = identity.pins;
  await session.busy('fetching the log', (progress) =>
    exportLog({
      ...{ client, log, origin, logKey, path },
      onProgress: (done, total) => {
        progress(`fetching the log ${bar(done, total)} ${done} of ${total} entries`);
      },
    }),
  );
}

async function verified(
  session: Session,
  given: CommandArguments,
  reading: Reading,
  file: string,
): Promise<Omit<Evidence, 'file'>> {
  const trust = await logTrust(session, given);
  const { verdict, requests } = await session.busy('verifying the log', () =>
    verifyExport({ path: file, ...trust, follower: reading }),
  );
  if (verdict.ok) return { verdict, requests, trust };
  const where = verdict.index === undefined ? '' : `entry ${verdict.index}: `;
  throw new NotBelieved(
    'export-refused',
    `no report is made of a log that cannot be believed: ${where}${verdict.reason}`,
  );
}
