import { EscrowError } from '../../escrow/records/errors.js';
import { type TreeHead, emptyAnchor } from '../../log/anchor.js';
import { putAnchor, readAnchor } from '../objects/anchor.js';
import { type CeremonyRecord, type Continued, continueRecord, requireRecorded } from './record.js';
import { type TokenLocation, asUser, withToken, CeremonyRefused, getSlot } from './ceremonySession.js';

/**
 * Has the token forget the log that it remembers, so that the daemon starts on a database that is shorter, or another.
 * What was remembered stays in the anchor as lost, and the daemon's next start writes that into the log.
 */
export function acceptLoss(
  order: TokenLocation & Continued & { readonly userPin: Buffer },
): Promise<CeremonyRecord> {
  return withToken(order, (ceremony) => {
    if (!order.profile.dataObjects)
      throw new CeremonyRefused(
        'This kind of token remembers nothing of the log: there is nothing to accept.',
      );
    const slot = getSlot(ceremony);
    const { driver } = ceremony;
    return asUser(slot, order.userPin, (session) => {
      requireRecorded(ceremony, session.handle, order.before);
      const lost = remembered(() => readAnchor(driver, session.handle));
      putAnchor(driver, session.handle, { ...emptyAnchor, lost });
      const root = Buffer.from(lost.root).toString('base64');
      const what = `accepted that the log over ${lost.size} entries (root ${root}), which the token remembered, may be lost`;
      return continueRecord({ driver, profile: order.profile, slot }, session, order, what);
    });
  });
}

/** What the token remembers; the empty tree when somebody took that away. */
function remembered(read: () => TreeHead | undefined): TreeHead {
  try {
    const { size, root } = read() ?? emptyAnchor;
    return { size, root };
  } catch (error) {
    if (!(error instanceof EscrowError)) throw error;
    return { size: emptyAnchor.size, root: emptyAnchor.root };
  }
}
