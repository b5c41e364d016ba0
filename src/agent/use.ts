import type { KeyObject } from 'node:crypto';

import type { Operation } from '../escrow/records/keySpecs.js';
import {
  type DecryptMechanism,
  type Mechanism,
  MECHANISMS,
  type SignMechanism,
} from '../escrow/records/mechanisms.js';

/** A deposited key that tools are offered, whether a grant allows its use at the moment or not. */
export interface OfferedKey {
  /** Its id, `key_...`. */
  readonly key: string;
  /** How tools call it. */
  readonly name: string;
  readonly publicKey: KeyObject;
  /** The X.509 certificate of the key (DER), where there is one. */
  readonly certificate: Buffer | undefined;
  /** What is asked for when no grant allows a use; undefined: nothing. */
  readonly request: RequestTerms | undefined;
}

/** What a request says that is filed for a tool. Durations in milliseconds. */
export interface RequestTerms {
  readonly reason: string;
  /** At least the mechanism that the tool asks for is added. */
  readonly mechanisms: readonly Mechanism[];
  readonly input: 'message' | 'digest';
  readonly maxUses: number;
  /** How long the grant lasts, from its activation. */
  readonly durationMs: number;
  /** How long the request can be approved. */
  readonly validForMs: number;
}

interface AnyUse {
  readonly key: OfferedKey;
  /** What is signed or decrypted, in words for the person who runs the agent. */
  readonly what: string;
  /** Who asks, in words. */
  readonly caller: string;
  /** Aborted when who asks has gone. */
  readonly gone: AbortSignal;
}

/** One signature that a tool wants. */
export interface SignUse extends AnyUse {
  readonly mechanism: SignMechanism;
  readonly input: { readonly kind: 'message' | 'digest'; readonly bytes: Uint8Array };
}

/** One plaintext that a tool wants. */
export interface DecryptUse extends AnyUse {
  readonly mechanism: DecryptMechanism;
  readonly input: { readonly kind: 'ciphertext'; readonly bytes: Uint8Array };
}

/** One use of a key that a tool wants: it counts as one of a grant. */
export type Use = SignUse | DecryptUse;

/** What a use does, as a grant names it. */
export function operationOf({ mechanism }: Use): Operation {
  return MECHANISMS[mechanism].use;
}

/** Why a use was not made: the code of the server's problem, or one of the agent's own. */
export type RefusalCode =
  | 'no-grant'
  | 'request-filed'
  | 'request-open'
  | 'request-denied'
  | 'request-over'
  | 'caller-gone'
  | 'server-unreachable'
  | 'answer-lost'
  | 'public-key-wrong'
  | 'signature-wrong'
  | (string & {});

/** A use that was not made. `message` is a sentence for the person who runs the agent, `next` what they can do. */
export class UseRefused extends Error {
  override readonly name = 'UseRefused';

  constructor(
    readonly code: RefusalCode,
    message: string,
    readonly next?: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** What the person who runs the agent is told, as it happens. */
export interface Told {
  readonly event: 'used' | 'refused' | 'asked' | 'decided' | 'withdrawn' | 'closed';
  readonly key?: string;
  readonly grant?: string;
  readonly recovery?: string;
  readonly code?: string;
  readonly remaining?: number;
  readonly sentence: string;
  readonly next?: string;
}
