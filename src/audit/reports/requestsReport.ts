import { type About, type Report, type Row, NO_ACTS } from './report.js';
import type { Decided, RequestFacts, RequestStatus } from './requests.js';

const OPEN: ReadonlySet<string> = new Set(['pending', 'approved']);

/** Requests to recover of which something was done in the period. */
export const requestsReport: Report = {
  name: 'requests',
  summary: 'requests to recover: who asked, who approved, what came of it',
  about:
    'Requests that were filed in the period, or about which something was done in it, as they stood at its end.\n' +
    'With --open those that were waiting then, whenever they were filed.',
  options: ['isOpen'],
  acts: NO_ACTS,
  columns: [
    { name: 'filedAt', heading: 'filed', is: 'instant' },
    { name: 'requester', heading: 'asked by', is: 'people' },
    { name: 'owner', heading: 'owner', is: 'people' },
    { name: 'department', heading: 'department', is: 'text', isMore: true },
    { name: 'keys', heading: 'keys', is: 'keys' },
    { name: 'purpose', heading: 'for', is: 'text' },
    { name: 'app', heading: 'app', is: 'people', isMore: true },
    { name: 'maxUses', heading: 'uses asked for', is: 'number', isMore: true },
    { name: 'recipient', heading: 'recipient', is: 'people', isMore: true },
    { name: 'approvedBy', heading: 'approved by', is: 'people' },
    { name: 'approvedAt', heading: 'approved at', is: 'instant', isMore: true },
    { name: 'deniedBy', heading: 'denied by', is: 'people', isMore: true },
    { name: 'deniedAt', heading: 'denied at', is: 'instant', isMore: true },
    { name: 'status', heading: 'status', is: 'text' },
    { name: 'endedAt', heading: 'ended', is: 'instant', isMore: true },
    { name: 'endedBy', heading: 'ended by', is: 'people', isMore: true },
    { name: 'reason', heading: 'reason', is: 'written', isMore: true },
    { name: 'recovery', heading: 'request', is: 'text', isMore: true },
    { name: 'entry', heading: 'entry', is: 'number', isMore: true },
  ],
  rows: ({ requests, period: { from = '' }, people }, { isOpen = false, at }) =>
    requests.all
      .map((request) => ({ request, status: statusAt(request, at) }))
      .filter(({ request, status }) => (isOpen ? OPEN.has(status) : request.touchedAt >= from))
      .map(({ request, status }) => ({
        cells: {
          ...pick(request),
          department: people.departmentOf(request.owner),
          approvedBy: whoOf(request.approvals),
          approvedAt: whenOf(request.approvals),
          deniedBy: whoOf(request.denials),
          deniedAt: whenOf(request.denials),
          status,
          endedAt: request.ended?.at,
          endedBy: request.ended?.who,
        },
        about: aboutRequest(request),
      })),
};

function pick({
  filedAt,
  requester,
  owner,
  keys,
  purpose,
  app,
  maxUses,
  recipient,
  reason,
  recovery,
  entry,
}: RequestFacts): Row['cells'] {
  return { filedAt, requester, owner, keys, purpose, app, maxUses, recipient, reason, recovery, entry };
}

/** By what a request is found: everybody who has had a part in it. */
export function aboutRequest(request: RequestFacts): About {
  const { owner, keys, requester, app, recipient, approvals, denials, ended } = request;
  const apps = app === undefined ? [] : [app];
  return {
    owners: [owner],
    apps,
    keys,
    people: [
      ...[requester, ...apps, ...whoOf(approvals), ...whoOf(denials)],
      ...[recipient, ended?.who].filter((id) => id !== undefined),
    ],
  };
}

/** One that could be decided until some instant is over then, also where nobody has recorded it yet. */
function statusAt({ status, ended, expiresAt }: RequestFacts, at: string): RequestStatus {
  return ended === undefined && status === 'pending' && expiresAt <= at ? 'expired' : status;
}

function whoOf(decided: readonly Decided[]): readonly string[] {
  return decided.map(({ who }) => who);
}

function whenOf(decided: readonly Decided[]): readonly string[] {
  return decided.map(({ at }) => at);
}
