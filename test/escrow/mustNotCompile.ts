/**
 * What the types of the core refuse. Nothing here runs: `npm run check:types` fails at each line below that compiles after all,
 * since an error that is expected and does not come is one.
 */
import type { ActOrder } from '../../src/escrow/ledger/act.js';
import type { Act, LentFor, MEANS } from '../../src/escrow/ledger/means.js';
import type { Change, Claim } from '../../src/escrow/ports/journal.js';
import type { TokenVerbs } from '../../src/escrow/ports/token.js';
import type { GrantId, KeyId, PrincipalId, RecoveryId } from '../../src/escrow/records/ids.js';
import { parseId } from '../../src/escrow/records/ids.js';
import type { Held, Sealed } from '../../src/escrow/records/sealing/sealed.js';
import { sealed } from '../../src/escrow/records/sealing/sealed.js';

type Attempts = readonly unknown[];
type Run<A extends Act> = ActOrder<A, string, string>['run'];

export const anIdentifierOfOneKindIsNoneOfAnother = (key: KeyId, recovery: RecoveryId): Attempts => [
  key satisfies KeyId & string,
  // @ts-expect-error a key is no principal
  key satisfies PrincipalId,
  // @ts-expect-error a recovery is no grant
  recovery satisfies GrantId,
  // @ts-expect-error a text is no key before it is parsed
  'key_1' satisfies KeyId,
  // @ts-expect-error a text that was parsed may be none
  parseId('KeyId', 'key_1') satisfies KeyId,
];

export const aCiphertextSaysWhoCanOpenIt = (bytes: Uint8Array, share: Sealed<'depositary'>): Attempts => [
  sealed('depositary', bytes) satisfies Sealed<'depositary'>,
  // @ts-expect-error bytes are no ciphertext
  bytes satisfies Sealed<'depositary'>,
  // @ts-expect-error what a depositary opens is no reply to the server
  share satisfies Sealed<'transport'>,
  // @ts-expect-error nobody opens by this
  sealed('host', bytes),
];

export const aKeyInFlightIsAReferenceOfOneKind = (share: Held<'share-key'>): Attempts => [
  share satisfies Held<'share-key'>,
  // @ts-expect-error a share key is no user key
  share satisfies Held<'user-key'>,
  // @ts-expect-error a reference is no bytes
  share satisfies Uint8Array,
];

export const anActNamesNoVerbThatItIsNotLent = (
  use: LentFor<'grant.sign'>,
  decrypt: TokenVerbs['decrypt'],
): Attempts => [
  use.sign satisfies TokenVerbs['sign'],
  // @ts-expect-error to sign is not to decrypt
  use.decrypt,
  // @ts-expect-error it is lent no verb beside
  { sign: use.sign, decrypt } satisfies LentFor<'grant.sign'>,
  (nothing: (typeof MEANS)['recovery.veto']): Attempts => [
    // @ts-expect-error what only takes away is lent nothing
    nothing satisfies readonly ['destroyGrant'],
  ],
  (run: Run<'grant.decrypt'>): Attempts => [
    // @ts-expect-error what the ledger runs for one act it does not run for another
    run satisfies Run<'grant.sign'>,
  ],
  // @ts-expect-error what is not in the table of means is no act
  'key.export' satisfies Act,
];

export const aClaimOrChangeIsOfAKnownKind = (version: number): Attempts => [
  { claim: 'policy-in-force', version } satisfies Claim,
  // @ts-expect-error no journal judges it
  { claim: 'of-tomorrow', version } satisfies Claim,
  // @ts-expect-error no journal makes it
  { change: 'of-tomorrow', version } satisfies Change,
];
