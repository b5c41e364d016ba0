import type { Json } from '../../log/entry/canonical.js';
import { findText, unclearText } from '../../log/entry/plainText.js';
import { isPlain } from '../records/freeText.js';
import type { Policy } from '../records/policy.js';
import { DAEMON_ID } from '../records/principals.js';

/**
 * What a policy must not be that is put in force from now on, though one that is in force already may be it: sentences for
 * administrators. Pure; the document is what the policy was read from.
 */
export function newPolicyProblems(document: Json, policy: Pick<Policy, 'principals'>): readonly string[] {
  const unclear = unclearText(document);
  const unseen = findText(document, (text) => !isPlain(text));
  return [
    ...(unclear === undefined
      ? []
      : [`${unclear}: is not in Unicode NFC, or has U+FFFD in place of what was lost`]),
    ...(unseen === undefined ? [] : [`${unseen}: has characters that are not seen`]),
    ...([...policy.principals.keys()].some((id) => id === DAEMON_ID)
      ? [`principals: ${DAEMON_ID} is the daemon's own id in the log, and nobody else's`]
      : []),
  ];
}
