import type { KeyObject } from 'node:crypto';

import type { Mechanism, SignMechanism } from '../escrow/records/mechanisms.js';

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

/** One signature that a tool wants. */
export interface Use {
  readonly key: OfferedKey;
  readonly mechanism: SignMechanism;
  readonly input: { readonly kind: 'message' | 'digest'; readonly bytes: Uint8Array };
  /** What is signed, in words for the person who runs the agent. */
  readonly what: string;
  /** Who asks, in words. */
  readonly caller: string;
  /** Aborted when who asks has gone. */
  readonly gone: AbortSignal;
}

/** Why a use was not made: the code of the server's problem, or one of the agent's own. */
export type RefusalCode =
  | 'no-grant'
  | 'request-filed'
  | 'request-open'
  | 'request-denied'
  | 'caller-gone'
  | 'server-unreachable'
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
