import { IdHistory } from '../../../src/escrow/rules/idHistory.js';
import type { Policy } from '../../../src/escrow/records/policy.js';
import type { Principal } from '../../../src/escrow/records/principals.js';
import { principal } from '../../support/escrowChain.js';

type Listed = Partial<Omit<Principal, 'id' | 'keys'>> & { readonly keys?: readonly string[] };

/** A policy of these people; keys are given by their thumbprints. */
function policyOf(version: number, people: Readonly<Record<string, Listed>>): Policy {
  const principals = Object.entries(people).map(([name, listed]): Principal => {
    const id = principal(name);
    const keys = (listed.keys ?? [`key of ${name}`]).map(
      (thumbprint) => ({ jwk: {}, alg: 'ES256', thumbprint }) as const,
    );
    const usual = { kind: 'person', name, roles: [], attributes: {}, retired: false } as const;
    return {
      id,
      ...usual,
      certificates: [],
      depositaryKey: undefined,
      deliveryKey: undefined,
      returns: undefined,
      ...listed,
      keys,
    };
  });
  return {
    version,
    hash: '',
    administration: { quorum: 2, floor: 2, minimumQuorum: 1 },
    principals: new Map(principals.map((one) => [one.id, one])),
    rules: [],
  };
}

const withDana = policyOf(1, {
  ann: {},
  dana: { depositaryKey: 'share key of dana', certificates: ['certificate of dana'] },
});
const withoutDana = policyOf(2, { ann: {} });
const history = new IdHistory(withDana, withoutDana);
const problem = (people: Readonly<Record<string, Listed>>): string | undefined =>
  history.problem(withoutDana, policyOf(3, people));

test('an id that was removed is not given to another person, with whatever key', () => {
  expect(problem({ ann: {}, dana: { keys: ['another key'] } })).toMatch(/dana was listed until version 1/);
  expect(problem({ ann: {}, dana: {} })).toMatch(/returns: 1/);
});

test('an id comes back when the document says that it is the same person, and since when it was gone', () => {
  expect(problem({ ann: {}, dana: { returns: 1 } })).toBeUndefined();
  expect(problem({ ann: {}, dana: { returns: 0 } })).toMatch(/listed until version 1/);
  expect(problem({ ann: {}, gus: { returns: 1 } })).toMatch(/never listed/);
});

test('what was said of a return may stay in the documents after it', () => {
  const again = policyOf(3, { ann: {}, dana: { returns: 1 } });
  const later = new IdHistory(withDana, withoutDana, again);
  expect(later.problem(again, policyOf(4, { ann: {}, dana: { returns: 1 } }))).toBeUndefined();
});

test('a person does not become an app', () => {
  expect(problem({ ann: { kind: 'app' } })).toMatch(/ann was a person/);
});

test('a key that was once listed for one is never listed for another, though the one is gone', () => {
  expect(problem({ ann: {}, gus: { keys: ['key of dana'] } })).toMatch(/listed for dana/);
  expect(problem({ ann: {}, gus: { depositaryKey: 'share key of dana' } })).toMatch(/listed for dana/);
  expect(problem({ ann: {}, gus: { certificates: ['certificate of dana'] } })).toMatch(/listed for dana/);
});

test('the keys of who stays may change', () => {
  expect(problem({ ann: { keys: ['a new key'] } })).toBeUndefined();
});
