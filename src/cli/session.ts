import { join, resolve } from 'node:path';

import { type ClientCertificate, readClientCertificate } from '../client/identity/clientCertificate.js';
import type { EscrowClient } from '../client/escrowClient.js';
import { Identity } from '../client/identity/identity.js';
import type { LogView } from '../client/log/logView.js';
import { type ManagementReport, readManagement } from '../client/management.js';
import { type CardKey, type CardProgram, cardKey } from './card.js';
import { parseDurationArgument } from './durationArgument.js';
import type { Environment } from './environment.js';
import { UsageError } from './failures.js';
import { readSecretLine } from './secretFile.js';
import type { Settings } from './settings.js';
import { type Progress, withSpinner } from './spinner.js';
import type { Terminal } from './terminal.js';

/** How long one request may take unless the settings say otherwise: key generation in a token is slow. */
export const DEFAULT_TIMEOUT = '60s';

/** What every command is given: who acts, the way to the server, the terminal and the time. */
export class Session {
  readonly terminal: Terminal;
  readonly #environment: Environment;
  readonly #settings: Settings;
  readonly #deadlineMs: number;
  #client: EscrowClient | undefined;
  #card: CardKey | undefined;

  /** @throws UsageError when the timeout is none */
  constructor(environment: Environment, settings: Settings) {
    this.terminal = environment.terminal;
    this.#environment = environment;
    this.#settings = settings;
    const deadlineMs = parseDurationArgument(settings.timeout ?? DEFAULT_TIMEOUT);
    if (deadlineMs === undefined)
      throw new UsageError('--timeout (or ESCROWCTL_TIMEOUT) is not a duration', 'write 30s or 2m');
    this.#deadlineMs = deadlineMs;
  }

  get now(): Date {
    return this.#environment.now();
  }

  /** Where the programs beside escrowctl are. */
  get programs(): string {
    return this.#environment.programs;
  }

  get variables(): Environment['variables'] {
    return this.#environment.variables;
  }

  /** Resolves when the process is asked to end. */
  stopped(): Promise<void> {
    return this.#environment.stopped();
  }

  get hasIdentity(): boolean {
    return this.#settings.identity !== undefined;
  }

  /** The identity named by `--as`, ESCROWCTL_IDENTITY or the configuration file. */
  identity(): Promise<Identity> {
    const directory = this.#settings.identity;
    if (directory === undefined) {
      throw new UsageError(
        'who are you?',
        'add --as DIR, or set ESCROWCTL_IDENTITY to your identity directory',
      );
    }
    return Identity.open(resolve(directory), {
      passphrase: (file) => this.passphrase(`Passphrase of ${file}: `),
      card: (location, publicKeyPem) => {
        this.#card ??= cardKey(this.cards, location, publicKeyPem);
        return Promise.resolve(this.#card);
      },
    });
  }

  /** A passphrase: from the file that the settings name, else typed; undefined when nobody is there to type. */
  async passphrase(question: string): Promise<Buffer | undefined> {
    const { passphraseFile } = this.#settings;
    if (passphraseFile !== undefined) return readSecretLine(resolve(passphraseFile));
    return this.terminal.isInteractive ? this.terminal.askHidden(question) : undefined;
  }

  /** What the management listener says, where the settings name one. */
  async management(): Promise<ManagementReport | undefined> {
    const { management } = this.#settings;
    return management === undefined ? undefined : readManagement(management, this.#deadlineMs);
  }

  get cards(): CardProgram {
    const { cardPinFile } = this.#settings;
    return {
      program: join(this.programs, 'token', 'card', 'main.js'),
      pinFile: cardPinFile === undefined ? undefined : resolve(cardPinFile),
    };
  }

  /**
   * The pinned server, in the identity's name. Closed when the command ends. `signsAll` is false where a client certificate will do
   * in place of signed requests, if the settings name one.
   */
  async connect({ signsAll = true } = {}): Promise<{
    readonly identity: Identity;
    readonly client: EscrowClient;
    readonly log: LogView;
  }> {
    const identity = await this.identity();
    const certificate = signsAll ? undefined : await this.#clientCertificate();
    const client = await identity.connect({
      deadlineMs: this.#deadlineMs,
      now: this.#environment.now,
      ...(certificate === undefined ? {} : { certificate }),
    });
    this.#client = client;
    return { identity, client, log: identity.logView(client) };
  }

  /** The client certificate that the settings name. @throws UsageError when it is named without its key, or the other way round */
  async #clientCertificate(): Promise<ClientCertificate | undefined> {
    const { clientCert, clientKey } = this.#settings;
    if (clientCert === undefined && clientKey === undefined) return undefined;
    if (clientCert === undefined || clientKey === undefined)
      throw new UsageError('a client certificate goes with its key', 'give --client-cert and --client-key');
    return readClientCertificate(resolve(clientCert), resolve(clientKey), (file) =>
      this.passphrase(`Passphrase of ${file}: `),
    );
  }

  /** Work that may take a while. */
  busy<T>(label: string, work: (progress: Progress) => Promise<T>): Promise<T> {
    return withSpinner(this.terminal, label, work);
  }

  close(): void {
    this.#client?.close();
    this.#card?.close();
  }
}
