import type { TokenObject, UnwrapTemplate, Use } from './terms.js';
import { object, privateHalf, USES } from './terms.js';

/** The depositaries: any two of them are a quorum. */
export const DEPOSITARIES = [1, 2, 3] as const;
export type Depositary = (typeof DEPOSITARIES)[number];
export const depositaryPair = (i: Depositary): string => `depositary ${i}`;
export const serverPair = (i: Depositary): string => `server-for ${i}`;

/** A pair that signs and a secret key that decrypts: the two classes of key there are, and two uses. */
export const KEYS = { pair: { use: 'sign' }, secret: { use: 'decrypt' } } as const;
export type Key = keyof typeof KEYS;
export const PURPOSES = ['operate', 'release'] as const;
export type Purpose = (typeof PURPOSES)[number];

/** Which of the checks are switched off. */
export interface Off<in Check extends string> {
  readonly has: (check: Check) => boolean;
}

/** What the token is made to refuse by how its keys are made. */
export type TokenCheck =
  | 'operate-private'
  | 'operate-class'
  | 'operate-sensitive'
  | 'operate-unextractable'
  | 'operate-uses'
  | 'operate-frozen'
  | 'kek-of-each-purpose'
  | 'release-untrusted'
  | 'rotate-class'
  | 'rotate-private'
  | 'rotate-sensitive'
  | 'rotate-trusted-only'
  | 'trusted-wrap-local-only';

/** The KEK under which a key lies: one for each purpose, and there one for each class and use. */
export function kekOf(key: Key, purpose: Purpose, version: number, off: Off<TokenCheck>): string {
  const of = off.has('kek-of-each-purpose') ? 'any purpose' : purpose;
  return `kek ${of} ${key} v${version}`;
}

const usesBut = (...allowed: readonly Use[]): readonly Use[] => USES.filter((use) => !allowed.includes(use));

/** The long-lived objects of the token, as the ceremony makes them. */
export function ceremony(version: number, rotates: boolean, off: Off<TokenCheck>): readonly TokenObject[] {
  return [
    ...DEPOSITARIES.flatMap((i) => pairsOf(i, off)),
    ...keks('pair', version, rotates, off),
    ...keks('secret', version, rotates, off),
  ];
}

function pairsOf(i: Depositary, off: Off<TokenCheck>): readonly TokenObject[] {
  const trusted = {
    kind: 'public',
    uses: ['wrap'],
    trusted: true,
    wrapsLocalOnly: !off.has('trusted-wrap-local-only'),
  } as const;
  const opensOnly = {
    token: false,
    isPrivate: true,
    sensitive: true,
    extractable: false,
    frozen: true,
    never: usesBut('decrypt'),
  } as const;
  return [
    object({ value: depositaryPair(i), ...trusted }),
    object({ value: serverPair(i), ...trusted }),
    object({
      value: privateHalf(serverPair(i)),
      kind: 'private',
      uses: ['unwrap'],
      unwrapTemplate: opensOnly,
    }),
  ];
}

function keks(key: Key, version: number, rotates: boolean, off: Off<TokenCheck>): readonly TokenObject[] {
  const kek = { kind: 'secret', uses: ['wrap', 'unwrap'] } as const;
  const kind = key === 'pair' ? 'private' : 'secret';
  const operate: UnwrapTemplate = {
    ...(off.has('operate-class') ? {} : { kind }),
    ...(off.has('operate-private') ? {} : { isPrivate: true }),
    ...(off.has('operate-sensitive') ? {} : { sensitive: true }),
    ...(off.has('operate-unextractable') ? {} : { extractable: false }),
    ...(off.has('operate-frozen') ? {} : { frozen: true }),
    ...(off.has('operate-uses') ? {} : { never: usesBut(KEYS[key].use) }),
  };
  const release: UnwrapTemplate = { kind, token: false, isPrivate: true, sensitive: true, never: USES };
  const rotate: UnwrapTemplate = {
    ...(off.has('rotate-class') ? {} : { kind }),
    ...(off.has('rotate-private') ? {} : { isPrivate: true, token: false }),
    ...(off.has('rotate-sensitive') ? {} : { sensitive: true }),
    ...(off.has('rotate-trusted-only') ? {} : { wrapWithTrusted: true }),
    extractable: true,
    frozen: true,
    never: USES,
  };
  const operateKek = kekOf(key, 'operate', version, off);
  const isRotating = { value: operateKek, kind: 'secret', uses: ['unwrap'], unwrapTemplate: rotate } as const;
  return [
    object({ ...kek, value: operateKek, unwrapTemplate: operate, trusted: rotates }),
    object({
      ...kek,
      value: kekOf(key, 'release', version, off),
      unwrapTemplate: release,
      trusted: off.has('release-untrusted'),
    }),
    ...(rotates ? [object(isRotating)] : []),
  ];
}
