import { allOf, ConfigError } from './start/configError.js';
import type { Escrow } from '../escrow/escrow.js';
import { noticesAbout } from '../escrow/notices/facts.js';
import type { Outbox, SinkState } from '../escrow/ports/outbox.js';
import { noticesAgain } from '../escrow/acts/redeliverNotices.js';
import { readSecretFile } from './start/namedFiles.js';
import type { NotificationConfig } from './notificationsConfig.js';
import { startDeliverer } from '../notify/deliverer.js';
import { FileSink } from '../notify/fileSink.js';
import { MailSink } from '../notify/mailSink.js';
import type { Sink } from '../notify/sink.js';
import { WebhookSink } from '../notify/webhookSink.js';
import { parseWebhookSecret } from '../notify/webhookSignature.js';
import type { OperatorLog } from './operatorLog.js';
import type { RepeatedLines } from './repeatedLines.js';
import { readAuthorities } from './start/tlsPair.js';

/** What the sinks need besides their configuration, as the files have it: secrets, passwords and authorities. */
export interface SinkFiles {
  /** The secrets and the authority of each webhook, in the order of the configuration. */
  readonly webhooks: readonly { readonly secrets: readonly Uint8Array[]; readonly ca?: string }[];
  readonly smtp: { readonly password: string | undefined; readonly ca?: string } | undefined;
}

/**
 * Reads what the sinks need of files.
 *
 * @throws ConfigError when a secret or a certificate cannot be used
 */
export function readSinkFiles({ webhooks, smtp }: NotificationConfig): SinkFiles {
  const [ofWebhooks, ofMail] = allOf([
    () =>
      allOf(
        webhooks.map(({ secretFiles, ca }) => () => {
          const [secrets, authority] = allOf([
            () => allOf(secretFiles.map((file) => () => webhookSecretIn(file))),
            () => certificatesOf(ca),
          ]);
          return { secrets, ...authority };
        }),
      ),
    () => (smtp === undefined ? undefined : mailFilesOf(smtp)),
  ]);
  return { webhooks: ofWebhooks, smtp: ofMail };
}

function mailFilesOf({
  credentials,
  ca,
}: NonNullable<NotificationConfig['smtp']>): NonNullable<SinkFiles['smtp']> {
  const [password, authority] = allOf([
    () => (credentials === undefined ? undefined : readSecretFile(credentials.passwordFile).toString('utf8')),
    () => certificatesOf(ca),
  ]);
  return { password, ...authority };
}

/** Who is told outside of the API, ready to begin. */
export interface Notifications {
  /** Begins to deliver. Returns how to stop: within so many milliseconds, what is under way is broken off then. */
  start(): (deadlineMs: number) => Promise<void>;
  /** How far each sink is. Throws EscrowError `store-unavailable`. */
  states(): Promise<readonly SinkState[]>;
}

/**
 * Makes the configured sinks, and makes them known to the database: from then on nothing that the log says passes them by.
 *
 * @throws EscrowError `store-unavailable`.
 */
export async function openNotifications(
  config: NotificationConfig,
  files: SinkFiles,
  escrow: Pick<Escrow, 'store' | 'log' | 'directory' | 'clock' | 'origin'>,
  outbox: Outbox,
  { log, repeated }: { readonly log: OperatorLog; readonly repeated: RepeatedLines },
): Promise<Notifications> {
  const sinks = sinksOf(config, files, escrow, repeated);
  for (const { name } of sinks) await outbox.register(name);
  const names = sinks.map(({ name }) => name);
  return {
    start: () => {
      const deliverer = startDeliverer(sinks, {
        outbox,
        log: escrow.log,
        noticesAbout: (entry) => noticesAbout(escrow.store, entry),
        noticesAgain: (entry, sink) => noticesAgain(escrow, entry, sink),
        clock: escrow.clock,
        random: Math.random,
        // each notice that is given up is a person who was not told: none is passed over
        report: (level, message, facts) => {
          if (level === 'warn') repeated.tell(level, message, facts);
          else log.log(level, message, facts);
        },
        pollMs: config.pollMs,
      });
      return (deadlineMs) => deliverer.stop(deadlineMs);
    },
    states: () => (names.length === 0 ? Promise.resolve([]) : outbox.states(names)),
  };
}

function sinksOf(
  { file, webhooks, smtp }: NotificationConfig,
  files: SinkFiles,
  { directory, clock, origin }: Pick<Escrow, 'directory' | 'clock' | 'origin'>,
  repeated: RepeatedLines,
): readonly Sink[] {
  const sinks: Sink[] = webhooks.map(
    ({ name, url, kinds, timeoutMs }, at) =>
      new WebhookSink({
        name: `webhook:${name}`,
        url,
        kinds: new Set(kinds),
        ...(files.webhooks[at] ?? { secrets: [] }),
        timeoutMs,
        origin,
        clock,
      }),
  );
  if (file !== undefined) sinks.push(new FileSink({ path: file.path, kinds: new Set(file.kinds), origin }));
  if (smtp === undefined) return sinks;
  const { host, port, tls, credentials, from, kinds, timeoutMs } = smtp;
  const { password = '', ca } = files.smtp ?? {};
  const mail = new MailSink({
    // a URL has an IPv6 address in brackets, a socket has not
    host: host.replace(/^\[(.*)\]$/, '$1'),
    port,
    tls,
    ...(ca === undefined ? {} : { ca }),
    ...(credentials === undefined ? {} : { credentials: { user: credentials.user, password } }),
    from,
    kinds: new Set(kinds),
    timeoutMs,
    origin,
    clock,
    addressOf: async (person) => (await directory.current()).principals.get(person)?.attributes['email'],
    unreachable: (person, why) => {
      repeated.tell('warn', 'somebody is not told by mail', { person, why });
    },
  });
  return [...sinks, mail];
}

function webhookSecretIn(file: string): Uint8Array {
  const secret = parseWebhookSecret(readSecretFile(file).toString('utf8'));
  if (secret !== undefined) return secret;
  throw new ConfigError([
    {
      where: file,
      what: 'it is no webhook secret',
      do: 'write whsec_ and the base64 of 24 to 64 random bytes into it',
    },
  ]);
}

function certificatesOf(file: string | undefined): { readonly ca?: string } {
  return file === undefined ? {} : { ca: readAuthorities(file) };
}
