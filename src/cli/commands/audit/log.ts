import type { EntryFollower, SeenEntry } from '../../../audit/reports/follower.js';
import type { Entry } from '../../../log/entry/entry.js';
import { exportLog } from '../../../client/log/logExport.js';
import { verifyExport } from '../../../audit/verifyExport.js';
import type { RequestCounts } from '../../../audit/requests.js';
import type { Believed, Came } from '../../../log/export/verifier.js';
import { facts } from '../../columns.js';
import type { CommandRow, Result } from '../../command.js';
import type { CommandArguments } from '../../commandArguments.js';
import { type LogTrust, TRUST_OPTIONS, logTrust } from '../../logTrust.js';
import { disbelieved } from '../../files/conversion.js';
import { FORCE, placeOfFile, writePublic } from '../../files/outputs.js';
import type { Session } from '../../session.js';
import { bar } from '../../spinner.js';
import { continuesInWords } from '../../words.js';

export const logCommands: readonly CommandRow[] = [
  {
    usage: 'checkpoint',
    summary: 'fetches the newest signed checkpoint, checks it, and remembers it',
    about:
      'It must be signed by the pinned log key, and continue the log that you saw before. Where you have pinned\n' +
      'witnesses, it is the newest that enough of them have cosigned.',
    options: [{ flags: '--out <file>', about: 'also write the signed note to this file' }, FORCE],
    examples: ['log checkpoint --as ~/.escrowd --out checkpoint.txt'],
    run: checkpoint,
  },
  {
    usage: 'export <file>',
    summary: 'writes the whole log to a file, for verification offline',
    about:
      'For auditors. The file appears whole or not at all. An export that was interrupted leaves <file>.partial, and goes\n' +
      'on from there when it is run again, after a proof that what is there is the beginning of the log.',
    options: [FORCE],
    examples: ['log export log.ndjson --as ~/.escrowd'],
    run: exportCommand,
  },
  {
    usage: 'verify <file>',
    summary: 'verifies an export offline; exit code 0 says: believe it, 5: do not',
    about:
      'Checks every entry, that exactly these entries were signed by the log, that they continue what you saw before,\n' +
      'the signatures of everyone who asked, decided or made rules, that each key was deposited with the people whom the\n' +
      'policy in force gives, that none came back without its quorum, that no grant was used beyond what it allows, too\n' +
      'early or too fast, and that nothing was made twice of one order.\n' +
      'Needs no server: only the pinned key.',
    options: TRUST_OPTIONS,
    examples: [
      'log verify log.ndjson --as ~/.escrowd',
      'log verify log.ndjson --log-key escrow.example.com+1a2b3c4d+AX... --against checkpoint.txt',
      'log verify log.ndjson --as ~/.escrowd --witness w1.example.org+1a2b3c4d+BA... --require 1',
    ],
    run: verify,
  },
];

async function checkpoint(session: Session, given: CommandArguments): Promise<Result> {
  const { client, log } = await session.connect();
  const { note, seen, by } = await session.busy('fetching the checkpoint', async () => {
    const fetched = await client.checkpoint();
    const newest = await log.believe(fetched);
    const witnessed = await log.believeWitnessed(newest.size);
    if (witnessed === undefined) return { note: fetched, seen: newest, by: undefined };
    return { note: witnessed.note, seen: witnessed.checkpoint, by: witnessed.by };
  });
  const out = given.find('out');
  if (out !== undefined) await writePublic(session, given, out, note);
  const root = Buffer.from(seen.root).toString('base64');
  return {
    json: {
      origin: seen.origin,
      size: seen.size,
      root,
      note,
      ...(by === undefined ? {} : { cosignedBy: by }),
      ...(out === undefined ? {} : { out }),
    },
    lines: [
      `The checkpoint is signed by the log; ${continuesInWords(log)}.`,
      ...facts([
        ['origin', seen.origin],
        ['entries', String(seen.size)],
        ['root', root],
        ['cosigned by', by?.join(', ')],
        ['in', out],
      ]),
    ],
  };
}

async function exportCommand(session: Session, given: CommandArguments): Promise<Result> {
  const path = await placeOfFile(session, given, given.argument(0));
  const { identity, client, log } = await session.connect();
  const { origin, logKey } = identity.pins;
  const { size, resumedAt } = await session.busy('exporting the log', (progress) =>
    exportLog({
      client,
      log,
      origin,
      logKey,
      path,
      onProgress: (done, total) => {
        progress(`exporting the log ${bar(done, total)} ${done} of ${total} entries`);
      },
    }),
  );
  return {
    json: { out: given.argument(0), origin, size, resumedAt },
    lines: [
      `Exported ${size} entries to ${given.argument(0)}${resumedAt === 0 ? '' : `, ${resumedAt} of them from before`}.`,
    ],
    next: `escrowctl log verify ${given.argument(0)}`,
  };
}

async function verify(session: Session, given: CommandArguments): Promise<Result> {
  const path = given.argument(0);
  const trust = await logTrust(session, given);
  const times = new EntryTimes();
  const { verdict, requests, histories } = await session.busy('verifying the log', () =>
    verifyExport({ path, ...trust, follower: times }),
  );
  return verdict.ok ? believed(verdict, { requests, histories, times }, trust) : disbelieved(path, verdict);
}

/** When the first and the last entry were recorded, as they say. */
class EntryTimes implements EntryFollower {
  first: string | undefined;
  last: string | undefined;

  follow({ entry: { time } }: SeenEntry): void {
    this.first ??= time;
    this.last = time;
  }

  ended({ time }: Entry): void {
    this.last = time;
  }
}

function believed(
  verdict: Believed,
  {
    requests,
    histories,
    times,
  }: { readonly requests: RequestCounts; readonly histories: number; readonly times: EntryTimes },
  { against, witnesses }: LogTrust,
): Result {
  const { origin, size, counts, reported, open, checkpoint: note, cosignedBy } = verdict;
  const hasOlder = against !== undefined;
  const root = Buffer.from(verdict.root).toString('base64');
  return {
    json: {
      ok: true,
      origin,
      size,
      root,
      firstAt: times.first ?? null,
      lastAt: times.last ?? null,
      counts,
      requests,
      histories,
      reported,
      open,
      checkpoint: note,
      against: hasOlder,
      ...(witnesses === undefined ? {} : { cosignedBy, required: witnesses.require }),
    },
    lines: [
      `Believe it: these ${size} entries are exactly what the log has signed.`,
      ...facts([
        ['origin', origin],
        ['root', root],
        [
          'entries',
          `${counts.attempted} attempted, ${counts.done} done, ${counts.denied} denied, ${counts.failed} failed`,
        ],
        ['first', times.first],
        ['last', times.last],
        ['policies', String(counts.documents)],
        ['signed requests', `${requests.verified} verified${unknownRequests(requests)}`],
        [
          'by certificate',
          requests.certified === 0
            ? undefined
            : `${requests.certified} calls of apps; that they made them is the server's word`,
        ],
        [
          'histories',
          histories === 0 ? undefined : `${histories} said to be complete, each made anew from the entries`,
        ],
        [
          'older checkpoint',
          hasOlder ? 'continued' : 'none given: an old backup or a fork would not be found',
        ],
        [
          'witnesses',
          witnesses === undefined
            ? undefined
            : `cosigned by ${cosignedBy.join(', ')}; ${witnesses.require} required`,
        ],
        [
          'without an outcome',
          open.length === 0 ? undefined : open.map(({ index, act }) => `${act} (entry ${index})`).join(', '),
        ],
        [
          'refused together',
          requests.together === 0
            ? undefined
            : `${requests.together} more calls, counted in the entries of some of them`,
        ],
        [
          'reported',
          reported.count === 0 ? undefined : `${reported.count} acts or outcomes that count for nothing`,
        ],
      ]),
      ...reported.first.map(({ index, reason, came }) => `entry ${index}, ${CAME[came]}: ${reason}`),
    ],
    ...(open.length === 0
      ? {}
      : { next: 'acts without an outcome were cut short or are under way: ask the operators' }),
  };
}

/** What came of an act that is reported, in words. */
const CAME: Readonly<Record<Came, string>> = {
  refused: 'refused before any attempt',
  denied: 'attempted and then refused',
  undone: 'attempted and not done, as the log was not to be had',
  interrupted: 'attempted and cut short, so that nobody knows what was done',
  open: 'attempted, and without an outcome so far',
  void: 'an outcome that counts for nothing',
  late: 'a second outcome, by which something has ended',
};

function unknownRequests({ unknown }: RequestCounts): string {
  return unknown === 0 ? '' : `, ${unknown} from before the first policy not (give --administrators)`;
}
