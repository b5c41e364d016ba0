import type { FollowedLog, GrantFacts } from '../logged/logFacts.js';
import { EscrowError } from '../records/errors.js';
import { type GrantId, type PrincipalId, idsOf, parseId } from '../records/ids.js';

/**
 * An app's running grants for the key that it calls by its id, or by its label, as the log was followed. None where there is none.
 *
 * @throws EscrowError `key-ambiguous`, `log-unavailable`
 */
export async function grantsNamed(
  { followed }: { readonly followed: FollowedLog },
  app: PrincipalId,
  name: string,
): Promise<readonly (GrantFacts & { readonly id: GrantId })[]> {
  const isKeyId = parseId('KeyId', name) !== undefined;
  const running = (): readonly (GrantFacts & { readonly id: GrantId })[] =>
    idsOf('GrantId', followed.facts.grantsNamed(app, name)).flatMap((id) => {
      const facts = followed.facts.grant(id);
      // a label may look like the id of another key
      return facts === undefined || (isKeyId && facts.key !== name) ? [] : [{ ...facts, id }];
    });
  // another daemon may have made it just now
  if (running().length === 0) await followed.caughtUp();
  const found = running();
  const keys = [...new Set(found.map(({ key }) => key))].sort();
  if (keys.length > 1)
    throw new EscrowError('key-ambiguous', `${keys.length} keys have this label: ${keys.join(', ')}.`);
  return found;
}
