import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { ServerProblem, ServerUnreachable } from '../../src/client/errors.js';
import type { EscrowClient } from '../../src/client/escrowClient.js';
import { readPaths } from '../../src/privatePostgres/paths.js';
import { findPostmaster } from '../../src/privatePostgres/postmaster.js';
import { freePort } from '../support/freePort.js';
import { chance } from '../support/chance.js';
import { grantOf } from '../support/oneKey.js';
import { makeSystem, RULES, type System } from '../support/system.js';
import { daemonProcess, type DaemonProcess } from './daemonProcess.js';
import { gatherEvidence, type Acknowledged, type Evidence } from './evidence.js';
import { letPass } from '../support/waiting.js';

/** What is to be survived. */
export interface CrashOrder {
  /** Clients that sign one message after another, each over a connection of its own. */
  readonly clients: number;
  /** Signatures to be acknowledged. */
  readonly operations: number;
  /** `kill -9` of the daemon. */
  readonly kills: number;
  /** Immediate stops of PostgreSQL; every second one together with a kill of the daemon. */
  readonly stops: number;
  /** `hasty` is the control: it answers before it writes, and must lose. */
  readonly journal: 'honest' | 'hasty';
  readonly progress: (line: string) => void;
}

/** What came of it. */
export interface CrashReport extends Evidence {
  readonly acknowledged: number;
  /** Requests that were answered with a refusal, by code. */
  readonly refusals: Readonly<Record<string, number>>;
  /** Requests whose answer never came. */
  readonly unanswered: number;
  readonly kills: number;
  readonly stops: number;
  /** For each time that the daemon ended though nobody killed it: how, and its last lines. */
  readonly ownEnds: readonly string[];
  /** Uses that the grants have counted. */
  readonly counted: number;
  readonly seconds: number;
}

/** What an honest log must not have, each as a sentence; none when all is well. */
export function faultsOf(report: CrashReport): readonly string[] {
  const { acknowledged, counted, attempts, missing, misplaced, open, refused, ownEnds } = report;
  return [
    ...(missing > 0 ? [`${missing} acknowledged operations are not in the log`] : []),
    ...(misplaced > 0 ? [`${misplaced} acknowledged operations do not stand where the answer said`] : []),
    ...(refused === undefined ? [] : [`the log is not believed: ${refused}`]),
    ...(open === 0 ? [] : [`${open} attempts are still open after the last start`]),
    ...ownEnds.map((words) => `the daemon ended by itself: ${words}`),
    ...(acknowledged <= counted && counted <= attempts
      ? []
      : [`${acknowledged} acknowledged, ${counted} counted, ${attempts} attempted: that does not add up`]),
  ];
}

/**
 * Has many clients sign under a grant while the daemon is killed and PostgreSQL stopped at once, over and over; at last looks
 * everything up that a client was told. The daemon is the real one, in a process of its own, on a token and a private
 * cluster of its own. Nobody else may use a SoftHSM token in this process meanwhile.
 */
export async function crash(order: CrashOrder): Promise<CrashReport> {
  const begunAt = performance.now();
  const system = await makeSystem({ withoutDaemon: true, port: await freePort() });
  const daemon = daemonProcess(system.configFile, order.journal);
  try {
    await daemon.start();
    const grant = await makeGrant(system);
    const run = new CrashRun(order, system, daemon);
    await run.through(grant);
    const evidence = await gatherEvidence(system, run.acknowledged);
    const { used: counted } = await system.client('app').grant(grant);
    const seconds = (performance.now() - begunAt) / 1000;
    return { ...run.told(), ...evidence, counted, seconds };
  } finally {
    // whoever failed may have left the database alone: a daemon adopts it, and stops it
    if (daemon.hasEnded()) await daemon.start().catch(() => undefined);
    await daemon.stop('SIGTERM');
    await system.remove();
    daemon.remove();
  }
}

class CrashRun {
  readonly acknowledged: Acknowledged[] = [];
  readonly #order: CrashOrder;
  readonly #system: System;
  readonly #daemon: DaemonProcess;
  readonly #refusals = new Map<string, number>();
  #unanswered = 0;
  #kills = 0;
  #stops = 0;
  readonly #ownEnds: string[] = [];
  readonly #chance = chance('crash');
  #isOver = false;
  #serving: Promise<void> = Promise.resolve();

  constructor(order: CrashOrder, system: System, daemon: DaemonProcess) {
    this.#order = order;
    this.#system = system;
    this.#daemon = daemon;
  }

  told(): Omit<CrashReport, keyof Evidence | 'counted' | 'seconds'> {
    return {
      acknowledged: this.acknowledged.length,
      refusals: Object.fromEntries(this.#refusals),
      unanswered: this.#unanswered,
      kills: this.#kills,
      stops: this.#stops,
      ownEnds: this.#ownEnds,
    };
  }

  /** Resolves when all has happened, nobody asks any more, and the daemon has started for the last time. */
  async through(grant: string): Promise<void> {
    const clients = await Promise.all(Array.from({ length: this.#order.clients }, () => this.#connect()));
    const working = Promise.all(clients.map((client, at) => this.#work(client, grant, `client ${at}`)));
    try {
      const events = this.#events();
      for (const [at, event] of events.entries()) {
        // spread over the operations, so that each strikes while others are under way
        await this.#reached(
          ((at + 0.2 + 0.6 * this.#chance.fraction()) / (events.length + 1)) * this.#order.operations,
        );
        await letPass(this.#chance.below(50));
        await this.#strike(event);
        this.#report();
      }
      await this.#reached(this.#order.operations);
    } finally {
      // the last blow falls while they work; then they have rest
      await this.#daemon.stop('SIGKILL');
      this.#isOver = true;
      await this.#start();
      await working;
      for (const client of clients) client.close();
    }
  }

  async #connect(): Promise<EscrowClient> {
    return this.#system.identity('app').connect({ deadlineMs: 30_000, now: () => new Date() });
  }

  async #work(client: EscrowClient, grant: string, name: string): Promise<void> {
    for (let count = 0; !this.#isOver; count += 1) {
      const message = Buffer.from(`letter ${count} of ${name}`);
      try {
        const order = { mechanism: 'ES256', messages: [message.toString('base64url')] } as const;
        const { result, entry } = await client.sign(grant, order);
        const signature = Buffer.from(result.signatures[0] ?? '', 'base64url');
        this.acknowledged.push({ entry, input: sha256(message), digest: sha256(signature) });
      } catch (error) {
        if (error instanceof ServerProblem)
          this.#refusals.set(error.code, (this.#refusals.get(error.code) ?? 0) + 1);
        else if (error instanceof ServerUnreachable) this.#unanswered += 1;
        else throw error;
        await this.#serving;
        await letPass(20);
      }
    }
  }

  /** What is to happen, in an order of chance. */
  #events(): readonly { readonly kill: boolean; readonly stop: boolean }[] {
    const { kills, stops } = this.#order;
    const both = Math.min(kills, Math.floor(stops / 2));
    const events = [
      ...Array.from({ length: both }, () => ({ kill: true, stop: true })),
      ...Array.from({ length: kills - both }, () => ({ kill: true, stop: false })),
      ...Array.from({ length: stops - both }, () => ({ kill: false, stop: true })),
    ];
    return this.#chance.shuffled(events);
  }

  async #strike({ kill, stop }: { readonly kill: boolean; readonly stop: boolean }): Promise<void> {
    const stopping = stop ? this.#stopDatabase() : undefined;
    if (kill) {
      await this.#daemon.stop('SIGKILL');
      this.#kills += 1;
    }
    await stopping;
    if (kill) await this.#start();
  }

  async #stopDatabase(): Promise<void> {
    const place = await readPaths(join(this.#system.directory, 'postgres'));
    const server = place === undefined ? undefined : await findPostmaster(place.data);
    if (server === undefined) throw new Error('there is no database to stop');
    // an immediate shutdown (PostgreSQL, "Shutting Down the Server"): as a crash, without the machine's
    process.kill(server.pid, 'SIGQUIT');
    this.#stops += 1;
  }

  #start(): Promise<void> {
    const starting = this.#daemon.start();
    this.#serving = starting.catch(() => undefined);
    return starting;
  }

  /** Waits until so many operations were acknowledged. Starts the daemon again when it has ended by itself. */
  async #reached(operations: number): Promise<void> {
    let before = this.acknowledged.length;
    for (let waits = 0; this.acknowledged.length < operations; waits += 1) {
      await letPass(20);
      if (this.#daemon.hasEnded()) {
        this.#ownEnds.push(this.#daemon.lastWords());
        await this.#start();
      }
      if (waits * 20 < STUCK_AFTER_MS) continue;
      if (this.acknowledged.length === before) throw new Error('nothing is acknowledged any more');
      before = this.acknowledged.length;
      waits = 0;
      this.#report();
    }
  }

  #report(): void {
    const { operations, kills, stops } = this.#order;
    this.#order.progress(
      `${this.acknowledged.length} of ${operations} operations, ${this.#kills} of ${kills} kills, ${this.#stops} of ${stops} stops of PostgreSQL`,
    );
  }
}

/** Longer than anything that heals by itself takes. */
const STUCK_AFTER_MS = 60_000;

/** A grant with more uses than anybody needs. */
async function makeGrant(system: System): Promise<string> {
  const many = { maxUses: 100_000_000 };
  const operate = { operations: ['sign'], maxDuration: 'PT24H', ...many };
  await system.applyRules(RULES.map((rule) => ({ ...(rule as object), operate })).slice(0, 1));
  const key = await system.client('admin-1').generateKey({ owner: 'owner', spec: 'ec-p256', use: 'sign' });
  const scope = { app: 'app', operations: ['sign'], mechanisms: ['ES256'], input: 'message' } as const;
  const { result } = await system.client('manager').requestRecovery({
    keys: [key.result.key],
    reason: 'the owner is away',
    validFor: 'PT1H',
    purpose: 'operate',
    scope: { ...scope, ...many, duration: 'PT24H' },
  });
  await system.approve('manager', result.recovery);
  return grantOf(await system.approve('officer-1', result.recovery));
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
