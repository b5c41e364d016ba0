import { type CeremonyEvent, type CeremonyRecord, makeRecord } from './record.js';
import { type TokenLocation, asUser, withToken, getSlot } from './ceremonySession.js';

/** Reads what stands in the token now; changes nothing. */
export function show(
  order: TokenLocation & { readonly userPin: Buffer; readonly events: readonly CeremonyEvent[] },
): Promise<CeremonyRecord> {
  return withToken(order, (ceremony) => {
    const slot = getSlot(ceremony);
    const from = { driver: ceremony.driver, profile: order.profile, slot };
    return asUser(slot, order.userPin, (session) => makeRecord(from, session, order.events));
  });
}
