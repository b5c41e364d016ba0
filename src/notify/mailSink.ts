import { type SendMailOptions, type Transporter, createTransport } from 'nodemailer';

import type { Notice, NoticeKind } from '../escrow/records/notice.js';
import type { Clock } from '../escrow/ports/clock.js';
import type { DeliveryResult, Notices, Sink } from './sink.js';
import { codeOf, messageOf } from '../system/errors.js';

export interface MailOptions {
  readonly host: string;
  readonly port: number;
  /** `implicit`: TLS from the start (RFC 8314). `starttls`: required before anything is said. `none`: to this very host only. */
  readonly tls: 'implicit' | 'starttls' | 'none';
  readonly ca?: string;
  readonly credentials?: { readonly user: string; readonly password: string };
  /** The address that mail comes from; see {@link isMailAddress}. */
  readonly from: string;
  readonly kinds: ReadonlySet<NoticeKind>;
  /** For one whole message, in milliseconds. */
  readonly timeoutMs: number;
  readonly origin: string;
  readonly clock: Pick<Clock, 'now'>;
  /** The address of a person of the directory; undefined when there is none. */
  readonly addressOf: (person: Notice['to']) => Promise<string | undefined>;
  /** For the operator's log: somebody cannot be told by mail. */
  readonly unreachable: (person: string, why: string) => void;
}

/** At most so many uses are told in one mail. */
const MAX_USES_IN_ONE = 100;

/** An addr-spec that needs no quoting (RFC 5321 dot-string at a domain): nothing in it can begin a header or another address. */
export function isMailAddress(text: string): boolean {
  return (
    text.length <= 254 &&
    /^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?$/.test(text)
  );
}

/**
 * Mails notices, each to one person, in plain text. Uses that follow each other are told their owner in one mail. Whoever
 * has no address in the directory is told nothing by mail, which the operator's log says once.
 */
export class MailSink implements Sink {
  readonly name = 'mail';
  readonly kinds: ReadonlySet<NoticeKind>;
  readonly #options: MailOptions;
  readonly #transport: Transporter;
  readonly #closing = new AbortController();
  readonly #unreachable = new Set<string>();

  constructor(options: MailOptions) {
    const { host, port, tls, ca, credentials, timeoutMs } = options;
    this.kinds = options.kinds;
    this.#options = options;
    this.#transport = createTransport({
      host,
      port,
      secure: tls === 'implicit',
      requireTLS: tls === 'starttls',
      ignoreTLS: tls === 'none',
      // whatever the environment says of certificates
      tls: { rejectUnauthorized: true, minVersion: 'TLSv1.2', ...(ca === undefined ? {} : { ca }) },
      ...(credentials === undefined ? {} : { auth: { user: credentials.user, pass: credentials.password } }),
      connectionTimeout: timeoutMs,
      greetingTimeout: timeoutMs,
      socketTimeout: timeoutMs,
      dnsTimeout: timeoutMs,
      disableFileAccess: true,
      disableUrlAccess: true,
    });
  }

  async deliver(notices: Notices): Promise<DeliveryResult> {
    const together = groupOf(notices);
    const [{ to }] = together;
    let address: string | undefined;
    try {
      address = await this.#options.addressOf(to);
    } catch (error) {
      const fault = 'The directory cannot be read.';
      return { accepted: 'none', because: 'unavailable', fault, reason: messageOf(error) };
    }
    if (address === undefined || !isMailAddress(address)) {
      this.#note(to, address === undefined ? 'there is no address of them' : 'their address is none');
      return { accepted: together.length };
    }
    try {
      await this.#transport.sendMail(this.#mail(together, address));
      return { accepted: together.length };
    } catch (error) {
      return failureOf(error);
    }
  }

  close(): void {
    this.#closing.abort();
    this.#transport.close();
  }

  #mail(notices: Notices, address: string): SendMailOptions & { readonly signal: AbortSignal } {
    const { from, origin, clock, timeoutMs } = this.#options;
    const [first] = notices;
    return {
      envelope: { from, to: [address] },
      from: { name: 'escrowd', address: from },
      to: { name: '', address },
      subject: `escrowd: ${SUBJECTS[first.kind][first.as === 'depositary' ? 'decider' : 'others']}`,
      text: [
        ...notices.flatMap(({ text, time, entry }) => [text, `${time}, entry ${entry} of the log.`, '']),
        `The log is ${origin}. Believe it rather than this mail: escrowctl shows what is there, and verifies it.`,
        '',
      ].join('\n'),
      messageId: `<${first.id}@${from.slice(from.lastIndexOf('@') + 1)}>`,
      date: clock.now(),
      // RFC 3834 section 5: nobody's holiday notice answers it
      headers: { 'Auto-Submitted': 'auto-generated' },
      xMailer: false,
      disableFileAccess: true,
      disableUrlAccess: true,
      signal: AbortSignal.any([AbortSignal.timeout(timeoutMs), this.#closing.signal]),
    };
  }

  #note(person: string, why: string): void {
    if (this.#unreachable.has(person)) return;
    this.#unreachable.add(person);
    this.#options.unreachable(person, why);
  }
}

/** Nothing that somebody wrote is in a header. */
const SUBJECTS = {
  asked: { decider: 'a request waits for your decision', others: 'somebody asks for your key' },
  'approval-due': { decider: 'you can approve a request now', others: 'a request can be approved now' },
  used: { decider: 'a key was used', others: 'your key was used' },
  decided: { decider: 'a request was decided', others: 'a request was decided' },
  refused: { decider: 'an attempt was refused', others: 'an attempt on your key was refused' },
  imported: { decider: 'a key was imported', others: 'a key of yours was imported' },
  'drill-failed': { decider: 'a share does not open', others: 'a share of a key of yours does not open' },
} as const satisfies Record<NoticeKind, { readonly decider: string; readonly others: string }>;

/** The first, and when it tells of a use, the uses by the same grant that follow at once. */
function groupOf([first, ...others]: Notices): Notices {
  if (first.kind !== 'used') return [first];
  const isAnother = ({ kind, to, subject }: Notice): boolean =>
    kind === 'used' && to === first.to && subject.grant === first.subject.grant;
  const end = others.findIndex((notice) => !isAnother(notice));
  return [first, ...others.slice(0, Math.min(end < 0 ? others.length : end, MAX_USES_IN_ONE - 1))];
}

/**
 * Only what the server says of this recipient or message is about the notice (RFC 5321 section 4.2.1: 5yz for good, 4yz for
 * now); a server that cannot be reached, wants other credentials or another sender is the operator's to put right.
 */
function failureOf(error: unknown): DeliveryResult {
  const { command, responseCode } = answerOf(error);
  const code = codeOf(error);
  const reason = messageOf(error);
  const isAboutMessage = command === 'RCPT TO' || command === 'DATA' || code === 'EMESSAGE';
  const said = responseCode === undefined ? '' : ` The server answered ${responseCode}.`;
  if (isAboutMessage && responseCode !== undefined && responseCode !== 421) {
    const fault = `The mail was not taken.${said}`;
    return { accepted: 'none', because: responseCode >= 500 ? 'refused' : 'deferred', fault, reason };
  }
  const fault = `The mail server does not work${code === undefined ? '' : ` (${code})`}.${said}`;
  return { accepted: 'none', because: 'unavailable', fault, reason };
}

function answerOf(error: unknown): {
  readonly command: string | undefined;
  readonly responseCode: number | undefined;
} {
  const { command, responseCode } = Object(error) as Readonly<Record<string, unknown>>;
  return {
    command: typeof command === 'string' ? command : undefined,
    responseCode: typeof responseCode === 'number' ? responseCode : undefined,
  };
}
