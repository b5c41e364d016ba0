import type { EscrowClient } from '../../client/escrowClient.js';
import { NotBelieved, ServerProblem } from '../../client/errors.js';
import { jwkThumbprint } from '../../client/jws.js';
import type { LogView } from '../../client/logView.js';
import type { ServerPins } from '../../client/serverPins.js';
import type { WireServer } from '../../escrow/wire.js';
import type { Checkpoint } from '../../log/checkpoint.js';
import { facts } from '../columns.js';
import type { CommandRow } from '../command.js';
import { printable } from '../terminal.js';

/** How the server is. */
export const statusCommand: CommandRow = {
  usage: 'status',
  summary: 'says whether the server is there, is the pinned one, and can work',
  about:
    'Exit code 0: it can work. 6: it is there, but cannot. 5: it is not the server that you have pinned.',
  examples: ['status --as ~/.escrowd'],
  run: async (session) => {
    const { identity, client, log } = await session.connect();
    const { server, ready, seen, warnings } = await session.busy('asking the server', async () => {
      const says = await client.server();
      checkPins(says, identity.pins);
      const health = await client.health('readyz');
      return {
        server: says,
        ready: health,
        seen: await newest(client, log),
        warnings: health.ok ? await warningsFor(client) : [],
      };
    });
    return {
      json: {
        server: identity.pins.server,
        origin: server.origin,
        ready: ready.ok,
        report: ready.report,
        token: server.token,
        warnings,
        log: seen === undefined ? null : { size: seen.size, root: Buffer.from(seen.root).toString('base64') },
      },
      lines: [
        `${identity.pins.server} ${ready.ok ? 'is ready' : 'is there, but cannot work now'}.`,
        ...facts([
          ['origin', server.origin],
          ['keys', 'as pinned'],
          ['log', seen === undefined ? 'empty' : `${seen.size} entries, continues what you saw before`],
          ['token', `${server.token.profile}, ${server.token.oaep}`],
          ['kinds of keys', server.token.keySpecs.join(', ')],
          ['mechanisms', server.token.mechanisms.join(', ')],
          ['notifications', behindInWords(ready.report)],
          ['report', ready.ok ? undefined : JSON.stringify(ready.report)],
        ]),
        ...(warnings.length === 0
          ? []
          : ['', 'Warnings', ...warnings.map((text) => `  ! ${printable(text)}`)]),
      ],
      ...(ready.ok ? {} : { exit: 'unavailable' as const }),
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

function checkPins(server: WireServer, pins: ServerPins): void {
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

/** Those who are told outside of the API and cannot be reached now; undefined when there is none of them. */
function behindInWords(report: unknown): string | undefined {
  const { notifications } = Object(report) as Readonly<Record<string, unknown>>;
  if (!Array.isArray(notifications)) return undefined;
  const behind = notifications.flatMap((one: unknown) => {
    const { sink, waiting, fault } = Object(one) as Readonly<Record<string, unknown>>;
    return typeof sink === 'string' && typeof fault === 'string'
      ? [`${sink} is ${String(waiting)} entries behind: ${fault}`]
      : [];
  });
  return behind.length === 0 ? undefined : behind.join(' ');
}
