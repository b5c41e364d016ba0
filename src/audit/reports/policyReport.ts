import type { Entry } from '../../log/entry/entry.js';
import { policyAct } from '../../log/export/verifier.js';
import { outcomeInWords } from './outcomeInWords.js';
import type { ActsOf } from './reading.js';
import type { Report } from './report.js';

/** What administrators do as anybody might, or in another role of theirs. */
const OTHERWISE: ReadonlySet<string> = new Set([
  'recovery.intend',
  'recovery.approve',
  'recovery.deny',
  'recovery.veto',
  'recovery.confirm',
  'depositary.acknowledge',
  'history.attest',
]);

/** Acts that several administrators sign together. */
const SIGNED_TOGETHER: ReadonlySet<string> = new Set([policyAct, 'recovery.stop']);

const ACTS: ActsOf = ({ people }) => ({
  begins: (entry) => entry.act === policyAct || (people.isAdministrator(entry.actor) && isOfOffice(entry)),
  ends: ({ outcome }) => outcome?.phase !== 'denied',
});

/** What administrators have done. */
export const policyReport: Report = {
  name: 'policy',
  summary: 'what administrators did, and who signed it: policies, ended requests, keys made for others',
  about:
    'Policies and ended requests take several administrators; each signature is one that the verifier has found to hold by the\n' +
    'directory of then. Whatever else an administrator does for others is one person\u2019s act, and says so. What was refused\n' +
    'is in escrowctl report refusals.',
  options: [],
  acts: ACTS,
  columns: [
    { name: 'time', heading: 'time', is: 'instant' },
    { name: 'act', heading: 'act', is: 'text' },
    { name: 'signedBy', heading: 'signed by', is: 'people' },
    { name: 'control', heading: 'control', is: 'text' },
    { name: 'outcome', heading: 'outcome', is: 'text' },
    { name: 'version', heading: 'policy', is: 'number' },
    { name: 'changes', heading: 'changes', is: 'written', isMore: true },
    { name: 'actor', heading: 'sent by', is: 'people', isMore: true },
    { name: 'owner', heading: 'owner', is: 'people' },
    { name: 'department', heading: 'department', is: 'text', isMore: true },
    { name: 'keys', heading: 'keys', is: 'keys', isMore: true },
    { name: 'recovery', heading: 'request', is: 'text', isMore: true },
    { name: 'grant', heading: 'grant', is: 'text', isMore: true },
    { name: 'entry', heading: 'entry', is: 'number', isMore: true },
  ],
  rows: ({ acts, people, changes }) =>
    acts.all.map(({ entry, time, act, actor, subject, detail, outcome, signers }) => {
      const made = outcome?.subject ?? subject;
      const { owner, key, keys = key === undefined ? [] : [key], recovery, grant } = made;
      const isTogether = SIGNED_TOGETHER.has(act);
      const signedBy = isTogether ? (signers ?? []) : [actor];
      return {
        cells: {
          ...{ time, act, signedBy, control: controlOf(isTogether, signers), actor, owner, keys, recovery },
          outcome: outcomeInWords(outcome),
          version: act === policyAct ? Number(detail['version']) : undefined,
          changes: changes.get(entry),
          department: people.departmentOf(owner ?? ''),
          ...{ grant, entry },
        },
        about: {
          ...(owner === undefined ? {} : { owners: [owner] }),
          ...{ people: [...new Set([actor, ...signedBy])], keys },
        },
      };
    }),
  notes: (_reading, rows) =>
    rows.some(({ cells }) => cells['control'] === UNKNOWN)
      ? [
          'not known: nobody has listed the administrators before the first policy; name them by --administrators FILE',
        ]
      : [],
};

const UNKNOWN = 'not known';

function controlOf(isTogether: boolean, signers: readonly string[] | undefined): string {
  if (!isTogether) return 'one person';
  if (signers === undefined) return UNKNOWN;
  return signers.length > 1 ? `${signers.length} people` : 'one person';
}

/** What nobody does for themselves alone. */
function isOfOffice({ act, actor, subject }: Entry): boolean {
  const isOwnKey = (act === 'key.generate' || act === 'key.import') && subject.owner === actor;
  return (
    !isOwnKey &&
    !OTHERWISE.has(act) &&
    !act.startsWith('grant.sign') &&
    !act.startsWith('grant.decrypt') &&
    !act.endsWith('.read')
  );
}
