import type { CeremonyEvent, CeremonyRecord } from './record.js';
import { makeRecord } from './record.js';
import type { TokenPlace } from './table.js';
import { asUser, atTable, getSlot } from './table.js';

/** Reads what stands in the token now; changes nothing. */
export function show(
  order: TokenPlace & { readonly userPin: Buffer; readonly events: readonly CeremonyEvent[] },
): Promise<CeremonyRecord> {
  return atTable(order, (table) => {
    const slot = getSlot(table);
    const from = { driver: table.driver, profile: order.profile, slot };
    return asUser(slot, order.userPin, (session) => makeRecord(from, session, order.events));
  });
}
