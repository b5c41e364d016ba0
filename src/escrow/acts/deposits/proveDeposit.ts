import type { TokenVerbs, Wrapped } from '../../ports/token.js';
import type { Deposit, SealedQuorum, ServerForVersion } from '../../records/deposit.js';
import { EscrowError } from '../../records/errors.js';
import type { PrincipalId } from '../../records/ids.js';
import type { Purpose } from '../../records/policy.js';
import { type Layers, layerContext } from '../../records/sealing/layers.js';
import type { Held, Sealed } from '../../records/sealing/sealed.js';

/*
 * Nothing is recorded as deposited that does not come back: before the entry says so, all that the token has made is opened in it
 * again, but for the shares, which their depositaries alone can open (a drill shows those).
 */

type Proving = Pick<TokenVerbs, 'proveWrapped' | 'proveSealed' | 'unwrapLayer' | 'openUnder'>;

/** A link as it was made, and what of it is still in flight. */
export interface MadeLink {
  readonly depositary: PrincipalId;
  readonly shareKey: Held<'share-key'>;
  /** What lies under it: L, to the server's key regarding the depositary. */
  readonly layer: { readonly sealed: Sealed<'server-for'>; readonly version: ServerForVersion };
  readonly link: Sealed<'share-key'>;
}

/** The key comes out from under its key-encryption key as the one that was made. @throws EscrowError `token-unavailable` */
export async function proveMade(
  lent: Pick<Proving, 'proveWrapped'>,
  made: Held<'user-key'>,
  wrapped: Wrapped,
  of: Pick<Deposit, 'spec' | 'use' | 'publicKey' | 'checkValue'> & { readonly purpose: Purpose },
): Promise<void> {
  const { purpose, spec, use, publicKey, checkValue } = of;
  const order = { wrapped, purpose, spec, use, publicKey, checkValue, made };
  if ('refused' in (await lent.proveWrapped(order))) throw notProven(`the key under ${wrapped.kek}`);
}

/**
 * Each link is what its share opens, each layer comes back by the server's key regarding its depositary, and each sealed copy is peeled
 * by those layers, down to the key under its key-encryption key. What came out is overwritten.
 * @throws EscrowError `token-unavailable`, `token-object-missing`
 */
export async function proveSealing(
  lent: Pick<Proving, 'proveSealed' | 'unwrapLayer' | 'openUnder'>,
  of: Layers,
  wrapped: Wrapped,
  { links, quorums }: { readonly links: readonly MadeLink[]; readonly quorums: readonly SealedQuorum[] },
): Promise<void> {
  const layers = new Map<PrincipalId, Held<'layer-key'>>();
  for (const { depositary, shareKey, layer, link } of links) {
    const aad = layerContext(of, { depositary });
    const linked = await lent.proveSealed(shareKey, { inner: layer.sealed, aad, outer: link });
    if ('refused' in linked) throw notProven(`the link of ${depositary}`);
    const back = await lent.unwrapLayer({ depositary, version: layer.version }, layer.sealed);
    if ('refused' in back) throw notProven(`the layer of ${depositary}`);
    layers.set(depositary, back.opened);
  }
  for (const { members, sealed } of quorums) {
    const aad = layerContext(of, { quorum: members });
    const what = `the copy sealed for ${members.join(' and ')}`;
    let rest = sealed;
    for (const [position, member] of members.entries()) {
      const layer = layers.get(member);
      if (layer === undefined) throw new EscrowError('internal');
      if (position < members.length - 1) {
        rest = openedOr(what, await lent.openUnder(layer, rest, aad, 'layer-key'));
        continue;
      }
      const core = openedOr(what, await lent.openUnder(layer, rest, aad, 'kek'));
      const isSame = Buffer.compare(core, wrapped.sealed) === 0;
      core.fill(0);
      if (!isSame) throw notProven(what);
    }
  }
}

function openedOr<T>(what: string, answer: { readonly opened: T } | { readonly refused: true }): T {
  if ('refused' in answer) throw notProven(what);
  return answer.opened;
}

/** The token works, and has made something that it does not open. */
function notProven(what: string): EscrowError {
  return new EscrowError(
    'token-unavailable',
    `The token does not open again what it has just sealed: ${what}. Nothing of it was kept.`,
    { cause: new Error(`not proven: ${what}`) },
  );
}
