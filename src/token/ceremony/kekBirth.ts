import type { Slot } from 'graphene-pk11';
import type { Handle } from 'pkcs11js';
import pkcs11 from 'pkcs11js';
import type { Template } from '../cryptoki/attributes.js';
import { Dialect } from '../profile/dialect.js';
import type { KekKind, OperateKind } from '../../escrow/records/sealing/keks.js';
import { isOperate, KEK_KINDS, kekLabel, rotatingLabel } from '../../escrow/records/sealing/keks.js';
import type { NewPair } from '../cryptoki/keyPairs.js';
import { Mechanisms } from '../profile/mechanisms.js';
import { findAll, readBytes } from '../objects/objects.js';
import { agreesOnKeks } from '../profile/profile.js';
import { requireKept } from '../objects/unwrapChecked.js';
import { requireNoneInFlight, requireNoWayOut, requireRotates } from './rotation.js';
import type { Pins, CeremonySession } from './ceremonySession.js';
import { asUser, CeremonyRefused, officerThenUser } from './ceremonySession.js';
import { byLabel } from './trustedKeys.js';
import {
  agreementPair,
  kekTemplate,
  rotatingKek,
  trustedKek,
  trustedKekCopy,
  trustedKekInFlight,
} from '../profile/ceremonyTemplates.js';

/**
 * Makes a key-encryption key of each kind, all of this version, and those of operation with their rotating handles, which cannot
 * be made later. Where the token agrees on keys, both come of one ECDH between keys of the token itself, which are
 * destroyed at once: while one lives, the value could be had again, readable. When a step fails, what was made is destroyed.
 *
 * @returns the labels of what was made
 * @throws CeremonyRefused when a trusted key of the token would take a rotating key out
 */
export function makeKeks(
  ceremony: CeremonySession,
  slot: Slot,
  pins: Pins,
  version: number,
): Promise<readonly string[]> {
  const birth = new KekBirth(ceremony, version);
  if (!agreesOnKeks(ceremony.location.profile)) {
    return asUser(slot, pins.userPin, (session) => birth.generate(session.handle));
  }
  return officerThenUser(
    slot,
    pins,
    ({ handle }) => birth.agree(handle),
    ({ handle }, agreed) => birth.settle(handle, agreed),
  );
}

/** As the user: destroys key-encryption keys that were made just now and have sealed nothing. */
export function destroyKeks({ driver }: CeremonySession, session: Handle, labels: readonly string[]): void {
  for (const label of labels) {
    const template = [{ type: pkcs11.CKA_CLASS, value: pkcs11.CKO_SECRET_KEY }, ...byLabel(label)];
    for (const handle of findAll(driver, session, template)) driver.C_DestroyObject(session, handle);
  }
}

/** What the security officer has made in flight: a key of the agreement for each kind, and the trusted KEKs. */
interface Agreed {
  readonly peer: NewPair;
  readonly point: Buffer;
  readonly kinds: readonly {
    readonly kind: KekKind;
    readonly own: NewPair;
    readonly trusted: Handle | undefined;
  }[];
}

class KekBirth {
  readonly #mechanisms: Mechanisms;
  readonly #dialect: Dialect;
  readonly #kwp: number;
  readonly #made: { readonly handle: Handle; readonly label: string }[] = [];

  constructor(
    private readonly ceremony: CeremonySession,
    private readonly version: number,
  ) {
    this.#mechanisms = new Mechanisms(ceremony.location.profile);
    this.#dialect = new Dialect(ceremony.location.profile);
    this.#kwp = this.#mechanisms.number('keyWrapWithPadding');
  }

  /** Without agreement: nothing can be rotated. */
  generate(session: Handle): readonly string[] {
    return this.#orNothing(session, () => {
      for (const kind of KEK_KINDS) {
        const label = kekLabel(kind, this.version);
        const template = kekTemplate(kind, label, this.#kwp);
        const mechanism = this.#mechanisms.plain('aesKeyGen');
        const { driver } = this.ceremony;
        this.#keep(
          session,
          label,
          driver.C_GenerateKey(session, mechanism, this.#dialect.template(template)),
          template,
        );
      }
    });
  }

  /** As the security officer, who alone makes a key trusted. */
  agree(session: Handle): Agreed {
    const { driver } = this.ceremony;
    const peer = this.#pair(session);
    const [point] = readBytes(driver, session, peer.publicKey, [pkcs11.CKA_EC_POINT]);
    if (point === undefined) throw new CeremonyRefused('The token gave no EC point.');
    const kinds = KEK_KINDS.map((kind) => {
      const own = this.#pair(session);
      const trusted = isOperate(kind)
        ? this.#derive(session, own, point, trustedKekInFlight(kind, this.#kwp))
        : undefined;
      return { kind, own, trusted };
    });
    return { peer, point, kinds };
  }

  /** As the user, in the same session. */
  settle(session: Handle, { peer, point, kinds }: Agreed): readonly string[] {
    const { driver } = this.ceremony;
    return this.#orNothing(session, () => {
      requireNoWayOut(driver, session);
      for (const { kind, own, trusted } of kinds) {
        const label = kekLabel(kind, this.version);
        if (isOperate(kind) && trusted !== undefined)
          this.#settleOperate(session, kind, { own, trusted, point });
        else {
          const template = kekTemplate(kind, label, this.#kwp);
          this.#keep(session, label, this.#derive(session, own, point, template), template);
        }
        this.#destroyPair(session, own);
      }
      this.#destroyPair(session, peer);
      requireNoneInFlight(driver, session);
    });
  }

  #settleOperate(
    session: Handle,
    kind: OperateKind,
    from: { readonly own: NewPair; readonly trusted: Handle; readonly point: Buffer },
  ): void {
    const { driver } = this.ceremony;
    const label = kekLabel(kind, this.version);
    const copy = driver.C_CopyObject(session, from.trusted, this.#dialect.template(trustedKekCopy(label)));
    this.#keep(session, label, copy, trustedKek(kind, label, this.#kwp));
    driver.C_DestroyObject(session, from.trusted);
    const rotating = rotatingLabel(label);
    const template = rotatingKek(kind, rotating, this.#kwp);
    const handle = this.#derive(session, from.own, from.point, template);
    this.#keep(session, rotating, handle, template);
    requireRotates(this.ceremony, session, kind, { kek: copy, rotating: handle });
  }

  #pair(session: Handle): NewPair {
    const mechanism = this.#mechanisms.plain('ecKeyPairGen');
    const { publicKey, privateKey } = this.#dialect.pair(agreementPair(this.#mechanisms.number('ecdh')));
    return this.ceremony.driver.C_GenerateKeyPair(session, mechanism, publicKey, privateKey);
  }

  #derive(session: Handle, own: NewPair, point: Buffer, template: Template): Handle {
    const asked = this.#dialect.template(template);
    return this.ceremony.driver.C_DeriveKey(session, this.#mechanisms.ecdh(point), own.privateKey, asked);
  }

  #destroyPair(session: Handle, { publicKey, privateKey }: NewPair): void {
    const { driver } = this.ceremony;
    for (const handle of [privateKey, publicKey]) driver.C_DestroyObject(session, handle);
  }

  #keep(session: Handle, label: string, handle: Handle, template: Template): void {
    this.#made.push({ handle, label });
    requireKept(this.ceremony.driver, session, handle, this.#dialect.kept(template));
  }

  /** The labels of what `make` has made; nothing of it is left when it fails. What is in flight dies with the session. */
  #orNothing(session: Handle, make: () => void): readonly string[] {
    try {
      make();
      return this.#made.map(({ label }) => label);
    } catch (error) {
      for (const { handle } of this.#made) this.ceremony.driver.C_DestroyObject(session, handle);
      throw error;
    }
  }
}
