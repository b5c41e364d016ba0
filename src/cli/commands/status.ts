import type { EscrowClient } from '../../client/escrowClient.js';
import { NotBelieved, ServerProblem } from '../../client/errors.js';
import { jwkThumbprint } from '../../client/jws.js';
import type { LogView } from '../../client/logView.js';
import type { ServerPins } from '../../client/serverPins.js';
import type { WireServer } from '../../escrow/wire.js';
import type { Checkpoint } from '../../log/checkpoint.js';
import { facts } from '../columns.js';
import type { CommandRow } from '../command.js';

/** How the server is. */
export const statusCommand: CommandRow = {
  usage: 'status',
  summary: 'says whether the server is there, is the pinned one, and can work',
  about:
    'Exit code 0: it can work. 6: it is there, but cannot. 5: it is not the server that you have pinned.',
  examples: ['status --as ~/.escrowd'],
  run: async (session) => {
    const { identity, client, log } = await session.connect();
    const { server, ready, seen } = await session.busy('asking the server', async () => {
      const says = await client.server();
      checkPins(says, identity.pins);
      return { server: says, ready: await client.health('readyz'), seen: await newest(client, log) };
    });
    return {
      json: {
        server: identity.pins.server,
        origin: server.origin,
        ready: ready.ok,
        report: ready.report,
        token: server.token,
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
          ['report', ready.ok ? undefined : JSON.stringify(ready.report)],
        ]),
      ],
      ...(ready.ok ? {} : { exit: 'unavailable' as const }),
    };
  },
};

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
