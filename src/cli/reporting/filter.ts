import type { Reading } from '../../audit/reports/reading.js';
import type { ReportFilter } from '../../audit/reports/report.js';
import type { CommandArguments } from '../commandArguments.js';
import { UsageError } from '../failures.js';

/**
 * What a report is narrowed to by `--owner`, `--department`, `--app`, `--person` and `--key`. Each must be known to the log: of a
 * typing error nobody is told that nothing was done.
 *
 * @throws UsageError
 */
export function reportFilter(given: CommandArguments, { people, keys }: Reading): ReportFilter {
  const known = (name: 'owner' | 'app' | 'person'): ReportFilter => {
    const id = given.find(name);
    if (id === undefined) return {};
    if (people.knows(id)) return { [name]: id };
    throw new UsageError(`--${name} ${id}: no directory up to the end of the period lists such an id`);
  };
  const department = given.findWords('department');
  if (department !== undefined && !people.departments.has(department))
    throw new UsageError(
      `--department ${department}: nobody is in it`,
      `there are: ${[...people.departments]
        .filter((one) => one !== '')
        .sort()
        .join(', ')}`,
    );
  return {
    ...known('owner'),
    ...known('app'),
    ...known('person'),
    ...(department === undefined ? {} : { department }),
    ...keyIn(given.find('key'), keys),
  };
}

/** By its id, the beginning of it, or its label. */
function keyIn(text: string | undefined, keys: Reading['keys']): ReportFilter {
  if (text === undefined) return {};
  const found = keys.all.filter(({ key, label }) => key.startsWith(text) || label === text);
  const [first, ...others] = found;
  if (first === undefined)
    throw new UsageError(`--key ${text}: the log has no such key by the end of the period`);
  if (others.length > 0)
    throw new UsageError(
      `--key ${text} is the beginning, or the label, of ${found.length} keys`,
      `give more of one of: ${found
        .slice(0, 5)
        .map(({ key }) => key)
        .join(', ')}`,
    );
  return { key: first.key };
}
