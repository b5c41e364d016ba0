import type { Json } from '../../log/entry/canonical.js';
import type { Entry } from '../../log/entry/entry.js';
import { grantsNamedIn } from '../records/activationEntry.js';
import { quoted } from '../records/freeText.js';
import type { PrincipalId } from '../records/ids.js';
import type { NoticeRequest } from '../records/notice.js';

/* What has happened, and what was asked for, in the words of notices. */

/** What the records say of the request that an entry is about. */
export interface RequestFacts extends NoticeRequest {
  readonly owner: PrincipalId;
  /** Who may approve or deny it, sorted. */
  readonly deciders: readonly PrincipalId[];
  /** What this person gave as the reason for their denial, veto or cancellation; undefined when there is none. */
  readonly reasonOf: (person: string) => string | undefined;
}

/** What has happened to a request, or to the grant that came of it: a sentence without its full stop. */
export function happened(entry: Entry, request: RequestFacts | undefined): string {
  const { actor, subject, act } = entry;
  const id = `Request ${subject.recovery ?? ''}`;
  const grant = `Grant ${subject.grant ?? ''}`;
  const given = request?.reasonOf(actor);
  const because = given === undefined ? '' : `. Reason given: ${quoted(given)}`;
  const status = outcomeOf(entry);
  if (entry.phase !== 'done')
    return `${id} has failed: ${entry.detail['part'] === 'plan' ? OTHER_PLAN : 'what is deposited does not open'}`;
  switch (act) {
    case 'recovery.intend':
      return `${actor} intends to approve request ${subject.recovery ?? ''}${typeof entry.detail['repliesFrom'] === 'string' ? `, which can be approved from ${entry.detail['repliesFrom']} on` : ''}`;
    case 'recovery.approve':
      return `${id} is approved; the last approval was by ${actor}`;
    case 'recovery.deny':
      return `${id} was denied by ${actor}${status === 'denied' ? ' and has ended' : '; it has not ended'}${because}`;
    case 'recovery.veto':
      return `${id} was vetoed by ${actor}${because}`;
    case 'recovery.cancel':
      return `${id} was cancelled by ${actor}${because}`;
    case 'recovery.stop':
      return `${id} was ended by administrators, ${signersInWords(entry)}, handed in by ${actor}${because}`;
    case 'recovery.expire':
      return `${id} has expired`;
    case 'recovery.activate':
      return `${id} was carried out: ${grantsInWords(entry)}`;
    case 'recovery.reseal':
      return `${id} was carried out: ${subject.keys?.length === 1 ? 'the key is' : 'the keys are'} sealed anew, and those before can bring ${subject.keys?.length === 1 ? 'it' : 'them'} back no more by what the server keeps`;
    case 'recovery.supersede':
      return `${id} has ended: a key of it was sealed anew since it was filed`;
    case 'recovery.release':
      return `${id} was carried out: ${subject.keys?.length === 1 ? 'the key was' : 'the keys were'} released to ${actor}`;
    case 'grant.revoke':
      return `${grant} was revoked by ${actor}`;
    default:
      return `${grant} has ended: ${status}`;
  }
}

/** Why keys were not sealed anew. */
const OTHER_PLAN = 'the policy, or the key of somebody, is another by now than it was asked by';

/** The administrators who ended a request. */
function signersInWords({ detail }: Entry): string {
  const { signers } = detail;
  return Array.isArray(signers) ? (signers as readonly Json[]).map(String).join(' and ') : '';
}

/** What came of a request to use keys. */
function grantsInWords(entry: Entry): string {
  const grants = grantsNamedIn(entry);
  return grants.length === 1
    ? `the key can be used under grant ${grants.join('')}`
    : `the keys can be used, each under its grant: ${grants.join(', ')}`;
}

/** What was asked for, in words that follow `asks`. */
export function wish({ purpose, beneficiary, keys }: NoticeRequest): string {
  const labels = keys.map(({ label }) => quoted(label)).join(', ');
  const all = keys.length === 1 ? `the key ${labels}` : `the ${keys.length} keys ${labels}`;
  switch (purpose) {
    case 'operate':
      return `that ${beneficiary ?? ''} may use ${all}`;
    case 'release':
      return `that ${all} be released to ${beneficiary ?? ''}`;
    case 'reseal':
      return `that ${all} be opened and sealed anew, so that those whom the rules name now can bring ${keys.length === 1 ? 'it' : 'them'} back`;
  }
}

/** Where the request or the grant stands after an entry, or the code of what went wrong. */
export function outcomeOf({ act, phase, detail, error }: Entry): string {
  const { status } = detail;
  if (typeof status === 'string') return status;
  if (error !== undefined) return error;
  switch (act) {
    case 'recovery.request':
    case 'recovery.intend':
    case 'recovery.remind':
      return 'pending';
    case 'recovery.activate':
      return 'active';
    case 'recovery.release':
      return 'released';
    case 'recovery.reseal':
      return 'resealed';
    default:
      return phase;
  }
}
