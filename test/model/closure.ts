import type { Kind, Term, TokenObject, UnwrapTemplate } from './terms.js';
import { kwp, nameOf, oaep, object, privateHalf, USES, value } from './terms.js';

/** Everything that somebody has: bytes, and keys in the token that their PIN lets them use. */
export interface Hoard {
  readonly bytes: readonly Term[];
  readonly objects: readonly TokenObject[];
}

/** A secret key and a pair of the adversary's own. */
export const OWN = 'adversary';

/** The adversary's own key in the token: made by C_CreateObject, so neither LOCAL nor TRUSTED. */
const OWN_KEY = object({
  value: OWN,
  kind: 'secret',
  uses: USES,
  extractable: true,
  sensitive: false,
  local: false,
  frozen: false,
});

/**
 * All that can be had of this, by everything that the token answers: C_UnwrapKey of each ciphertext under each key into the
 * most useful object that the template leaves, C_WrapKey of each key under each, C_Decrypt, C_GetAttributeValue, the token's
 * files, C_CopyObject with other uses; and by every key whose value is known, without the token. To the fixed point.
 */
export function closureOf(first: Hoard): Hoard {
  const closure = new Closure();
  first.bytes.forEach((term) => {
    closure.learn(term);
  });
  first.objects.forEach((one) => {
    closure.gain(one);
  });
  closure.learn(value(OWN));
  closure.learn(value(privateHalf(OWN)));
  closure.gain(OWN_KEY);
  return closure.all();
}

class Closure {
  readonly #bytes = new Map<string, Term>();
  readonly #objects = new Map<string, TokenObject>();
  /** Ciphertexts by the name of what opens them. */
  readonly #lockedBy = new Map<string, Term[]>();
  readonly #objectsOf = new Map<string, TokenObject[]>();

  all(): Hoard {
    return { bytes: [...this.#bytes.values()], objects: [...this.#objects.values()] };
  }

  learn(term: Term): void {
    const name = nameOf(term);
    if (this.#bytes.has(name)) return;
    this.#bytes.set(name, term);
    if (term.form === 'value') {
      for (const locked of [...(this.#lockedBy.get(name) ?? [])]) this.learn(contentOf(locked));
      return;
    }
    const opener = term.form === 'oaep' ? privateHalf(term.to) : term.under;
    pushTo(this.#lockedBy, opener, term);
    if (this.#bytes.has(opener)) this.learn(contentOf(term));
    for (const one of [...(this.#objectsOf.get(opener) ?? [])]) this.#open(one, term);
  }

  gain(one: TokenObject): void {
    const name = labelOf(one);
    if (this.#objects.has(name)) return;
    const others = [...this.#objects.values()];
    this.#objects.set(name, one);
    pushTo(this.#objectsOf, one.value, one);
    for (const term of [...(this.#lockedBy.get(one.value) ?? [])]) this.#open(one, term);
    read(one).forEach((term) => {
      this.learn(term);
    });
    copied(one).forEach((copy) => {
      this.gain(copy);
    });
    for (const other of [one, ...others]) {
      wrapped(other, one).forEach((term) => {
        this.learn(term);
      });
      wrapped(one, other).forEach((term) => {
        this.learn(term);
      });
    }
  }

  #open(one: TokenObject, term: Term): void {
    unwrapped(one, term).forEach((made) => {
      this.gain(made);
    });
    decrypted(one, term).forEach((opened) => {
      this.learn(opened);
    });
  }
}

function pushTo<T>(map: Map<string, T[]>, name: string, item: T): void {
  const items = map.get(name);
  if (items === undefined) map.set(name, [item]);
  else items.push(item);
}

function labelOf({ value: name, kind, uses, unwrapTemplate, ...flags }: TokenObject): string {
  return `${name} ${kind} ${uses.join()} ${Object.values(flags).join()} ${unwrapTemplate === undefined ? '' : JSON.stringify(unwrapTemplate)}`;
}

/** What a ciphertext hides. */
function contentOf(term: Term): Term {
  switch (term.form) {
    case 'value':
      return term;
    case 'oaep':
    case 'kwp':
      return value(term.of);
    case 'gcm':
      return term.inner;
  }
}

function unwrapped(by: TokenObject, term: Term): readonly TokenObject[] {
  if (!by.uses.includes('unwrap')) return [];
  if (term.form === 'oaep' && by.value === privateHalf(term.to))
    return born(term.of, by.unwrapTemplate ?? {});
  if (term.form === 'kwp' && by.value === term.under) return born(term.of, by.unwrapTemplate ?? {});
  return [];
}

/** As what the caller wants it to be: a private key's bytes also pass for a generic secret. */
function born(of: string, template: UnwrapTemplate): readonly TokenObject[] {
  const kinds: readonly Kind[] = kindOf(of) === 'private' ? ['private', 'secret'] : ['secret'];
  return kinds
    .filter((kind) => template.kind === undefined || template.kind === kind)
    .map((kind) => ({
      value: of,
      kind,
      uses: USES.filter((use) => template.never?.includes(use) !== true),
      isPrivate: template.isPrivate ?? false,
      sensitive: template.sensitive ?? false,
      extractable: template.extractable ?? true,
      token: template.token ?? 'either',
      local: false,
      trusted: false,
      wrapWithTrusted: template.wrapWithTrusted ?? false,
      frozen: template.frozen ?? false,
    }));
}

/** What a key is, by its name: pairs are private keys. */
export function kindOf(of: string): Kind {
  return of === 'pair' || of.startsWith('private ') ? 'private' : 'secret';
}

function decrypted(by: TokenObject, term: Term): readonly Term[] {
  if (!by.uses.includes('decrypt')) return [];
  if (term.form === 'gcm' && by.value === term.under) return [term.inner];
  // Clulow: what wraps and decrypts gives back what it wrapped
  if (term.form === 'kwp' && by.value === term.under) return [value(term.of)];
  if (term.form === 'oaep' && by.value === privateHalf(term.to)) return [value(term.of)];
  return [];
}

function wrapped(by: TokenObject, one: TokenObject): readonly Term[] {
  if (!by.uses.includes('wrap') || !one.extractable || one.kind === 'public') return [];
  if (one.wrapWithTrusted && !by.trusted) return [];
  if (by.wrapsLocalOnly === true && !(one.local && one.token !== true)) return [];
  if (by.kind === 'public') return one.kind === 'secret' ? [oaep(by.value, one.value)] : [];
  return by.kind === 'secret' ? [kwp(by.value, one.value)] : [];
}

function read(one: TokenObject): readonly Term[] {
  if (one.kind === 'public') return [];
  const isOnDisk = !one.isPrivate && one.token !== false;
  return (!one.sensitive && one.extractable) || isOnDisk ? [value(one.value)] : [];
}

function copied(one: TokenObject): readonly TokenObject[] {
  return one.frozen || one.kind === 'public' || one.uses.length === USES.length
    ? []
    : [{ ...one, uses: USES }];
}
