import { ServerProblem, ServerUnreachable } from '../client/errors.js';
import type { EscrowClient } from '../client/escrowClient.js';
import type { RecoveryReply } from '../api/replies.js';
import { MECHANISMS } from '../escrow/records/mechanisms.js';
import { quoted } from '../escrow/records/freeText.js';
import { formatDuration } from '../policy/durations.js';
import { operationOf, type RequestTerms, type Told, type Use, UseRefused } from './use.js';
import { WITHDRAWN, Withdrawals } from './withdrawals.js';

/** The calls of the app's client that asking needs. */
export type AskingClient = Pick<EscrowClient, 'caller' | 'requestRecovery' | 'recovery' | 'recoveries'>;

export interface AskingParts {
  readonly client: AskingClient;
  readonly now: () => Date;
  readonly pause: (ms: number, stop: AbortSignal) => Promise<void>;
  readonly tell: (told: Told) => void;
  /** How long a tool's call stands until the quorum has decided; 0: it is refused as soon as the request is filed. */
  readonly waitMs: number;
  /** How often the server is asked what became of a request. */
  readonly lookMs: number;
  /** What becomes of requests that were filed here when nobody waits for them any more. */
  readonly withdrawals: Withdrawals;
}

/** What a request is until it is decided, or ends. */
const OPEN: readonly RecoveryReply['status'][] = ['pending', 'approved'];

/** How a request ends when somebody does not want it: the agent does not ask for the same again by itself. */
const UNWANTED: readonly RecoveryReply['status'][] = ['denied', 'vetoed', 'cancelled'];

/** The server's "not now" (503, and 429: not so often): a request outlives that. */
const NOT_NOW: readonly number[] = [429, 503];

/** A request that tools wait for. */
interface Open {
  readonly recovery: Promise<string>;
  waiting: number;
}

/**
 * Files requests for uses that no grant allows, one for each key, mechanism and form of input at a time, and waits until the quorum has
 * decided. A request of the app's own that is open already is joined. What was denied, vetoed or cancelled is not asked for again by
 * itself; what ran out is, and what an agent has withdrawn.
 */
export class Asking {
  readonly #open = new Map<string, Open>();
  readonly #denied = new Map<string, UseRefused>();

  constructor(private readonly parts: AskingParts) {}

  /**
   * The grant that the quorum gave.
   * @throws UseRefused `request-filed`, `request-open`, `request-denied`, `request-over`, `caller-gone`
   * @throws ServerProblem when the server does not take the request
   */
  async granted(use: Use): Promise<string> {
    const slot = `${use.key.key} ${use.mechanism} ${use.input.kind}`;
    const denied = this.#denied.get(slot);
    if (denied !== undefined) throw denied;
    let open = this.#open.get(slot);
    if (open === undefined) {
      open = { recovery: this.#file(use), waiting: 0 };
      this.#open.set(slot, open);
    }
    open.waiting += 1;
    try {
      return await this.#decided(use, await open.recovery);
    } catch (error) {
      if (error instanceof UseRefused && error.code === 'request-denied') this.#denied.set(slot, error);
      throw error;
    } finally {
      open.waiting -= 1;
      if (open.waiting === 0) {
        this.#open.delete(slot);
        await this.#leave(open, use);
      }
    }
  }

  /** Every request is cancelled that was filed here and is waited for, where that is wanted: the agent ends. */
  async close(): Promise<void> {
    await Promise.allSettled([...this.#open.values()].map(({ recovery }) => recovery));
    await this.parts.withdrawals.close();
  }

  async #leave({ recovery }: Open, { gone }: Use): Promise<void> {
    const id = await recovery.catch(() => undefined);
    if (id !== undefined) await this.parts.withdrawals.leave(id, gone.aborted ? 'gone' : 'answered');
  }

  async #file(use: Use): Promise<string> {
    const { client, tell, withdrawals } = this.parts;
    const { request } = use.key;
    if (request === undefined) throw new UseRefused('no-grant', 'Nothing is configured to be asked for.');
    const before = await this.#ownOpen(use);
    if (before !== undefined) {
      withdrawals.join(before.recovery);
      this.#tellOpen(use, before, 'waits already');
      return before.recovery;
    }
    const { result } = await client.requestRecovery(orderOf(use, request, client.caller));
    withdrawals.filed(result.recovery);
    withdrawals.join(result.recovery);
    tell({
      ...{ event: 'asked', key: use.key.key, recovery: result.recovery },
      sentence: `Asked for ${use.key.name}, for ${use.caller}, to ${operationOf(use)} ${use.what}: ${request.maxUses} uses within ${formatDuration(request.durationMs)}.`,
      next: `depositaries decide by: escrowctl recovery approve ${result.recovery}`,
    });
    return result.recovery;
  }

  /** A request of the app's own that would allow the use, and is not decided, nor being withdrawn. */
  async #ownOpen(use: Use): Promise<RecoveryReply | undefined> {
    const { client, withdrawals } = this.parts;
    const { key, mechanism, input } = use;
    for (let after: string | undefined; ;) {
      const page = await client.recoveries({ limit: 200, ...(after === undefined ? {} : { after }) });
      const found = page.items.find(
        ({ recovery, requester, keys, status, scope }) =>
          requester === client.caller &&
          !withdrawals.has(recovery) &&
          keys.some((row) => row.key === key.key) &&
          OPEN.includes(status) &&
          scope?.app === client.caller &&
          scope.operations.includes(operationOf(use)) &&
          scope.mechanisms.includes(mechanism) &&
          (input.kind !== 'digest' || scope.input === 'digest'),
      );
      if (found !== undefined || page.next === undefined) return found;
      after = page.next;
    }
  }

  async #decided(use: Use, id: string): Promise<string> {
    const { now, pause, waitMs, lookMs } = this.parts;
    const endMs = now().getTime() + waitMs;
    for (;;) {
      const recovery = await this.#look(id);
      const grant = recovery?.keys.find(({ key }) => key === use.key.key)?.grant;
      if (recovery !== undefined && grant?.status === 'active') {
        this.parts.tell({
          ...{ event: 'decided', key: use.key.key, recovery: id, grant: grant.grant },
          sentence: `Granted: ${recovery.approvedBy.join(', ')} approved ${id}.`,
        });
        return grant.grant;
      }
      if (recovery !== undefined && !OPEN.includes(recovery.status))
        throw refusedBy(recovery, this.parts.client.caller);
      if (use.gone.aborted) throw new UseRefused('caller-gone', `Who asked has gone; ${id} is not decided.`);
      if (now().getTime() >= endMs) {
        throw new UseRefused(
          waitMs === 0 ? 'request-filed' : 'request-open',
          `${id} is not decided yet.`,
          `when it is, run the tool again; depositaries decide by: escrowctl recovery approve ${id}`,
        );
      }
      await pause(Math.min(lookMs, endMs - now().getTime()), use.gone);
    }
  }

  /** Undefined while the server does not answer, or cannot at the moment: a request outlives that. */
  async #look(id: string): Promise<RecoveryReply | undefined> {
    try {
      return await this.parts.client.recovery(id);
    } catch (error) {
      if (error instanceof ServerUnreachable) return undefined;
      if (error instanceof ServerProblem && NOT_NOW.includes(error.status)) return undefined;
      throw error;
    }
  }

  #tellOpen(use: Use, { recovery }: RecoveryReply, how: string): void {
    this.parts.tell({
      ...{ event: 'asked', key: use.key.key, recovery },
      sentence: `For ${use.key.name} a request ${how}: ${recovery}.`,
      next: `depositaries decide by: escrowctl recovery approve ${recovery}`,
    });
  }
}

function orderOf(
  use: Use,
  request: RequestTerms,
  app: string,
): Parameters<AskingClient['requestRecovery']>[0] {
  const { key, mechanism, input } = use;
  const operation = operationOf(use);
  return {
    keys: [key.key],
    reason: request.reason,
    validFor: formatDuration(request.validForMs),
    purpose: 'operate',
    scope: {
      app,
      operations: [operation],
      mechanisms: [
        ...new Set([...request.mechanisms.filter((name) => MECHANISMS[name].use === operation), mechanism]),
      ],
      input: input.kind === 'digest' ? 'digest' : request.input,
      maxUses: request.maxUses,
      duration: formatDuration(request.durationMs),
    },
  };
}

function refusedBy({ recovery, status, deniedBy, ended }: RecoveryReply, app: string): UseRefused {
  const who = deniedBy.map(({ depositary, reason }) => `${depositary}: ${quoted(reason)}`);
  const why = ended?.reason === undefined ? [] : [`${ended.by ?? 'it ended'}: ${quoted(ended.reason)}`];
  const words = [...who, ...why].join('; ');
  const isWithdrawn = status === 'cancelled' && ended?.by === app && ended.reason === WITHDRAWN;
  if (!UNWANTED.includes(status) || isWithdrawn)
    return new UseRefused(
      'request-over',
      `${recovery} is ${status}${words === '' ? '' : ` (${words})`}.`,
      'run the tool again, and the agent asks anew',
    );
  return new UseRefused(
    'request-denied',
    `${recovery} is ${status}${words === '' ? '' : ` (${words})`}. The agent does not ask for it again by itself.`,
    `escrowctl recovery show ${recovery}; to have the agent ask again, start it again`,
  );
}
