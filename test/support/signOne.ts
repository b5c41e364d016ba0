import type { TokenVerbs } from '../../src/escrow/ports/token.js';
import type { GrantId } from '../../src/escrow/records/ids.js';
import type { KeySpec } from '../../src/escrow/records/keySpecs.js';
import type { SignMechanism } from '../../src/escrow/records/mechanisms.js';

/** One signature by a grant. */
export async function signOne(
  lent: Pick<TokenVerbs, 'sign'>,
  grant: GrantId,
  spec: KeySpec,
  mechanism: SignMechanism,
  data: Uint8Array,
): Promise<Uint8Array> {
  const signatures: Uint8Array[] = [];
  await lent.sign(grant, spec, mechanism, [data], (signature) => signatures.push(signature));
  const [signature] = signatures;
  if (signature === undefined) throw new Error('nothing was signed');
  return signature;
}
