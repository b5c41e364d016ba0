import type { BelievedRecovery } from './believedRecovery.js';

/** A believed request to which replies may go now. Only {@link believeDue} makes one, and only such a one can be approved. */
export type DueRecovery = BelievedRecovery & { readonly [due]: true };
export declare const due: unique symbol;
