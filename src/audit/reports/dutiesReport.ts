import { type Report, NO_ACTS } from './report.js';

const ROLE = 'depositary';

/** Which depositaries have acknowledged their duties. */
export const dutiesReport: Report = {
  name: 'duties',
  summary: 'which depositaries have acknowledged their duties by signature, and which have not',
  about:
    'Everybody who was listed as a depositary at the end of the period, with the newest acknowledgement in that role: of which text\n' +
    '(its SHA-256: sha256sum FILE), when, and under which version of the policy. --missing: those without one.',
  options: ['isMissing'],
  acts: NO_ACTS,
  columns: [
    { name: 'who', heading: 'depositary', is: 'people' },
    { name: 'department', heading: 'department', is: 'text' },
    { name: 'at', heading: 'acknowledged', is: 'instant' },
    { name: 'policyVersion', heading: 'policy', is: 'number' },
    { name: 'status', heading: 'status', is: 'text' },
    { name: 'text', heading: 'sha-256 of the text', is: 'text', isMore: true },
    { name: 'entry', heading: 'entry', is: 'number', isMore: true },
  ],
  rows: ({ people, duties, period: { from = '' } }, { isMissing = false }) =>
    people
      .withRole(ROLE)
      .map(({ id }) => {
        const found = duties.find(id, ROLE);
        const said = found !== undefined && found.at >= from ? found : undefined;
        return { id, said };
      })
      .filter(({ said }) => !isMissing || said === undefined)
      .map(({ id, said }) => ({
        cells: {
          ...{ who: id, department: people.departmentOf(id), at: said?.at, entry: said?.entry },
          ...{ policyVersion: said?.policyVersion, text: said?.text },
          status: said === undefined ? 'missing' : 'acknowledged',
        },
        about: { people: [id] },
      })),
};
