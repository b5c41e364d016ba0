import { hash } from 'node:crypto';

import type { Escrow, OperateCall } from '../escrow.js';
import { actorOf } from '../escrow.js';
import { sha256Hex } from '../records/digests.js';
import type { ErrorCode } from '../records/errors.js';
import { EscrowError } from '../records/errors.js';
import type { Grant } from '../records/grant.js';
import type { GrantId } from '../records/ids.js';
import type { Outcome, Recorded } from '../ledger/act.js';
import type { AsOf } from '../logged/logFacts.js';
import { CameToNothing } from '../ledger/act.js';
import type { DecryptMechanism, Mechanism, SignMechanism } from '../records/mechanisms.js';
import { DIGEST_BYTES, MECHANISMS, signs } from '../records/mechanisms.js';
import type { Claim } from '../ports/journal.js';
import type { DecryptInput } from '../ports/token.js';
import { loggedFor } from '../rules/rules.js';
import { endOf } from '../rules/liveGrant.js';
import { type NamedGrant, usableGrant } from '../checks/usableGrant.js';

/** A use of a key on its owner's behalf. */
type UseOrder = NamedGrant & {
  readonly mechanism: Mechanism;
  /** What the use is for, in the app's words; it stands in the log. */
  readonly context?: string;
};

/** What an app wants signed: messages, or digests where the grant allows them. */
export type SignOrder = UseOrder & {
  readonly inputs: { readonly kind: 'message' | 'digest'; readonly items: readonly Uint8Array[] };
};

/** What an app wants decrypted. */
export type DecryptOrder = UseOrder & {
  readonly inputs: readonly DecryptInput[];
};

/** Results in the order of the inputs, and the uses that were left when this act had taken its own. */
export interface Used {
  readonly grant: GrantId;
  readonly outputs: readonly Uint8Array[];
  readonly remaining: number;
}

/**
 * Signs on the owner's behalf. One use for each input, counted durably before the token is used; a use that then
 * fails stays counted.
 *
 * @throws EscrowError `grant-unknown`, `forbidden`, `grant-revoked`, `grant-not-started`, `grant-expired`,
 *   `record-mismatch`, `grant-exhausted`, `grant-rate-exceeded`, `operation-not-granted`, `request-malformed` (a digest of the wrong
 *   length), `token-unavailable`, `token-object-missing` (the grant is not in the token). What is begun and comes to nothing is
 *   `failed` in the log, with how many were `made`, and none of them is answered.
 */
export function signWithGrant(escrow: Escrow, call: OperateCall, order: SignOrder): Promise<Recorded<Used>> {
  const { mechanism, inputs } = order;
  const usable = usableGrant(escrow, call, { ...order, operation: 'sign', input: inputs.kind });
  return escrow.ledger.perform({
    act: 'grant.sign',
    actor: actorOf(call),
    decide: async (about) => {
      const grant = await usable(inputs.items.length, about);
      if (!signs(mechanism)) throw new EscrowError('operation-not-granted');
      if (inputs.kind === 'digest') checkDigests(mechanism, inputs.items);
      return {
        detail: { mechanism, input: inputs.kind, inputs: inputs.items.map(sha256Hex), ...contextOf(order) },
        claims: [countUses(escrow, grant.id, inputs.items.length)],
        plan: { grant, mechanism },
        ...loggedFor(call.policy, [{ ...grant, use: 'sign' }]),
      };
    },
    run: (lent, { grant, mechanism: name }, asOf) =>
      use(escrow, { grant, order }, asOf, async (made) => {
        const data =
          inputs.kind === 'digest' ? inputs.items : inputs.items.map((item) => toBeSigned(name, item));
        await lent.sign(grant.id, grant.spec, name, data, made);
      }),
  });
}

/**
 * Decrypts on the owner's behalf. Uses are counted as in {@link signWithGrant}.
 *
 * @throws EscrowError as {@link signWithGrant}, and `ciphertext-invalid`.
 */
export function decryptWithGrant(
  escrow: Escrow,
  call: OperateCall,
  order: DecryptOrder,
): Promise<Recorded<Used>> {
  const { mechanism, inputs } = order;
  const usable = usableGrant(escrow, call, { ...order, operation: 'decrypt' });
  return escrow.ledger.perform({
    act: 'grant.decrypt',
    actor: actorOf(call),
    decide: async (about) => {
      const grant = await usable(inputs.length, about);
      if (signs(mechanism)) throw new EscrowError('operation-not-granted');
      const name: DecryptMechanism = mechanism;
      return {
        detail: {
          mechanism,
          inputs: inputs.map(({ ciphertext }) => sha256Hex(ciphertext)),
          ...contextOf(order),
        },
        claims: [countUses(escrow, grant.id, inputs.length)],
        plan: { grant, mechanism: name },
        ...loggedFor(call.policy, [{ ...grant, use: 'decrypt' }]),
      };
    },
    run: (lent, { grant, mechanism: name }, asOf) =>
      use(escrow, { grant, order }, asOf, async (made) => {
        for (const input of inputs) {
          const plain = await lent.decrypt(grant.id, grant.spec, name, input);
          if ('refused' in plain) throw new EscrowError('ciphertext-invalid');
          made(plain.opened);
        }
      }),
  });
}

function checkDigests(mechanism: SignMechanism, digests: readonly Uint8Array[]): void {
  const { digest } = MECHANISMS[mechanism];
  if (digest === undefined) throw new EscrowError('operation-not-granted');
  if (digests.some((item) => item.length !== DIGEST_BYTES[digest])) {
    throw new EscrowError(
      'request-malformed',
      `${mechanism} signs digests of ${DIGEST_BYTES[digest]} bytes.`,
    );
  }
}

function countUses(escrow: Escrow, grant: GrantId, uses: number): Claim {
  return { claim: 'uses-counted', grant, uses, at: escrow.clock.now() };
}

/** The digest of a message, or the message itself where the mechanism hashes by itself (RFC 8032). */
function toBeSigned(mechanism: SignMechanism, message: Uint8Array): Uint8Array {
  const { digest } = MECHANISMS[mechanism];
  return digest === undefined ? message : hash(digest, message, 'buffer');
}

async function use(
  escrow: Escrow,
  { grant, order }: { readonly grant: Grant; readonly order: UseOrder },
  { usesLeft = 0 }: AsOf,
  each: (made: (output: Uint8Array) => void) => Promise<void>,
): Promise<Outcome<Used>> {
  const outputs: Uint8Array[] = [];
  try {
    await each((output) => outputs.push(output));
  } catch (error) {
    throw await cutShort(escrow, { grant: grant.id, order, made: outputs.length }, error);
  }
  return {
    // again, since the owner is told by the outcome
    detail: { uses: outputs.length, ...contextOf(order) },
    digest: sha256Hex(Buffer.concat(outputs)),
    changes: [],
    answer: { grant: grant.id, outputs, remaining: usesLeft },
  };
}

/** What speaks against an input, and is found before the token has done anything with the key for it. */
const OF_THE_INPUT: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'ciphertext-invalid',
  'mechanism-unsupported',
  'operation-not-granted',
  'request-malformed',
  'request-too-large',
]);

/** Use of a key that was begun has failed, whatever ended it: its entry says how many were made. */
async function cutShort(
  escrow: Escrow,
  { grant, order, made }: { readonly grant: GrantId; readonly order: UseOrder; readonly made: number },
  error: unknown,
): Promise<EscrowError> {
  const why = await reasonOf(escrow, grant, error);
  const isRefused = made === 0 && OF_THE_INPUT.has(why.code);
  return isRefused ? why : new CameToNothing(why, { detail: { made, ...contextOf(order) }, changes: [] });
}

function contextOf({ context }: UseOrder): { readonly context?: string } {
  return context === undefined ? {} : { context };
}

/** A grant that was ended under a use in progress: that is the answer, not the token's complaint about it. */
async function reasonOf(escrow: Escrow, id: GrantId, error: unknown): Promise<EscrowError> {
  if (!(error instanceof EscrowError)) return new EscrowError('internal', undefined, { cause: error });
  if (error.code !== 'token-unavailable' && error.code !== 'token-object-missing') return error;
  const grant = await escrow.store.findGrant(id).catch(() => undefined);
  const ended =
    grant === undefined || grant.status === 'active' ? undefined : endOf(grant, escrow.clock.now());
  return ended === undefined ? error : new EscrowError(ended, undefined, { cause: error });
}
