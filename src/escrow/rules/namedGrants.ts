import type { GrantFacts, LogFacts } from '../logged/logFacts.js';
import { EscrowError } from '../records/errors.js';
import { type GrantId, type PrincipalId, idsOf, parseId } from '../records/ids.js';

/** A grant that runs, by what the log says. */
export type RunningGrant = GrantFacts & { readonly id: GrantId };

/**
 * An app's running grants for the key that it calls by its id, or by its label, as far as the log was followed. None where there is
 * none.
 *
 * @throws EscrowError `key-ambiguous`
 */
export function grantsNamed(
  facts: Pick<LogFacts, 'grant' | 'grantsNamed'>,
  app: PrincipalId,
  name: string,
): readonly RunningGrant[] {
  const isKeyId = parseId('KeyId', name) !== undefined;
  const found = idsOf('GrantId', facts.grantsNamed(app, name)).flatMap((id): readonly RunningGrant[] => {
    const grant = facts.grant(id);
    // a label may look like the id of another key
    return grant === undefined || (isKeyId && grant.key !== name) ? [] : [{ ...grant, id }];
  });
  const keys = [...new Set(found.map(({ key }) => key))].sort();
  if (keys.length > 1)
    throw new EscrowError('key-ambiguous', `${keys.length} keys have this label: ${keys.join(', ')}.`);
  return found;
}
