// The `typ` of each kind of signed statement (RFC 8725 section 3.11): who signs one kind has not signed another.
// Those of the log itself stand in src/log/statements.

/** A request to the API, signed by who calls (docs/api.md). */
export const REQUEST_TYPE = 'escrowd-request+jwt';
/** A decision of a depositary: an approval or a denial. */
export const STATEMENT_TYPE = 'escrowd-approval+jwt';
/** A depositary's word that it will approve once the delay is over. */
export const INTENT_TYPE = 'escrowd-intent+jwt';
/** A depositary's word of what came of opening shares, none of which is given away. */
export const DRILL_TYPE = 'escrowd-drill+jwt';
/** An administrator's word that a request is to end. */
export const STOP_TYPE = 'escrowd-stop+jwt';
/** A recipient's word that what was released has come and opens. */
export const CONFIRMATION_TYPE = 'escrowd-confirmation+jwt';
/** A depositary's word that they know their duties. */
export const ACKNOWLEDGEMENT_TYPE = 'escrowd-acknowledgement+jwt';
export const POLICY_SIGNATURE_TYPE = 'escrowd-policy+jwt';
/** By the token's identity key: what a request asks for, and its one-time key. */
export const ATTESTATION_TYPE = 'escrowd-attestation+jwt';
/** By the token's identity key: a one-time key to import under. */
export const IMPORT_TYPE = 'escrowd-import+jwt';
/** By the token's identity key: the terms of a grant. */
export const GRANT_TYPE = 'escrowd-grant+jwt';
/** By the token's identity key: that a history is complete up to a size of the log. */
export const HISTORY_TYPE = 'escrowd-history+jwt';
