import {
  datedFault,
  type DatedCertificate,
  ofAll,
  ofAny,
  watchCertificates,
} from '../../../src/daemon/reload/certificates.js';
import { AlarmBook } from '../../../src/daemon/health.js';
import { keptLog } from '../../support/operatorLines.js';

const from = new Date('2026-01-01T00:00:00Z');
const until = new Date('2026-06-01T00:00:00Z');
const own: DatedCertificate = { where: 'tls.certificate', isOwn: true, periods: [{ from, until }] };
const authority: DatedCertificate = { ...own, where: 'notifications.smtp.ca', isOwn: false };
const at = (text: string): Date => new Date(text);

test.each([
  ['nothing while it lasts for 30 days', '2026-05-02T00:00:00Z', undefined],
  ['how many days are left', '2026-05-02T00:00:01Z', /expires in 29 days, at 2026-06-01T00:00Z/],
  ['that it ends today', '2026-05-31T12:00:00Z', /expires in 0 days/],
  ['that it is over', '2026-06-01T00:00:00Z', /has expired at 2026-06-01T00:00Z: no client believes/],
  ['that it has not begun', '2025-12-31T23:59:59Z', /not valid before 2026-01-01T00:00Z/],
])('of a certificate is said %s', (_what, now, said) => {
  const fault = datedFault(own, at(now));
  if (said === undefined) expect(fault).toBeUndefined();
  else expect(fault?.what).toMatch(said);
});

const days = (validFrom: string, validTo: string) => ({ validFrom, validTo });
const long = days('2025-01-01Z', '2028-01-01Z');
const february = days('2026-02-01Z', '2026-03-01Z');
const march = days('2026-03-01Z', '2026-04-01Z');
const may = days('2026-05-01Z', '2026-06-01Z');

test.each([
  ['a chain, its first not valid yet', ofAll, [march, long], '2026-02-10', /not valid before 2026-03-01/],
  ['a chain, another not valid yet', ofAll, [long, march], '2026-02-10', /not valid before 2026-03-01/],
  ['a chain of which one is over', ofAll, [long, march], '2026-04-01', /has expired at 2026-04-01/],
  ['a chain of two that never meet', ofAll, [february, may], '2026-02-10', /not valid before 2026-05/],
  ['a chain that is valid', ofAll, [days('2026-01-01Z', '2029-01-01Z'), long], '2026-02-10', undefined],
  ['authorities, the next one there long before', ofAny, [february, may], '2026-02-10', /in 19 days/],
  ['authorities, the next one as this ends', ofAny, [march, february], '2026-02-10', undefined],
  ['authorities, one within another', ofAny, [long, march], '2026-04-10', undefined],
  [
    'authorities of which none is valid now',
    ofAny,
    [may, february],
    '2026-04-01',
    /not valid before 2026-05/,
  ],
  ['authorities that are all over', ofAny, [march, february], '2026-05-01', /has expired at 2026-04-01/],
] as const)('of %s is said what holds for who believes them', (_what, of, certificates, now, said) => {
  const periods = [of(certificates)].flat() as unknown as DatedCertificate['periods'];
  const fault = datedFault({ ...own, periods }, at(`${now}T00:00:00Z`));
  if (said === undefined) expect(fault).toBeUndefined();
  else expect(fault?.what).toMatch(said);
});

test('the operator is told once a day, and by an alarm when it is over, which ends with a new certificate', () => {
  const { log, lines } = keptLog();
  let now = at('2026-05-20T00:00:00Z');
  const alarms = new AlarmBook(log, () => now);
  jest.useFakeTimers({ doNotFake: ['nextTick', 'setImmediate'] });
  const pass = (hours: number): void => {
    for (let hour = 0; hour < hours; hour += 1) {
      now = new Date(now.getTime() + 3_600_000);
      jest.advanceTimersByTime(3_600_000);
    }
  };
  const watch = watchCertificates([own, authority], { now: () => now, log, alarms });
  try {
    expect(watch.state().problems).toEqual([]);
    expect(watch.state().notes).toHaveLength(2);
    pass(23);
    expect(lines).toHaveLength(2);
    pass(1);
    expect(lines).toHaveLength(4);
    expect(lines.map(({ level }) => level)).toEqual(['warn', 'warn', 'warn', 'warn']);
    now = until;
    pass(1);
    expect(lines.slice(4)).toMatchObject([
      { level: 'error', alarm: 'certificate-expired' },
      { level: 'error', alarm: 'certificate-expired' },
    ]);
    expect(alarms.list()).toMatchObject([{ alarm: 'certificate-expired' }]);
    // nobody gets in; that somebody else is not believed keeps the daemon from nothing
    expect(watch.state().problems).toEqual([expect.stringMatching(/^tls\.certificate: .* has expired/)]);
    expect(watch.state().notes).toEqual([expect.stringMatching(/^notifications\.smtp\.ca: /)]);
    const renewed = new Date('2027-06-01T00:00:00Z');
    watch.replace([
      { ...own, periods: [{ from, until: renewed }] },
      { ...authority, periods: [{ from, until: renewed }] },
    ]);
    expect(watch.state()).toEqual({ problems: [], notes: [] });
    expect(alarms.list()).toEqual([]);
  } finally {
    watch.stop();
    jest.useRealTimers();
  }
});
