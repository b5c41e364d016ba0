import { fixedPrivateKey, testKeyOf } from '../../log/noteKeys.js';

export const ORIGIN = 'escrow.example.com/log';
/** The key of the company's log, the same each time. */
export const LOG_KEY = testKeyOf(ORIGIN, fixedPrivateKey('company log'));
