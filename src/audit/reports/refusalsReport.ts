import { membersOf } from './facts.js';
import { outcomeInWords } from './outcomeInWords.js';
import type { Report } from './report.js';

/** What was tried and did not come about. */
export const refusalsReport: Report = {
  name: 'refusals',
  summary: 'what was tried in vain: refused, or failed',
  about:
    'Everything of the period that was denied or has failed. One entry may stand for many refusals that came together;\n' +
    '"times" says for how many. An app is in it by its id as well as people.',
  options: [],
  acts: () => ({ begins: () => true, ends: ({ outcome }) => outcome?.phase !== 'done' }),
  columns: [
    { name: 'time', heading: 'time', is: 'instant' },
    { name: 'who', heading: 'who', is: 'people' },
    { name: 'act', heading: 'act', is: 'text' },
    { name: 'outcome', heading: 'outcome', is: 'text' },
    { name: 'times', heading: 'times', is: 'number' },
    { name: 'owner', heading: 'owner', is: 'people' },
    { name: 'department', heading: 'department', is: 'text', isMore: true },
    { name: 'keys', heading: 'keys', is: 'keys', isMore: true },
    { name: 'recovery', heading: 'request', is: 'text', isMore: true },
    { name: 'grant', heading: 'grant', is: 'text', isMore: true },
    { name: 'doubt', heading: 'doubt', is: 'text', isMore: true },
    { name: 'entry', heading: 'entry', is: 'number', isMore: true },
  ],
  rows: ({ acts, people }) =>
    acts.all
      // what has no outcome yet was neither refused nor has it failed
      .filter(({ outcome }) => outcome !== undefined)
      .map(({ entry, time, act, actor, subject, detail, outcome, doubt }) => {
        const { owner, key, keys = key === undefined ? [] : [key], recovery, grant } = subject;
        return {
          cells: {
            ...{ time, who: actor, act, outcome: outcomeInWords(outcome), owner, keys, recovery, grant },
            times: 1 + Number(membersOf(detail['together'])['refusals'] ?? 0),
            department: people.departmentOf(owner ?? ''),
            ...{ doubt, entry },
          },
          about: {
            ...(owner === undefined ? {} : { owners: [owner] }),
            ...{ people: [actor], apps: [actor], keys },
          },
        };
      }),
};
