import { canonicalJson } from '../../log/entry/canonical.js';
import { outcomeInWords } from './outcomeInWords.js';
import type { Report } from './report.js';

/** Everything that was done or tried: the history of any owner, key, person or app, and a search in all of them. */
export const actsReport: Report = {
  name: 'acts',
  summary: 'everything that was done or tried, by whom and about what: a search in the whole log',
  about:
    'Each act of the period with what came of it, in the order of the log. --act takes the name of an act, or its beginning\n' +
    '("recovery."); --text looks for a text in ids, names, labels and facts, whatever its case.',
  options: ['act', 'text'],
  acts: () => ({ begins: () => true }),
  columns: [
    { name: 'entry', heading: 'entry', is: 'number' },
    { name: 'time', heading: 'time', is: 'instant' },
    { name: 'who', heading: 'who', is: 'people' },
    { name: 'act', heading: 'act', is: 'text' },
    { name: 'outcome', heading: 'outcome', is: 'text' },
    { name: 'owner', heading: 'owner', is: 'people' },
    { name: 'department', heading: 'department', is: 'text', isMore: true },
    { name: 'keys', heading: 'keys', is: 'keys' },
    { name: 'recovery', heading: 'request', is: 'text', isMore: true },
    { name: 'grant', heading: 'grant', is: 'text', isMore: true },
    { name: 'facts', heading: 'facts', is: 'written', isMore: true },
  ],
  rows: ({ acts, people, keys: known }, { act: wanted = '', text = '' }) => {
    const sought = text.toLowerCase();
    return acts.all
      .filter(({ act }) => act.startsWith(wanted))
      .map(({ entry, time, act, actor, subject, detail, outcome, signers = [] }) => {
        const {
          owner,
          key,
          keys = key === undefined ? [] : [key],
          recovery,
          grant,
        } = outcome?.subject ?? subject;
        const facts = canonicalJson({ ...detail, ...outcome?.detail });
        const cells = {
          ...{ entry, time, who: actor, act, outcome: outcomeInWords(outcome), owner, keys, recovery, grant },
          ...{ department: people.departmentOf(owner ?? ''), facts },
        };
        const about = {
          ...(owner === undefined ? {} : { owners: [owner] }),
          ...{ people: [actor, ...signers], apps: [actor], keys },
        };
        const names = [actor, ...(owner === undefined ? [] : [owner])].map((id) => people.nameOf(id));
        return { cells, about, said: [...names, ...keys.map((one) => known.labelOf(one))] };
      })
      .filter(({ cells, said }) =>
        canonicalJson([Object.values(cells).map((cell) => cell ?? null), said])
          .toLowerCase()
          .includes(sought),
      )
      .map(({ cells, about }) => ({ cells, about }));
  },
};
