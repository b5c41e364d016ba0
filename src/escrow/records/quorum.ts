import type { PrincipalId } from './ids.js';

/** A set of people who suffice, sorted. */
export type Quorum = readonly PrincipalId[];
