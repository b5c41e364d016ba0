import { createHash } from 'node:crypto';

import { canonicalJson } from '../../../log/entry/canonical.js';
import { type Binding, type Deposit, type PurposeDeposit, brakesOf } from '../deposit.js';
import { canonicalHash, sha256Hex } from '../digests.js';
import type { KeyId } from '../ids.js';
import type { KeySpec, KeyUse } from '../keySpecs.js';
import { type Brakes, type Purpose, repliesOf } from '../policy.js';

/** Of what, for what and by which rule a key was deposited, as far as depositaries rely on it. */
export interface DepositTerms extends Brakes {
  readonly owner: string;
  readonly label: string;
  readonly spec: KeySpec;
  readonly use: KeyUse;
  /** DER SubjectPublicKeyInfo; undefined for symmetric keys. */
  readonly publicKey: Uint8Array | undefined;
  /** Of a secret alone. */
  readonly checkValue?: Uint8Array | undefined;
  /** Whether the key was imported, and not born in the token. */
  readonly bornOutside: boolean;
  readonly requesters: readonly string[];
  readonly quorums: readonly (readonly string[])[];
  /** To whose key each share was encrypted: SHA-256 (hex) of its DER SubjectPublicKeyInfo. */
  readonly recipients: readonly { readonly depositary: string; readonly fingerprint: string }[];
}

/** SHA-256 (hex) of the terms of a deposit for one purpose. */
export function termsHash(terms: DepositTerms): string {
  return canonicalHash({
    version: 1,
    owner: terms.owner,
    label: terms.label,
    spec: terms.spec,
    use: terms.use,
    publicKey: terms.publicKey === undefined ? null : sha256Hex(terms.publicKey),
    ...(terms.checkValue === undefined ? {} : { checkValue: sha256Hex(terms.checkValue) }),
    bornOutside: terms.bornOutside,
    requesters: terms.requesters,
    delayMs: terms.delayMs,
    ownerMayVeto: terms.ownerMayVeto,
    replies: terms.replies ?? 'atOnce',
    quorums: terms.quorums,
    recipients: Object.fromEntries(
      terms.recipients.map(({ depositary, fingerprint }) => [depositary, fingerprint]),
    ),
  });
}

/** What all layers of one key for one purpose are of. */
export interface Layers {
  readonly key: KeyId;
  readonly purpose: Purpose;
  readonly binding: Binding;
  /** See {@link termsHash}; nothing that version 1 is tied to. */
  readonly terms: string;
}

/** Whose link a layer is, or of which quorum it is a layer. */
export type LayerOwner = { readonly depositary: string } | { readonly quorum: readonly string[] };

/**
 * Associated data of a sealed layer: the SHA-256 of canonical JSON. It ties every ciphertext to its place: one that is moved
 * to another key, purpose or quorum does not open; nor, in version 2, for whoever takes the deposit for one of another
 * generation, token or terms.
 */
export function layerContext({ key, purpose, binding, terms }: Layers, owner: LayerOwner): Uint8Array {
  return createHash('sha256')
    .update(
      canonicalJson(
        binding.version === 1
          ? { version: 1, key, purpose, ...owner }
          : { ...binding, key, purpose, terms, ...owner },
      ),
    )
    .digest();
}

/** What the layers of a deposit that is kept are of. */
export function layersOf(deposit: Omit<Deposit, 'digest'>, sealed: PurposeDeposit): Layers {
  const { purpose, shares, quorums } = sealed;
  return layersFor(deposit, purpose, {
    quorums: quorums.map(({ members }) => members),
    recipients: shares.map(({ depositary, recipient }) => ({ id: depositary, fingerprint: recipient })),
  });
}

/** What the layers of a deposit for one purpose are of, when it is sealed to these people. */
export function layersFor(
  deposit: Omit<Deposit, 'digest' | 'purposes' | 'ownersCopy'>,
  purpose: Purpose,
  to: {
    readonly quorums: readonly (readonly string[])[];
    readonly recipients: readonly { readonly id: string; readonly fingerprint: string }[];
  },
): Layers {
  const { key, owner, label, spec, use, publicKey, checkValue, requesters, binding } = deposit;
  const { delayMs, ownerMayVeto, ...rest } = brakesOf(deposit, purpose);
  const terms = termsHash({
    ...{ owner, label, spec, use, publicKey, checkValue, requesters, delayMs, ownerMayVeto },
    bornOutside: deposit.bornOutside === true,
    ...repliesOf(rest),
    quorums: to.quorums,
    recipients: to.recipients.map(({ id, fingerprint }) => ({ depositary: id, fingerprint })),
  });
  return { key, purpose, binding, terms };
}
