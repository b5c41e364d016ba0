import { grantStatus } from './grants.js';
import { type Report, NO_ACTS } from './report.js';

/** Grants that could be used in the period. */
export const grantsReport: Report = {
  name: 'grants',
  summary: 'which apps could use which keys, how often they did, and which still can',
  about:
    'Grants that were open at some time of the period, as they stood at its end. With --open those that were open then, or\n' +
    'had not begun.',
  options: ['isOpen'],
  acts: NO_ACTS,
  columns: [
    { name: 'startsAt', heading: 'from', is: 'instant' },
    { name: 'expiresAt', heading: 'until', is: 'instant' },
    { name: 'app', heading: 'app', is: 'people' },
    { name: 'keys', heading: 'key', is: 'keys' },
    { name: 'owner', heading: 'owner', is: 'people' },
    { name: 'department', heading: 'department', is: 'text', isMore: true },
    { name: 'used', heading: 'used', is: 'number' },
    { name: 'maxUses', heading: 'of', is: 'number' },
    { name: 'status', heading: 'status', is: 'text' },
    { name: 'endedAt', heading: 'ended', is: 'instant', isMore: true },
    { name: 'approvedBy', heading: 'approved by', is: 'people', isMore: true },
    { name: 'requester', heading: 'asked by', is: 'people', isMore: true },
    { name: 'grant', heading: 'grant', is: 'text', isMore: true },
    { name: 'recovery', heading: 'request', is: 'text', isMore: true },
    { name: 'entry', heading: 'entry', is: 'number', isMore: true },
  ],
  rows: ({ grants, requests, people, period: { from = '' } }, { isOpen = false, at }) =>
    grants.all
      .map((grant) => ({ grant, status: grantStatus(grant, at) }))
      .filter(({ grant: { ended, expiresAt }, status }) => {
        if (isOpen) return status === 'open' || status === 'not yet begun';
        return (ended !== undefined && ended.at < expiresAt ? ended.at : expiresAt) >= from;
      })
      .map(({ grant, status }) => {
        const { startsAt, expiresAt, app, key, owner, used, maxUses, recovery, entry } = grant;
        const request = requests.get(recovery);
        return {
          cells: {
            ...{ startsAt, expiresAt, app, keys: [key], owner, used, maxUses, status },
            department: people.departmentOf(owner),
            endedAt: grant.ended?.at,
            approvedBy: request?.approvals.map(({ who }) => who),
            requester: request?.requester,
            ...{ grant: grant.grant, recovery, entry },
          },
          about: { owners: [owner], apps: [app], people: [app], keys: [key] },
        };
      }),
};
