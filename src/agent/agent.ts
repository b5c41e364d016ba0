import { join } from 'node:path';
import { setTimeout as pauseFor } from 'node:timers/promises';

import { Asking, type AskingClient } from './asking.js';
import { GrantedUses, type UsingClient } from './grantedUses.js';
import { type Listener, listen, prepareDirectory } from './listener.js';
import { pkcs11Agent } from './pkcs11/pkcs11Agent.js';
import { sshAgent } from './ssh/sshAgent.js';
import type { OfferedKey, Told } from './use.js';
import { Withdrawals, type WithdrawalsParts } from './withdrawals.js';

export interface AgentParts {
  readonly client: UsingClient & AskingClient;
  readonly keys: readonly OfferedKey[];
  /** Where the sockets are: of this user alone. */
  readonly directory: string;
  readonly now: () => Date;
  readonly tell: (told: Told) => void;
  /** How requests are filed for tools, and taken back; undefined: none is. */
  readonly asks: ({ readonly waitMs: number } & Omit<WithdrawalsParts, 'tell'>) | undefined;
}

/** An agent that serves. */
export interface RunningAgent {
  /** Where SSH programs find it: the value of SSH_AUTH_SOCK. */
  readonly sshSocket: string;
  /** Where p11-kit's client finds it: P11_KIT_SERVER_ADDRESS names it as `unix:path=...`. */
  readonly pkcs11Socket: string;
  /** Closes the sockets; requests that are waited for are withdrawn, where that is wanted. */
  stop(): Promise<void>;
}

/** How long a refusal is repeated to a tool that asks again: longer than any tool's second try takes. */
const REMEMBER_REFUSAL_MS = 5_000;
const LOOK_MS = 1_000;

/**
 * Serves granted keys to tools that know nothing of escrowd.
 * @throws SocketRefused
 */
export async function startAgent(parts: AgentParts): Promise<RunningAgent> {
  const { client, keys, directory, now, tell, asks } = parts;
  await prepareDirectory(directory);
  const asking = asks === undefined ? undefined : askingOf(parts, asks);
  const uses = new GrantedUses({ client, now, tell, asking, rememberMs: REMEMBER_REFUSAL_MS });
  const listeners: Listener[] = [];
  try {
    listeners.push(await listen(join(directory, 'ssh'), sshAgent({ keys, uses, tell })));
    listeners.push(await listen(join(directory, 'pkcs11'), pkcs11Agent({ keys, uses, tell })));
  } catch (error) {
    await closeAll(listeners);
    throw error;
  }
  return {
    sshSocket: join(directory, 'ssh'),
    pkcs11Socket: join(directory, 'pkcs11'),
    stop: async () => {
      await closeAll(listeners);
      await asking?.close();
    },
  };
}

function askingOf({ client, now, tell }: AgentParts, asks: NonNullable<AgentParts['asks']>): Asking {
  const withdrawals = new Withdrawals({ ...asks, tell });
  return new Asking({ client, now, pause, tell, lookMs: LOOK_MS, waitMs: asks.waitMs, withdrawals });
}

async function closeAll(listeners: readonly Listener[]): Promise<void> {
  await Promise.all(listeners.map((listener) => listener.close()));
}

/** Resolves when the time is over, or `stop` is aborted. */
async function pause(ms: number, stop: AbortSignal): Promise<void> {
  await pauseFor(Math.max(0, ms), undefined, { signal: stop }).catch((error: unknown) => {
    if (!stop.aborted) throw error;
  });
}
