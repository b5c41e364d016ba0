import type { Handle, PKCS11 } from 'pkcs11js';
import pkcs11 from 'pkcs11js';
import { isOtherKey, mayBeCiphertext } from '../cryptoki/faults.js';
import { Dialect } from '../profile/dialect.js';
import { type OperateKind, readKekLabel } from '../../escrow/records/sealing/keks.js';
import { rotatingUser } from '../profile/keks.js';
import { Mechanisms } from '../profile/mechanisms.js';
import { findAll } from '../objects/objects.js';
import { userPair, userSecret } from '../profile/templates.js';
import { trustedKeys, unboundedTrustedKeys } from '../objects/depositaries.js';
import { type CeremonySession, CeremonyRefused } from './ceremonySession.js';

/**
 * A key that comes out of a rotating handle goes out again under any trusted key that takes it. So before such a handle is
 * made: of the trusted keys only the KEKs of operation take what was not made in the token. Throws {@link CeremonyRefused}.
 */
export function requireNoWayOut(driver: PKCS11, session: Handle): void {
  const others = trustedKeys(driver, session, pkcs11.CKO_SECRET_KEY).filter(
    ({ label }) => readKekLabel(label)?.purpose !== 'operate',
  );
  const open = [...unboundedTrustedKeys(driver, session), ...others];
  if (open.length === 0) return;
  const labels = open.map(({ label }) => label).join(', ');
  throw new CeremonyRefused(
    `These trusted keys take any key, so one that can be rotated would get out under them: ${labels}. Destroy them first.`,
  );
}

/** The keys of an agreement are gone: while one lives, what was agreed can be had again, readable. */
export function requireNoneInFlight(driver: PKCS11, session: Handle): void {
  const inFlight = [
    { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_PRIVATE_KEY },
    { type: pkcs11.CKA_TOKEN, value: false },
  ];
  if (findAll(driver, session, inFlight).length > 0)
    throw new CeremonyRefused('The token keeps a key of the agreement that it was told to destroy.');
}

/** A key made here goes under the KEK, out by its rotating handle, and under the KEK again, and is the same. */
export function requireRotates(
  ceremony: CeremonySession,
  session: Handle,
  kind: OperateKind,
  { kek, rotating }: { readonly kek: Handle; readonly rotating: Handle },
): void {
  if (withProbe(ceremony, session, { kind, kek }, (comesOutOf) => comesOutOf(rotating))) return;
  throw new CeremonyRefused(`The rotating handle of kek:${kind} is another key than the KEK.`);
}

/** Those of these handles that have the value of a KEK, whatever they are called: by them as by its rotating handle a key comes out. */
export function rotatingWithValueOf(
  ceremony: CeremonySession,
  session: Handle,
  of: { readonly kind: OperateKind; readonly kek: Handle },
  handles: readonly Handle[],
): readonly Handle[] {
  if (handles.length === 0) return [];
  return withProbe(ceremony, session, of, (comesOutOf) =>
    handles.filter((handle) => {
      try {
        return comesOutOf(handle);
      } catch (error) {
        if (!isOtherKey(error) && !mayBeCiphertext(error)) throw error;
        return false;
      }
    }),
  );
}

/** Makes a key and puts it under the KEK; `use` is given whether a handle brings that same key out. Nothing of it stays. */
function withProbe<T>(
  { driver, location }: CeremonySession,
  session: Handle,
  { kind, kek }: { readonly kind: OperateKind; readonly kek: Handle },
  use: (comesOutOf: (rotating: Handle) => boolean) => T,
): T {
  const mechanisms = new Mechanisms(location.profile);
  const dialect = new Dialect(location.profile);
  const kwp = mechanisms.plain('keyWrapWithPadding');
  const wrap = (key: Handle): Buffer =>
    Buffer.from(driver.C_WrapKey(session, kwp, kek, key, Buffer.alloc(1024)));
  const spec = kind === 'operate:secret' ? 'aes-256' : 'ec-p256';
  const scrap: Handle[] = [];
  const make = (): Handle => {
    const mechanism = mechanisms.generation(spec);
    if (spec === 'aes-256')
      return driver.C_GenerateKey(session, mechanism, dialect.template(userSecret(kwp.mechanism)));
    const { publicKey, privateKey } = dialect.pair(userPair(spec, kwp.mechanism));
    const pair = driver.C_GenerateKeyPair(session, mechanism, publicKey, privateKey);
    scrap.push(pair.publicKey);
    return pair.privateKey;
  };
  try {
    const key = make();
    scrap.push(key);
    const before = wrap(key);
    const template = dialect.unwrapping(rotatingUser(kind, spec));
    return use((rotating) => {
      const back = driver.C_UnwrapKey(session, kwp, rotating, before, template);
      scrap.push(back);
      return wrap(back).equals(before);
    });
  } finally {
    for (const handle of scrap) driver.C_DestroyObject(session, handle);
  }
}
