import type { X509Certificate } from 'node:crypto';

import type { Config } from '../config.js';
import type { Fault } from '../start/fault.js';
import type { AlarmBook } from '../health.js';
import type { OperatorLog } from '../operatorLog.js';
import type { SinkFiles } from '../startNotifications.js';
import { certificatesIn, type TlsPair } from '../start/tlsPair.js';
import type { WitnessAt } from '../../cosigning/submission.js';

/** A certificate that the daemon stands on, and the days between which it is believed. */
export interface DatedCertificate {
  /** The member of the configuration. */
  readonly where: string;
  /** Whether it is the daemon's own: then nobody gets in when it is over. */
  readonly isOwn: boolean;
  /** When it is believed: in their order, with some time between each and the next. */
  readonly periods: readonly [Period, ...Period[]];
}

/** From one instant to another, which does not belong to it. */
export interface Period {
  readonly from: Date;
  readonly until: Date;
}

/** From so many days before its end on a certificate is told of. */
const WARNED_DAYS = 30;
const DAY_MS = 86_400_000;
/** What goes on is told again after so long. */
const TOLD_AGAIN_MS = DAY_MS;
const LOOK_MS = 3_600_000;

/** What is read of files when the daemon starts, or reloads. */
export interface CertificatesRead {
  readonly tls: TlsPair;
  readonly witnesses: readonly WitnessAt[];
  readonly sinks: SinkFiles;
}

/**
 * The certificates of a daemon: of its own chain, all of which has to be believed, and of each file of authorities, any of which
 * will do.
 */
export function datedCertificates(
  { notifications: { webhooks } }: Pick<Config, 'notifications'>,
  { tls, witnesses, sinks }: CertificatesRead,
): readonly DatedCertificate[] {
  const authorities = [
    ...witnesses.map(({ key, ca }) => ({ where: `witnesses.ca of ${key.name}`, ca })),
    ...webhooks.map(({ name }, at) => ({
      where: `notifications.webhooks.ca of ${name}`,
      ca: sinks.webhooks[at]?.ca,
    })),
    { where: 'notifications.smtp.ca', ca: sinks.smtp?.ca },
  ];
  return [
    { where: 'tls.certificate', isOwn: true, periods: [ofAll(tls.chain)] },
    ...authorities.flatMap(({ where, ca }) =>
      ca === undefined ? [] : [{ where, isOwn: false, periods: ofAny(certificatesIn(ca, where)) }],
    ),
  ];
}

/** The days of a certificate, as Node has them. */
type Days = Pick<X509Certificate, 'validFrom' | 'validTo'>;
type Several = readonly [Days, ...Days[]];

function periodOf({ validFrom, validTo }: Days): Period {
  return { from: new Date(validFrom), until: new Date(validTo) };
}

/** While each of them is valid. */
export function ofAll(certificates: Several): Period {
  const [first, ...others] = certificates;
  return others.map(periodOf).reduce(
    (all, { from, until }) => ({
      from: from > all.from ? from : all.from,
      until: until < all.until ? until : all.until,
    }),
    periodOf(first),
  );
}

/** While at least one of them is valid. */
export function ofAny([one, ...more]: Several): DatedCertificate['periods'] {
  const [first, ...others] = [one, ...more].map(periodOf).sort((a, b) => a.from.getTime() - b.from.getTime());
  const joined: [Period, ...Period[]] = [first ?? periodOf(one)];
  for (const next of others) {
    const last = joined.at(-1) ?? next;
    if (next.from > last.until) joined.push(next);
    else if (next.until > last.until) joined[joined.length - 1] = { from: last.from, until: next.until };
  }
  return joined;
}

/** What is to be said of a certificate at this time; undefined when nothing is. */
export function datedFault(
  { where, isOwn, periods }: DatedCertificate,
  now: Date,
): (Fault & { readonly isOver: boolean }) | undefined {
  const [first] = periods;
  const { from, until } = periods.find((period) => now < period.until) ?? periods.at(-1) ?? first;
  const renew = isOwn
    ? 'put the new certificate into its file, and send the daemon SIGHUP (systemctl reload)'
    : 'put the newer authority into its file, and send the daemon SIGHUP (systemctl reload)';
  const whom = isOwn ? 'no client believes the daemon' : 'nobody there is believed';
  const day = (at: Date): string => at.toISOString().replace(/:\d\d\.\d{3}Z$/, 'Z');
  if (now < from)
    return {
      where,
      what: `the certificate is not valid before ${day(from)}: ${whom}`,
      do: renew,
      isOver: true,
    };
  if (now >= until)
    return { where, what: `the certificate has expired at ${day(until)}: ${whom}`, do: renew, isOver: true };
  const days = Math.floor((until.getTime() - now.getTime()) / DAY_MS);
  if (days >= WARNED_DAYS) return undefined;
  return {
    where,
    what: `the certificate expires in ${days} days, at ${day(until)}`,
    do: renew,
    isOver: false,
  };
}

/** Watches when certificates end. */
export interface CertificateWatch {
  /** Watches these from now on. */
  replace(certificates: readonly DatedCertificate[]): void;
  /** What there is to say now. Costs nothing. */
  state(): { readonly problems: readonly string[]; readonly notes: readonly string[] };
  stop(): void;
}

/**
 * Tells the operator of certificates that end: 30 days before, once a day, and with the alarm `certificate-expired` when one is over. The
 * daemon's own is then a problem of its health, since every client turns away.
 */
export function watchCertificates(
  certificates: readonly DatedCertificate[],
  { now, log, alarms }: { readonly now: () => Date; readonly log: OperatorLog; readonly alarms: AlarmBook },
): CertificateWatch {
  let watched = certificates;
  const toldAt = new Map<string, number>();
  const faults = (): readonly (Fault & { readonly isOver: boolean; readonly isOwn: boolean })[] => {
    const at = now();
    return watched.flatMap((each) => {
      const fault = datedFault(each, at);
      return fault === undefined ? [] : [{ ...fault, isOwn: each.isOwn }];
    });
  };
  const look = (): void => {
    const found = faults();
    const atMs = now().getTime();
    if (!found.some(({ isOver }) => isOver)) alarms.clear('certificate-expired');
    for (const { where, what, do: remedy, isOver } of found) {
      const name = `${where} ${String(isOver)}`;
      if (atMs - (toldAt.get(name) ?? -Infinity) < TOLD_AGAIN_MS) continue;
      toldAt.set(name, atMs);
      const line = `${where}: ${what}; ${remedy}`;
      if (isOver) log.error(line, { alarm: 'certificate-expired' });
      else log.warn(line);
    }
  };
  look();
  const timer = setInterval(look, LOOK_MS);
  timer.unref();
  return {
    replace: (others) => {
      watched = others;
      toldAt.clear();
      look();
    },
    state: () => {
      const found = faults();
      const said = (which: boolean): readonly string[] =>
        found
          .filter(({ isOver, isOwn }) => (isOver && isOwn) === which)
          .map(({ where, what, do: remedy }) => `${where}: ${what}; ${remedy}.`);
      return { problems: said(true), notes: said(false) };
    },
    stop: () => {
      clearInterval(timer);
    },
  };
}
