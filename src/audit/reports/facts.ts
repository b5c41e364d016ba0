import { type Json, isJsonObject } from '../../log/entry/canonical.js';
import { parsePrincipalId } from '../../escrow/records/ids.js';
import type { Quorum } from '../../escrow/records/quorum.js';

/** A fact of an entry that is a text; undefined when it is none. */
export function textOf(fact: Json | undefined): string | undefined {
  return typeof fact === 'string' ? fact : undefined;
}

/** The texts of a fact that is a list of such. */
export function textsOf(fact: Json | undefined): readonly string[] {
  return listOf(fact).filter((one) => typeof one === 'string');
}

/** The items of a fact that is a list; none of any other. */
export function listOf(fact: Json | undefined): readonly Json[] {
  return Array.isArray(fact) ? (fact as readonly Json[]) : [];
}

/** The members of a fact that is an object; none of any other. */
export function membersOf(fact: Json | undefined): Readonly<Record<string, Json>> {
  return fact !== undefined && isJsonObject(fact) ? fact : {};
}

/** The quorums of a fact, by the ids of people. */
export function quorumsOf(fact: Json | undefined): readonly Quorum[] {
  return listOf(fact).map((members) => textsOf(members).flatMap((id) => parsePrincipalId(id) ?? []));
}
