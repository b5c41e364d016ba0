import pkcs11 from 'pkcs11js';
import type { Handle } from 'pkcs11js';
import { quoted } from '../../escrow/records/freeText.js';
import {
  type GrantId,
  type ImportId,
  type PrincipalId,
  type RecoveryId,
  parseId,
} from '../../escrow/records/ids.js';
import type { Mechanism } from '../../escrow/records/mechanisms.js';
import type {
  RaisedGrant,
  RecordedObjects,
  StandingObjects,
  UnaccountedObject,
} from '../../escrow/ports/token.js';
import { isOperate, readKekLabel } from '../../escrow/records/sealing/keks.js';
import { handlesOf, inSlices, labelOf, listed } from './listing.js';
import { readAttribute } from './objectCheck.js';
import { type ObjectName, objectNames, readServerForLabel } from './objectNames.js';
import { RECIPIENTS } from './depositaries.js';
import type { ListedObject } from './objects.js';
import type { OpenParts } from './openParts.js';

/**
 * The classes that are accounted for: what a key or its bytes can be kept in. A public key opens and signs nothing, and of
 * those the token wraps only under what the security officer has marked.
 */
const CLASSES = {
  'secret key': pkcs11.CKO_SECRET_KEY,
  'private key': pkcs11.CKO_PRIVATE_KEY,
  'data object': pkcs11.CKO_DATA,
} as const;
type ClassName = keyof typeof CLASSES;

interface Found extends ListedObject {
  readonly in: ClassName;
}

/** See `Token.unaccounted`. */
export async function unaccountedObjects(
  parts: OpenParts,
  records: (named: StandingObjects) => Promise<RecordedObjects>,
): Promise<readonly UnaccountedObject[]> {
  const objects = await findObjects(parts);
  const partners = await trustedHalves(parts);
  // After looking: a token that is gone finds nothing from then on, and what is not found would be over.
  await parts.health.check();
  const recorded = await records(namedIn(objects));
  const account = new Account(parts, recorded, partners);
  const foreign = await inSlices(parts, objects, (session, object) =>
    account.has(session, object) ? [] : [object],
  );
  return [
    ...foreign.map((object): UnaccountedObject => ({ alarm: 'token-object-foreign', what: inWords(object) })),
    ...twins(objects).map((object): UnaccountedObject => ({
      alarm: 'token-object-twice',
      what: inWords(object),
    })),
  ];
}

async function findObjects(parts: OpenParts): Promise<readonly Found[]> {
  const all: Found[] = [];
  for (const name of Object.keys(CLASSES) as ClassName[])
    all.push(...(await listed(parts, CLASSES[name])).map((object) => ({ ...object, in: name })));
  return all;
}

/** Of the server's pairs: the modulus of the half that is trusted, by label. */
type TrustedHalves = ReadonlyMap<string, Buffer>;

async function trustedHalves(parts: OpenParts): Promise<TrustedHalves> {
  const { driver, profile } = parts;
  const handles = await handlesOf(
    parts,
    RECIPIENTS[profile.depositaryKeys].filter(({ type }) => type !== pkcs11.CKA_TOKEN),
  );
  const halves = await inSlices(parts, handles, (session, handle) => {
    const label = labelOf(parts, session, handle);
    const modulus = readAttribute(driver, session, handle, pkcs11.CKA_MODULUS);
    return modulus === undefined || readServerForLabel(label) === undefined
      ? []
      : [[label, modulus] as const];
  });
  return new Map(halves);
}

/** What those are called that records account for. */
function namedIn(found: readonly Found[]): StandingObjects {
  const transports = new Set<RecoveryId>();
  const grants = new Set<GrantId>();
  const imports = new Set<ImportId>();
  for (const { label } of found) {
    const name = readName(label);
    if (name?.is === 'transport') transports.add(name.id);
    if (name?.is === 'grant') grants.add(name.id);
    if (name?.is === 'import') imports.add(name.id);
  }
  return { transports: [...transports], grants: [...grants], imports: [...imports] };
}

type Name =
  | { readonly is: 'transport'; readonly id: RecoveryId }
  | { readonly is: 'grant'; readonly id: GrantId }
  | { readonly is: 'import'; readonly id: ImportId }
  | { readonly is: 'server-for'; readonly id: PrincipalId; readonly version: number | undefined }
  | { readonly is: 'kek' | 'rotating'; readonly kek: string }
  | { readonly is: 'identity' | 'log' | 'anchor' };

/** What may be called so; undefined for what escrowd never calls anything. */
function readName(label: string): Name | undefined {
  if (label === 'identity' || label === 'log') return { is: label };
  if (label === 'anchor:log') return { is: 'anchor' };
  const pair = readServerForLabel(label);
  if (pair !== undefined) return { is: 'server-for', ...pair };
  if (readKekLabel(label) !== undefined) return { is: 'kek', kek: label };
  const [, what, rest = ''] = /^([a-z-]+):(.+)$/s.exec(label) ?? [];
  if (what === 'kek-rotate') return { is: 'rotating', kek: `kek:${rest}` };
  const recovery = what === 'transport' ? parseId('RecoveryId', rest) : undefined;
  if (recovery !== undefined) return { is: 'transport', id: recovery };
  const imported = what === 'import' ? parseId('ImportId', rest) : undefined;
  if (imported !== undefined) return { is: 'import', id: imported };
  const grant = what === 'grant' ? parseId('GrantId', rest) : undefined;
  return grant === undefined ? undefined : { is: 'grant', id: grant };
}

/** What accounts for the objects of the token: the ceremony, by how they are made, and the records. */
class Account {
  constructor(
    private readonly parts: OpenParts,
    private readonly recorded: RecordedObjects,
    private readonly trusted: TrustedHalves,
  ) {}

  has(session: Handle, object: Found): boolean {
    const name = readName(object.label);
    return name !== undefined && this.#hasNamed(session, object, name);
  }

  #hasNamed(session: Handle, object: Found, name: Name): boolean {
    switch (name.is) {
      case 'anchor':
        return object.in === 'data object';
      case 'identity':
      case 'log':
        return this.#isAs(session, object, objectNames.signing(name.is));
      case 'kek':
        return this.#isAs(session, object, objectNames.kek(name.kek));
      case 'rotating':
        return this.#hasRotating(session, object, name.kek);
      case 'server-for':
        return this.#hasPair(session, object, name);
      case 'transport':
        return (
          this.recorded.transports.has(name.id) &&
          this.#hasOneTimePair(session, object, objectNames.transport(name.id))
        );
      case 'import':
        return (
          this.recorded.imports.has(name.id) &&
          this.#hasOneTimePair(session, object, objectNames.importing(name.id))
        );
      case 'grant':
        return this.#hasGrant(session, object, name.id);
    }
  }

  #isAs(session: Handle, { handle }: Found, name: ObjectName): boolean {
    return this.parts.objects.check.isAsMade(session, handle, name);
  }

  #hasOneTimePair(session: Handle, object: Found, name: ObjectName): boolean {
    const isHalfMade = object.in === 'private key' && this.parts.objects.isInTheMaking(name);
    return isHalfMade || this.#isAs(session, object, name);
  }

  #hasRotating(session: Handle, object: Found, kek: string): boolean {
    const kind = readKekLabel(kek)?.kind;
    if (kind === undefined || !isOperate(kind)) return false;
    const { pins } = this.parts;
    return (
      (pins === undefined || pins.keks.has(kek)) &&
      this.#isAs(session, object, objectNames.rotating(kek, kind))
    );
  }

  /**
   * Its other half is trusted; or that half is gone, and it only opens: an older one, or of somebody who was retired. The record says
   * which these are; without one nobody knows, and nothing is sealed to a pair that has no trusted half.
   */
  #hasPair(
    session: Handle,
    object: Found,
    { id, version }: { readonly id: PrincipalId; readonly version: number | undefined },
  ): boolean {
    if (!this.#isAs(session, object, objectNames.serverFor(id, version))) return false;
    const half = this.trusted.get(object.label);
    if (half !== undefined) {
      const { driver } = this.parts;
      return readAttribute(driver, session, object.handle, pkcs11.CKA_MODULUS)?.equals(half) === true;
    }
    const { pins } = this.parts;
    if (pins?.labels.has(object.label) === true) return true;
    const others = [...this.trusted.keys()].flatMap((label) => {
      const other = readServerForLabel(label);
      return other?.id === id ? [other.version ?? 0] : [];
    });
    return pins === undefined && others.every((other) => other > (version ?? 0));
  }

  #hasGrant(session: Handle, object: Found, id: GrantId): boolean {
    const { recorded } = this;
    if (!recorded.grants.has(id)) return false;
    const raised = recorded.grants.get(id);
    // that it is being raised stands in the log; what it will be does not, before it is
    if (raised === undefined) return object.in !== 'data object';
    const allowed = this.#allowed(raised);
    if (allowed === undefined) return false;
    return raised.uses.some((use) =>
      this.#isAs(session, object, objectNames.raised(id, { spec: raised.spec, use, mechanisms: allowed })),
    );
  }

  /** Undefined when this token knows no such mechanism. */
  #allowed({ mechanisms }: RaisedGrant): readonly number[] | undefined {
    const known: readonly Mechanism[] = this.parts.profile.grantMechanisms;
    return mechanisms.every((name) => known.includes(name))
      ? this.parts.mechanisms.allowed(mechanisms)
      : undefined;
  }
}

/** One of each class and name that there is more than once, of those that escrowd gives. Of the anchor there are two at times. */
function twins(found: readonly Found[]): readonly Found[] {
  const once = new Set<string>();
  const twice = new Map<string, Found>();
  for (const object of found) {
    const name = readName(object.label);
    if (name === undefined || name.is === 'anchor') continue;
    const key = `${object.in} ${object.label}`;
    if (once.has(key)) twice.set(key, object);
    once.add(key);
  }
  return [...twice.values()];
}

/** What is told of a label, which somebody may have chosen, at most. */
const LABEL_CHARACTERS = 80;

function inWords({ in: what, label }: Found): string {
  const shown = label.length > LABEL_CHARACTERS ? `${label.slice(0, LABEL_CHARACTERS)}...` : label;
  return `${what} ${quoted(shown)}`;
}
