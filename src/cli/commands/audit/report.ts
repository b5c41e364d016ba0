import { parseOfficeHours } from '../../../audit/reports/officeHours.js';
import { Reading } from '../../../audit/reports/reading.js';
import {
  type Report,
  type ReportFilter,
  type ReportOption,
  type ReportOptions,
  filtered,
} from '../../../audit/reports/report.js';
import { REPORTS } from '../../../audit/reports/reports.js';
import type { CommandRow, OptionRow, Result } from '../../command.js';
import type { CommandArguments } from '../../commandArguments.js';
import { UsageError } from '../../failures.js';
import { TRUST_OPTIONS } from '../../logTrust.js';
import { reportFilter } from '../../reporting/filter.js';
import { type MadeReport, reportAsCsv, reportAsJson, reportAsLines } from '../../reporting/forms.js';
import { isZone, periodOf } from '../../reporting/period.js';
import { readLog } from '../../reporting/source.js';
import type { Session } from '../../session.js';

const COMMON: readonly OptionRow[] = [
  {
    flags: '--from <time>',
    about: 'from this time on: 2026, 2026-11, 2026-11-30, 2026-11-30T12:00:00Z, or 7d for 7 days ago',
  },
  { flags: '--to <time>', about: 'up to the end of this year, month or day, or up to this instant' },
  {
    flags: '--zone <name>',
    about: 'the time zone of dates, hours and tables, e.g. Europe/Berlin',
    default: 'UTC',
  },
  { flags: '--owner <id>', about: 'only keys of this owner' },
  {
    flags: '--department <name>',
    about: 'only owners of this department, or people where there is no owner',
  },
  { flags: '--app <id>', about: 'only what this app has a part in' },
  { flags: '--person <id>', about: 'only what this person has a part in' },
  { flags: '--key <key>', about: 'only this key: its label, its id, or the beginning of that' },
  { flags: '--csv', about: 'write CSV (RFC 4180), with all columns' },
  { flags: '--from-export <file>', about: 'of this export, offline, in place of the log of the server' },
  ...TRUST_OPTIONS,
];

/** How the options of some reports are given. */
const OPTIONS: Readonly<Record<ReportOption, OptionRow>> = {
  outside: {
    flags: '--outside <hours>',
    about: 'only outside of these: "08:00-18:00", "mon-sat 06:00-22:00"',
  },
  isOpen: { flags: '--open', about: 'only what was open at the end of the period' },
  isLost: { flags: '--lost', about: 'only what nobody can bring back' },
  isUntried: { flags: '--never-brought-back', about: 'only keys that were never brought back' },
  act: { flags: '--act <act>', about: 'only this act, e.g. grant.sign, or all that begin so: recovery.' },
  text: { flags: '--text <text>', about: 'only what has this text in it: an id, a name, a label, a fact' },
  isMissing: { flags: '--missing', about: 'only those who have not acknowledged' },
};

/** A command for each report. */
export const reportCommands: readonly CommandRow[] = REPORTS.map((report) => ({
  usage: report.name,
  summary: report.summary,
  about: `${report.about}\nThe whole log is verified first; of one that cannot be believed there is no report (exit 5).`,
  options: [...report.options.map((name) => OPTIONS[name]), ...COMMON],
  examples: examplesOf(report),
  run: (session, given) => make(report, session, given),
}));

function examplesOf({ name, options }: Report): readonly string[] {
  const [option] = options.map((one) =>
    OPTIONS[one].flags.replace('<hours>', '08:00-18:00').replace('<act>', 'grant.sign'),
  );
  return [
    `report ${name} --from 2026-11 --to 2026-11 --as ~/.escrowd`,
    `report ${name} --from-export log.ndjson --as ~/.escrowd --csv > ${name}.csv`,
    ...(option === undefined ? [] : [`report ${name} ${option} --as ~/.escrowd`]),
  ];
}

async function make(report: Report, session: Session, given: CommandArguments): Promise<Result> {
  const isCsv = given.flag('csv');
  if (isCsv && given.flag('json'))
    throw new UsageError('--json and --csv are two forms of one answer', 'choose one');
  const zone = given.text('zone');
  if (!isZone(zone)) throw new UsageError(`--zone ${zone} is not a time zone`, 'write UTC, or Europe/Berlin');
  const options = optionsIn(given, zone);
  const period = periodOf({ from: given.find('from'), to: given.find('to') }, { zone, now: session.now });
  const reading = new Reading(period, report.acts);
  const evidence = await readLog(session, given, reading);
  const filter = reportFilter(given, reading);
  // a log that was fetched just now is known until now; an export until its last entry
  const until = evidence.file === undefined ? session.now.toISOString() : reading.lastAt;
  const at = period.to ?? until ?? session.now.toISOString();
  const rows = filtered(report.rows(reading, { ...options, at }), filter, (id) =>
    reading.people.departmentOf(id),
  );
  const made: MadeReport = { report, rows, reading, evidence, zone, narrowed: inWords(filter) };
  if (isCsv)
    session.terminal.writeError(
      `${rows.length} lines, of ${evidence.verdict.size} entries that were verified\n`,
    );
  return {
    json: reportAsJson(made),
    lines: reportAsLines(made),
    ...(isCsv ? { raw: reportAsCsv(made) } : {}),
  };
}

function optionsIn(given: CommandArguments, zone: string): ReportOptions {
  const hours = given.find('outside');
  const outside = hours === undefined ? undefined : parseOfficeHours(hours, zone);
  if (hours !== undefined && outside === undefined)
    throw new UsageError(`--outside ${hours} are no hours`, 'write "08:00-18:00", or "mon-sat 06:00-22:00"');
  return {
    ...(outside === undefined ? {} : { outside }),
    ...textOptions(given),
    isOpen: given.flag('open'),
    isLost: given.flag('lost'),
    isUntried: given.flag('neverBroughtBack'),
    isMissing: given.flag('missing'),
  };
}

function textOptions(given: CommandArguments): ReportOptions {
  const [act, text] = [given.find('act'), given.findWords('text')];
  return { ...(act === undefined ? {} : { act }), ...(text === undefined ? {} : { text }) };
}

function inWords(filter: ReportFilter): readonly string[] {
  return Object.entries(filter).map(([name, value]) => `${name} ${String(value)}`);
}
