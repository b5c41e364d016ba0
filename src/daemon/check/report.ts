import type { Finding } from './finding.js';
import type { Findings } from './findings.js';

/** What was found, as a JSON array for programs. */
export function jsonOf({ list }: Pick<Findings, 'list'>): string {
  const rows = list.map(({ code, severity, what, where, do: remedy }) => ({
    code,
    severity,
    what,
    where,
    do: remedy,
  }));
  return `${JSON.stringify(rows, undefined, 2)}\n`;
}

/** What was found, for people; the errors first. `isTried` when the token has proved itself as well. */
export function textOf({ list, exitCode }: Pick<Findings, 'list' | 'exitCode'>, isTried = false): string {
  const of = (severity: Finding['severity']): readonly Finding[] =>
    list.filter((finding) => finding.severity === severity);
  const [errors, warnings, notes] = [of('error'), of('warning'), of('note')];
  const lines = [...errors, ...warnings, ...notes].flatMap(({ severity, where, what, do: remedy }) => [
    `${severity}: ${where}: ${what}`,
    `  do: ${remedy}`,
  ]);
  const counts = `${errors.length} errors, ${warnings.length} warnings, ${notes.length} notes`;
  const end =
    exitCode === 0
      ? `a start would go on to ${isTried ? 'serve' : 'try what the token does, which --self-test has a check do'}`
      : `a start would end with exit code ${exitCode}`;
  return `${[...lines, `${counts}: ${end}.`].join('\n')}\n`;
}
