import { printable } from '../../escrow/records/freeText.js';
import type { EscrowClient } from '../../client/escrowClient.js';
import { NotBelieved, ServerProblem } from '../../client/errors.js';
import { jwkThumbprint } from '../../jose/jws.js';
import type { LogView } from '../../client/log/logView.js';
import type { ManagementReport } from '../../client/management.js';
import type { ServerPins } from '../../client/serverPins.js';
import type { ServerReply } from '../../api/replies.js';
import type { Checkpoint } from '../../log/note/checkpoint.js';
import { facts } from '../columns.js';
import { clockInWords } from '../times.js';
import { continuesInWords } from '../words.js';
import type { CommandRow } from '../command.js';

export const statusCommand: CommandRow = {
  usage: 'status',
  summary: 'says whether the server is there, is the pinned one, and can work',
  about:
    'Exit code 0: it can work. 6: it is there, but cannot. 5: it is not the server that you have pinned. Why it cannot, and what wants a person, its management listener says, which usually answers on the server itself only.',
  options: [
    {
      flags: '--management <url>',
      about: 'address of the management listener, such as http://127.0.0.1:8444 (ESCROWCTL_MANAGEMENT)',
    },
  ],
  examples: ['status --as ~/.escrowd', 'status --as ~/.escrowd --management http://127.0.0.1:8444'],
  run: async (session) => {
    const { identity, client, log } = await session.connect();
    const { server, isReady, report, seen, warnings } = await session.busy('asking the server', async () => {
      const says = await client.server();
      checkPins(says, identity.pins);
      const ready = await client.isReady();
      return {
        server: says,
        isReady: ready,
        report: await session.management(),
        seen: await newest(client, log),
        warnings: ready ? await warningsFor(client) : [],
      };
    });
    return {
      json: {
        server: identity.pins.server,
        origin: server.origin,
        ready: isReady,
        report: report ?? null,
        clockAheadMs: client.clockAheadMs ?? null,
        token: server.token,
        warnings,
        log: seen === undefined ? null : { size: seen.size, root: Buffer.from(seen.root).toString('base64') },
      },
      lines: [
        `${identity.pins.server} ${isReady ? 'is ready' : 'is there, but cannot work now'}.`,
        ...facts([
          ['origin', server.origin],
          ['keys', 'as pinned'],
          ['clock here', clockOf(client)],
          ['log', seen === undefined ? 'empty' : `${seen.size} entries; ${continuesInWords(log)}`],
          ['token', `${server.token.profile}, ${server.token.oaep}`],
          ['kinds of keys', server.token.keySpecs.join(', ')],
          ['mechanisms', server.token.mechanisms.join(', ')],
        ]),
        ...listed('Problems', report?.problems ?? []),
        ...listed('Alarms', report?.alarms.map(alarmInWords) ?? []),
        ...listed('Notes', [
          ...(report?.notes ?? []),
          ...(report?.notifications ?? []).flatMap(behindInWords),
        ]),
        ...listed('Warnings', warnings),
      ],
      ...(isReady ? {} : { exit: 'unavailable' as const }),
      ...(isReady || report !== undefined
        ? {}
        : { next: 'on the server: escrowctl status --management http://127.0.0.1:8444 says why' }),
    };
  },
};

/** What the policy warns of; nothing to those whom the directory does not list, or gives no role. */
async function warningsFor(client: EscrowClient): Promise<readonly string[]> {
  try {
    return (await client.warnings()).warnings;
  } catch (error) {
    const isOutside =
      error instanceof ServerProblem && (error.code === 'caller-unknown' || error.code === 'forbidden');
    if (isOutside) return [];
    throw error;
  }
}

function clockOf({ clockAheadMs }: EscrowClient): string | undefined {
  if (clockAheadMs === undefined) return undefined;
  const apart = clockInWords(clockAheadMs);
  return apart === undefined ? "as the server's" : `${apart} the server's`;
}

function checkPins(server: ServerReply, pins: ServerPins): void {
  const isPinned =
    server.origin === pins.origin &&
    server.logKey === pins.logKey &&
    jwkThumbprint(server.identityKey) === jwkThumbprint(pins.identityKey);
  if (!isPinned) throw new NotBelieved('server-keys-mismatch');
}

/** A log that has no checkpoint yet is empty; one that was seen before and is now empty has been rolled back. */
async function newest(client: EscrowClient, log: LogView): Promise<Checkpoint | undefined> {
  let note: string;
  try {
    note = await client.checkpoint();
  } catch (error) {
    if (error instanceof ServerProblem && error.code === 'route-unknown') {
      await log.expectNothingSeen();
      return undefined;
    }
    throw error;
  }
  return log.believe(note);
}

function listed(title: string, lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? [] : ['', title, ...lines.map((text) => `  ! ${printable(text)}`)];
}

function alarmInWords({ alarm, message, times, lastAt }: ManagementReport['alarms'][number]): string {
  return `${alarm}: ${message} (${times === 1 ? 'once' : `${times} times`}, last at ${lastAt})`;
}

/** Of those who are told outside of the API, one who cannot be reached now. */
function behindInWords({ sink, waiting, fault }: ManagementReport['notifications'][number]): string[] {
  return fault === undefined ? [] : [`${sink} is ${waiting} entries behind: ${fault}`];
}
