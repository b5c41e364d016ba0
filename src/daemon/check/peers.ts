import type { Config } from '../config.js';
import type { SinkFiles } from '../startNotifications.js';
import type { WitnessAt } from '../../cosigning/submission.js';
import { codeOf, messageOf } from '../../system/errors.js';
import { reach, type ServerAt } from '../../system/reach.js';
import type { FindingCode } from './finding.js';
import type { Findings } from './findings.js';

interface Peer {
  readonly code: FindingCode;
  readonly where: string;
  readonly server: ServerAt;
  readonly timeoutMs: number;
}

/**
 * Connects to everybody whom a daemon would tell or ask, and ends the connection: nothing is said to them, and no password is tried.
 * Who does not answer keeps nobody from starting.
 */
export async function checkPeers(
  config: Config,
  read: { readonly witnesses: readonly WitnessAt[]; readonly sinks: SinkFiles },
  findings: Findings,
): Promise<void> {
  const peers = peersOf(config, read);
  const reached = await Promise.allSettled(peers.map(({ server, timeoutMs }) => reach(server, timeoutMs)));
  peers.forEach(({ code, where, server }, at) => {
    const one = reached[at];
    if (one?.status !== 'rejected') return;
    findings.add('warning', {
      code,
      where,
      what: `${server.host} port ${server.port} is not reached (${codeOf(one.reason) ?? messageOf(one.reason)})`,
      do: 'see that it runs, that its address is right, and that its certificate is of the authority that is configured (ca)',
    });
  });
}

function peersOf(
  { notifications: { webhooks, smtp }, witnessing }: Config,
  { witnesses, sinks }: { readonly witnesses: readonly WitnessAt[]; readonly sinks: SinkFiles },
): readonly Peer[] {
  return [
    ...witnesses.map(({ key, url, ca }) => ({
      code: 'witness' as const,
      where: `witnesses: ${key.name}`,
      server: serverAt(new URL(url), ca),
      timeoutMs: witnessing.timeoutMs,
    })),
    ...webhooks.map(({ name, url, timeoutMs }, at) => ({
      code: 'sink' as const,
      where: `notifications.webhooks: ${name}`,
      server: serverAt(url, sinks.webhooks[at]?.ca),
      timeoutMs,
    })),
    ...(smtp === undefined
      ? []
      : [
          {
            code: 'sink' as const,
            where: 'notifications.smtp',
            server: {
              host: bare(smtp.host),
              port: smtp.port,
              // what STARTTLS secures begins in the clear
              by: smtp.tls === 'implicit' ? ('tls' as const) : ('tcp' as const),
              ca: sinks.smtp?.ca,
            },
            timeoutMs: smtp.timeoutMs,
          },
        ]),
  ];
}

function serverAt({ protocol, hostname, port }: URL, ca: string | undefined): ServerAt {
  const isSecure = protocol === 'https:';
  const usual = isSecure ? 443 : 80;
  return { host: bare(hostname), port: port === '' ? usual : Number(port), by: isSecure ? 'tls' : 'tcp', ca };
}

/** A URL has an IPv6 address in brackets, a socket has not. */
function bare(host: string): string {
  return host.replace(/^\[(.*)\]$/, '$1');
}
