import type { HeldKek } from '../ports/token.js';
import type { Deposit } from '../records/deposit.js';
import { EscrowError } from '../records/errors.js';
import { type KekKind, isKekFor, isOperate, kekKindFor, newestKeks } from '../records/sealing/keks.js';
import type { Purpose } from '../records/policy.js';
import type { AskedPurpose } from '../records/recovery.js';
import type { KekRotation, ResealPlan } from '../records/sealing/resealing.js';

/** What a deposit says of a key that decides under which key-encryption keys it can lie. */
export type KeyKind = Pick<Deposit, 'spec' | 'use'>;

/**
 * What can become of a key that lies under a key-encryption key. `newest`: there is no newer one. `rotatable`: there is, and the key
 * can go under that, `to`, when it is sealed anew. `not-rotatable`: there is, and it cannot, since one of the two has no rotating handle.
 * `missing`: the token does not hold it, so that nobody brings the key back by it.
 */
export type KekState =
  { readonly is: 'newest' | 'not-rotatable' | 'missing' } | { readonly is: 'rotatable'; readonly to: string };

/** The names of these. */
export const KEK_STATES = [
  'newest',
  'rotatable',
  'not-rotatable',
  'missing',
] as const satisfies readonly KekState['is'][];

/** What can become of a key of this kind, deposited for this purpose under `kek`, by what the token holds. Pure. */
export function kekStateOf(
  kek: string,
  { purpose, spec, use }: KeyKind & { readonly purpose: Purpose },
  held: readonly HeldKek[],
): KekState {
  const here = held.find(({ label }) => label === kek);
  if (here === undefined) return { is: 'missing' };
  const kind = kekKindFor(purpose, spec, use);
  const to = newestOf(kind, held);
  if (to === undefined || to.label === kek) return { is: 'newest' };
  const canGo = !isOperate(kind) || (here.hasRotatingHandle && to.hasRotatingHandle);
  return canGo ? { is: 'rotatable', to: to.label } : { is: 'not-rotatable' };
}

/** Whether the token does not hold this one; of what is not known nothing is said. */
export function isMissing(kek: string | undefined, held: readonly HeldKek[] | undefined): boolean {
  return kek !== undefined && held !== undefined && !held.some(({ label }) => label === kek);
}

function newestOf(kind: KekKind, held: readonly HeldKek[]): HeldKek | undefined {
  const label = newestKeks(held.map((one) => one.label))[kind];
  return held.find((one) => one.label === label);
}

/**
 * Nobody is asked to agree to what then comes to nothing: the token holds what the key lies under for what is asked. To be sealed anew it is
 * enough that it holds one of both; what lies under the other is sealed anew as it is, and opens nothing.
 *
 * @throws EscrowError `kek-missing`
 */
export function requireKeks(
  { key, purposes }: Pick<Deposit, 'key' | 'purposes'>,
  asked: AskedPurpose,
  held: readonly HeldKek[],
): void {
  const wanted = purposes.filter(({ purpose }) => asked === 'reseal' || purpose === asked);
  const missing = wanted.filter(({ kek }) => !held.some(({ label }) => label === kek));
  if (asked === 'reseal' ? missing.length < wanted.length : missing.length === 0) return;
  const labels = [...new Set(missing.map(({ kek }) => kek))].join(' and ');
  throw new EscrowError('kek-missing', `${key} lies under ${labels}, which the token does not hold.`);
}

/** What is planned for the key-encryption keys of these deposits: all that can be rotated are. In lexical order. */
export function planRotations(
  deposits: readonly Deposit[],
  held: readonly HeldKek[],
): Pick<ResealPlan, 'keks' | 'rotations' | 'unrotated'> {
  const keks = new Set<string>();
  const stuck = new Set<string>();
  const rotations = new Map<string, KekRotation>();
  for (const { spec, use, purposes } of deposits) {
    for (const { purpose, kek } of purposes) {
      const state = kekStateOf(kek, { purpose, spec, use }, held);
      keks.add(kek);
      if (state.is === 'not-rotatable') stuck.add(kek);
      if (state.is === 'rotatable') rotations.set(`${kek} ${state.to}`, { from: kek, to: state.to });
    }
  }
  const inOrder = [...rotations].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, rotation]) => rotation);
  return {
    keks: [...keks].sort(),
    ...(inOrder.length === 0 ? {} : { rotations: inOrder }),
    ...(stuck.size === 0 ? {} : { unrotated: [...stuck].sort() }),
  };
}

/** Under which key-encryption key a plan puts a key of this kind that lies under `kek`: another one, or the same. Pure. */
export function plannedKek(
  { rotations = [] }: Pick<ResealPlan, 'rotations'>,
  kek: string,
  { purpose, spec, use }: KeyKind & { readonly purpose: Purpose },
): string {
  const kind = kekKindFor(purpose, spec, use);
  return rotations.find(({ from, to }) => from === kek && isKekFor(to, kind))?.to ?? kek;
}
