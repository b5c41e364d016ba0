import { textOf } from './facts.js';
import { outcomeInWords } from './outcomeInWords.js';
import type { Report } from './report.js';
import { aboutRequest } from './requestsReport.js';

/** Acts by which somebody decides on a request, in words. */
const DECISIONS: ReadonlyMap<string, string> = new Map([
  ['recovery.intend', 'intends to approve'],
  ['recovery.approve', 'approves'],
  ['recovery.deny', 'denies'],
  ['recovery.veto', 'vetoes'],
  ['recovery.withdraw', 'withdraws'],
  ['recovery.cancel', 'cancels'],
  ['recovery.stop', 'stops'],
]);

/** Who decided what. */
export const decisionsReport: Report = {
  name: 'decisions',
  summary: 'who approved, denied, vetoed or stopped what',
  about:
    'Each decision of the period, with the request that it was about. Intents, approvals, denials and stops are signed by\n' +
    'whoever decided; the verifier has checked it.',
  options: [],
  acts: () => ({ begins: ({ act }) => DECISIONS.has(act) }),
  columns: [
    { name: 'time', heading: 'time', is: 'instant' },
    { name: 'who', heading: 'who', is: 'people' },
    { name: 'decision', heading: 'decision', is: 'text' },
    { name: 'outcome', heading: 'outcome', is: 'text' },
    { name: 'requester', heading: 'asked by', is: 'people' },
    { name: 'owner', heading: 'owner', is: 'people' },
    { name: 'department', heading: 'department', is: 'text', isMore: true },
    { name: 'keys', heading: 'keys', is: 'keys' },
    { name: 'purpose', heading: 'for', is: 'text', isMore: true },
    { name: 'app', heading: 'app', is: 'people', isMore: true },
    { name: 'maxUses', heading: 'uses asked for', is: 'number', isMore: true },
    { name: 'recipient', heading: 'recipient', is: 'people', isMore: true },
    { name: 'asked', heading: 'asked because', is: 'written', isMore: true },
    { name: 'reason', heading: 'reason of the decision', is: 'written', isMore: true },
    { name: 'recovery', heading: 'request', is: 'text', isMore: true },
    { name: 'entry', heading: 'entry', is: 'number', isMore: true },
  ],
  rows: ({ acts, requests, people }) =>
    acts.all.map(({ entry, time, act, actor, subject, detail, outcome, signers }) => {
      const request = requests.get(subject.recovery ?? '');
      const { owner = request?.owner, keys = request?.keys ?? [], recovery } = subject;
      const who = signers ?? [actor];
      return {
        cells: {
          ...{ time, who, decision: DECISIONS.get(act), outcome: outcomeInWords(outcome), owner, keys },
          department: people.departmentOf(owner ?? ''),
          ...{ requester: request?.requester, purpose: request?.purpose, app: request?.app },
          ...{ maxUses: request?.maxUses, recipient: request?.recipient, asked: request?.reason },
          ...{ reason: textOf(detail['reason']), recovery, entry },
        },
        // who decided, and not who else has had a part in the request
        about: {
          ...(request === undefined ? { keys } : aboutRequest(request)),
          ...(owner === undefined ? {} : { owners: [owner] }),
          people: who,
        },
      };
    }),
};
