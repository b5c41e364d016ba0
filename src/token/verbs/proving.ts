import { randomBytes } from 'node:crypto';
import { EscrowError } from '../../escrow/records/errors.js';
import type { TokenVerbs } from '../../escrow/ports/token.js';
import { sealed } from '../../escrow/records/sealing/sealed.js';
import { serverForLabel } from '../objects/objectNames.js';
import type { OpenParts } from '../objects/openParts.js';
import { depositVerbs, wrapUnderTrusted } from './deposit.js';
import type { Loan } from './loan.js';
import { recoveryVerbs } from './recovery.js';

/** The verbs that show that what was sealed can be opened, and open nothing that was. */
export type ProvingVerbs = Pick<TokenVerbs, 'proveServerFor'>;

const PROOF_BYTES = 32;

export function provingVerbs(parts: OpenParts, loan: Loan): ProvingVerbs {
  const { generateLayerKey, sealUnder } = depositVerbs(parts, loan);
  const { openUnder, unwrapLayer } = recoveryVerbs(parts, loan);
  return {
    proveServerFor: async (pair) => {
      const layer = await generateLayerKey();
      const label = serverForLabel(pair.depositary, pair.version);
      const wrapped = await wrapUnderTrusted(parts, loan, { label }, loan.handleOf(layer)).catch(missing);
      // no key comes out to be compared: what one of them has sealed the other opens, or they are two
      const proof = randomBytes(PROOF_BYTES);
      const aad = Buffer.from(label);
      const under = await sealUnder(layer, sealed('kek', proof), aad);
      const back = await unwrapLayer(pair, sealed('server-for', wrapped));
      if ('refused' in back) return back;
      const opened = await openUnder(back.opened, under, aad, 'kek');
      if ('refused' in opened || !proof.equals(opened.opened)) return { refused: true };
      return { opened: undefined };
    },
  };
}

function missing(error: unknown): never {
  if (!(error instanceof EscrowError) || error.code !== 'depositary-not-enrolled') throw error;
  throw new EscrowError('token-object-missing', undefined, { cause: error });
}
