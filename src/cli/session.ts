import { resolve } from 'node:path';

import type { EscrowClient } from '../client/escrowClient.js';
import { Identity } from '../client/identity.js';
import type { LogView } from '../client/logView.js';
import type { Environment } from './environment.js';
import { UsageError } from './failures.js';
import type { Progress } from './spinner.js';
import { withSpinner } from './spinner.js';
import type { Terminal } from './terminal.js';

/** What every command is given: who acts, the way to the server, the terminal and the time. */
export class Session {
  readonly terminal: Terminal;
  readonly #environment: Environment;
  readonly #as: string | undefined;
  readonly #deadlineMs: number;
  #client: EscrowClient | undefined;

  constructor(
    environment: Environment,
    options: { readonly as: string | undefined; readonly deadlineMs: number },
  ) {
    this.terminal = environment.terminal;
    this.#environment = environment;
    this.#as = options.as ?? environment.variables['ESCROWCTL_IDENTITY'];
    this.#deadlineMs = options.deadlineMs;
  }

  get now(): Date {
    return this.#environment.now();
  }

  /** Where the programs beside escrowctl are. */
  get programs(): string {
    return this.#environment.programs;
  }

  /** Whether an identity was named at all. */
  get hasIdentity(): boolean {
    return this.#as !== undefined && this.#as !== '';
  }

  /** The identity named by `--as` or ESCROWCTL_IDENTITY. */
  identity(): Promise<Identity> {
    if (this.#as === undefined || this.#as === '') {
      throw new UsageError(
        'who are you?',
        'add --as DIR, or set ESCROWCTL_IDENTITY to your identity directory',
      );
    }
    return Identity.open(resolve(this.#as));
  }

  /** The pinned server, in the identity's name. Closed when the command ends. */
  async connect(): Promise<{
    readonly identity: Identity;
    readonly client: EscrowClient;
    readonly log: LogView;
  }> {
    const identity = await this.identity();
    const client = await identity.connect({ deadlineMs: this.#deadlineMs, now: this.#environment.now });
    this.#client = client;
    return { identity, client, log: identity.logView(client) };
  }

  /** Work that may take a while. */
  busy<T>(label: string, work: (progress: Progress) => Promise<T>): Promise<T> {
    return withSpinner(this.terminal, label, work);
  }

  close(): void {
    this.#client?.close();
  }
}
