import { listOf, textOf, textsOf } from './facts.js';
import { isInOfficeHours } from './officeHours.js';
import { outcomeInWords } from './outcomeInWords.js';
import type { Report } from './report.js';

/** What a use is, in words. */
const USES: ReadonlyMap<string, string> = new Map([
  ['grant.sign', 'sign'],
  ['grant.decrypt', 'decrypt'],
]);

/** Each use of a key on its owner's behalf. */
export const usesReport: Report = {
  name: 'uses',
  summary: 'each signature and decryption on behalf: which app, with whose key, of what',
  about:
    'Every use that was tried in the period, also what was refused. --outside leaves those that were within these hours by\n' +
    'the clocks of --zone: "08:00-18:00" from Monday to Friday, or "mon-sat 06:00-22:00". It knows no holidays.',
  options: ['outside'],
  acts: () => ({ begins: ({ act }) => USES.has(act) }),
  columns: [
    { name: 'time', heading: 'time', is: 'instant' },
    { name: 'app', heading: 'app', is: 'people' },
    { name: 'use', heading: 'use', is: 'text' },
    { name: 'count', heading: 'inputs', is: 'number' },
    { name: 'keys', heading: 'key', is: 'keys' },
    { name: 'owner', heading: 'owner', is: 'people' },
    { name: 'department', heading: 'department', is: 'text', isMore: true },
    { name: 'outcome', heading: 'outcome', is: 'text' },
    { name: 'mechanism', heading: 'mechanism', is: 'text', isMore: true },
    { name: 'context', heading: 'context', is: 'written', isMore: true },
    { name: 'inputs', heading: 'sha-256 of inputs', is: 'text', isMore: true },
    { name: 'grant', heading: 'grant', is: 'text', isMore: true },
    { name: 'entry', heading: 'entry', is: 'number', isMore: true },
  ],
  rows: ({ acts, grants, people }, { outside }) =>
    acts.all
      .filter(({ time }) => outside === undefined || !isInOfficeHours(outside, time))
      .map(({ entry, time, act, actor, subject, detail, outcome }) => {
        const known = grants.get(subject.grant ?? '');
        const { grant, key = known?.key, owner = known?.owner } = subject;
        const keys = key === undefined ? [] : [key];
        return {
          cells: {
            ...{ time, app: actor, use: USES.get(act), count: listOf(detail['inputs']).length, keys, owner },
            department: people.departmentOf(owner ?? ''),
            outcome: outcomeInWords(outcome),
            mechanism: textOf(detail['mechanism']),
            context: textOf(detail['context']),
            inputs: textsOf(detail['inputs']),
            ...{ grant, entry },
          },
          about: {
            ...(owner === undefined ? {} : { owners: [owner] }),
            ...{ apps: [actor], people: [actor], keys },
          },
        };
      }),
};
