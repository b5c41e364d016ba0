import { printable } from '../escrow/records/freeText.js';
import type { Use } from './use.js';

/** As much as a use can say of what it is for: see `context` of an order to sign, in UTF-16 units. */
const LONGEST = 200;

/**
 * What a use is for, as the log has it and the owner is told: which program asked, and what the agent knows of what it wanted, such
 * as a login and its user. Both come from programs: what is not plain text in them is written out.
 */
export function contextOf({ caller, what }: Pick<Use, 'caller' | 'what'>): string {
  const text = printable(`${caller}: ${what}`.normalize('NFC').replaceAll('\ufffd', '?')).replace(
    /\s+/gu,
    ' ',
  );
  if (text.length <= LONGEST) return text;
  // not in the middle of a character
  const cut = text.slice(0, LONGEST - 1);
  return `${/[\ud800-\udbff]$/.test(cut) ? cut.slice(0, -1) : cut}…`;
}
