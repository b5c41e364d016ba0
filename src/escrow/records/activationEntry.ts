import type { Json } from '../../log/entry/canonical.js';
import type { Entry } from '../../log/entry/entry.js';
import type { KeyGrant } from './recovery.js';

/** The grants that an attempt to activate was to make, by what its entry says. */
export function grantsNamedIn({ act, detail }: Pick<Entry, 'act' | 'detail'>): readonly string[] {
  const { grants } = detail;
  const isMap = typeof grants === 'object' && grants !== null && !Array.isArray(grants);
  return act === 'recovery.activate' && isMap
    ? Object.values(grants).filter((grant) => typeof grant === 'string')
    : [];
}

/** What an attempt to activate writes down in its entry: the grant of each key. */
export function grantsAsJson(grants: readonly KeyGrant[]): Json {
  return Object.fromEntries(grants.map(({ key, grant }) => [key, grant]));
}
