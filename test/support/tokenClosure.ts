import pkcs11 from 'pkcs11js';
import type { Handle, Mechanism } from 'pkcs11js';
import type { KeySpec } from '../../src/escrow/records/keySpecs.js';
import { KEY_SPECS } from '../../src/escrow/records/keySpecs.js';
import type { Template } from '../../src/token/cryptoki/attributes.js';
import { readFault } from '../../src/token/cryptoki/faults.js';
import { rotatingUser } from '../../src/token/profile/keks.js';
import { openSession } from '../../src/token/cryptoki/sessions.js';
import { grantKey, openingKey, userInFlight } from '../../src/token/profile/templates.js';
import { byteStringsIn } from './byteStrings.js';
import { contextsOf, isText, SHORTEST_CIPHERTEXT, SHORTEST_LAYER } from './closure.js';
import type { DatabaseDump } from './databaseDump.js';
import type { RawToken } from './rawToken.js';
import { withoutStacks } from './withoutStacks.js';

/** A key that the attack brought into being in the token. */
export interface GainedKey {
  readonly handle: Handle;
  /** The label of the object that unwrapped it, or `gained` for one that was gained itself. */
  readonly by: string;
  readonly kind: keyof typeof KINDS;
  /** Whether its value can be had: read from it, or wrapped under a key of the attacker's own. */
  readonly comesOut: boolean;
}

/** What came of an attack. */
export interface TokenLoot {
  readonly keys: readonly GainedKey[];
  /** What was decrypted by modes that know right from wrong: ciphertexts in turn. */
  readonly opened: readonly Buffer[];
  /** That, and what other modes make of anything. */
  readonly plaintexts: readonly Buffer[];
}

/** What the token answered, by name; `OK` when it did as it was told. */
export function answerOf(act: () => unknown): string {
  try {
    act();
    return 'OK';
  } catch (error) {
    const fault = readFault(error);
    if (fault === undefined) throw error;
    return fault.name;
  }
}

const { CKA_CLASS, CKA_KEY_TYPE, CKA_TOKEN, CKA_SENSITIVE, CKA_EXTRACTABLE } = pkcs11;

/** Kinds of keys that something may be unwrapped into. */
const KINDS = {
  aes: [pkcs11.CKO_SECRET_KEY, pkcs11.CKK_AES],
  generic: [pkcs11.CKO_SECRET_KEY, pkcs11.CKK_GENERIC_SECRET],
  rsa: [pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_RSA],
  ec: [pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_EC],
} as const;

/** What one may say about protection: most coveted first. */
export const PROTECTIONS: readonly Template[] = [
  [
    { type: CKA_SENSITIVE, value: false },
    { type: CKA_EXTRACTABLE, value: true },
  ],
  [
    { type: CKA_SENSITIVE, value: true },
    { type: CKA_EXTRACTABLE, value: true },
  ],
  [
    { type: CKA_SENSITIVE, value: false },
    { type: CKA_EXTRACTABLE, value: false },
  ],
  [],
  [{ type: CKA_EXTRACTABLE, value: true }],
  [{ type: CKA_EXTRACTABLE, value: false }],
  [{ type: CKA_SENSITIVE, value: true }],
  [{ type: CKA_SENSITIVE, value: false }],
  [
    { type: CKA_SENSITIVE, value: true },
    { type: CKA_EXTRACTABLE, value: false },
  ],
];

/** A template for a key in flight that may do all that such a key can. */
export function coveted(kind: keyof typeof KINDS, protection: Template): Template {
  const [objectClass, keyType] = KINDS[kind];
  const uses =
    objectClass === pkcs11.CKO_SECRET_KEY
      ? [pkcs11.CKA_ENCRYPT, pkcs11.CKA_DECRYPT, pkcs11.CKA_WRAP, pkcs11.CKA_UNWRAP, pkcs11.CKA_DERIVE]
      : [pkcs11.CKA_DECRYPT, pkcs11.CKA_SIGN, pkcs11.CKA_UNWRAP, pkcs11.CKA_DERIVE];
  return [
    { type: CKA_CLASS, value: objectClass },
    { type: CKA_KEY_TYPE, value: keyType },
    { type: CKA_TOKEN, value: false },
    ...protection,
    ...uses.map((type) => ({ type, value: true })),
  ];
}

/**
 * What the keys of the token themselves insist on when they unwrap, which the attacker can read as well as anybody: as R and
 * L, as a grant of every use, as a key for release, and as one that comes out of a rotating handle.
 */
export function insistedOn(kind: keyof typeof KINDS): readonly Template[] {
  const spec = SPECS[kind];
  if (spec === undefined) return [];
  const grants = KEY_SPECS[spec].uses.map((use) => grantKey(undefined, spec, use, []));
  const rotating =
    spec === 'aes-256' ? (['operate:secret'] as const) : (['operate:sign', 'operate:decrypt'] as const);
  return [
    ...(spec === 'aes-256' ? [openingKey(pkcs11.CKM_AES_GCM)] : []),
    ...grants.map((template) => template.filter(({ type }) => type !== pkcs11.CKA_ALLOWED_MECHANISMS)),
    userInFlight(spec, KWP),
    ...rotating.map((operate) => rotatingUser(operate, spec)),
  ];
}

const SPECS = {
  aes: 'aes-256',
  rsa: 'rsa-2048',
  ec: 'ec-p256',
  generic: undefined,
} as const satisfies Record<keyof typeof KINDS, KeySpec | undefined>;

/**
 * Everything that somebody with the token, its user PIN and a dump of the database can bring about without knowing any
 * key: each object is tried on each ciphertext by every mechanism that the token has for unwrapping and decrypting, into
 * every kind of key with every protection; what comes of it is tried in turn, until nothing new does.
 */
export function attackToken(raw: RawToken, dump: DatabaseDump): TokenLoot {
  return withoutStacks(() => new TokenClosure(raw, dump).run());
}

/** Whether the value of a key comes out: by reading it, or under a key of the attacker's own. */
export function comesOut(raw: RawToken, key: Handle): boolean {
  const { driver, session } = raw;
  const read = VALUES.some((type) => {
    const answer = tried(() => driver.C_GetAttributeValue(session, key, [{ type }])[0]?.value);
    return Buffer.isBuffer(answer) && answer.length > 0;
  });
  return read || [KWP, KW].some((mechanism) => answerOf(() => wrapped(raw, mechanism, key)) === 'OK');
}

/** Where a value could be read. */
export const VALUES = [
  pkcs11.CKA_VALUE,
  pkcs11.CKA_PRIVATE_EXPONENT,
  pkcs11.CKA_PRIME_1,
  pkcs11.CKA_COEFFICIENT,
] as const;
/** AES key wrap, with padding and without, by their numbers in SoftHSM 2.6. */
const [KWP, KW] = [0x210a, 0x2109];

function wrapped({ driver, session }: RawToken, mechanism: number, key: Handle): Buffer {
  const own = driver.C_GenerateKey(session, { mechanism: pkcs11.CKM_AES_KEY_GEN }, [
    { type: pkcs11.CKA_VALUE_LEN, value: 32 },
    { type: CKA_TOKEN, value: false },
    { type: pkcs11.CKA_WRAP, value: true },
  ]);
  try {
    return driver.C_WrapKey(session, { mechanism }, own, key, Buffer.alloc(8192));
  } finally {
    driver.C_DestroyObject(session, own);
  }
}

/** A key in the token, and what the token lets it do at all. */
interface Opener {
  readonly handle: Handle;
  readonly label: string;
  readonly unwrapping: readonly Mode[];
  /** Of all templates those that it does not refuse whatever is unwrapped. */
  readonly templates: Readonly<Record<keyof typeof KINDS, readonly Template[]>>;
  readonly decrypting: readonly Mode[];
}

/** A mechanism, how its parameters are made, and the lengths that can be ciphertexts of it. */
interface Mode {
  readonly mechanism: number;
  readonly with: (iv: Buffer, aad: Buffer | undefined) => Mechanism;
  readonly fits: (length: number) => boolean;
}

class TokenClosure {
  readonly #keys: GainedKey[] = [];
  readonly #opened = new Map<string, Buffer>();
  readonly #plaintexts: Buffer[] = [];
  readonly #openers: Opener[] = [];
  readonly #ciphertexts = new Map<string, Buffer>();
  readonly #contexts: readonly (Buffer | undefined)[];
  #spare: Handle | undefined;

  constructor(
    private readonly raw: RawToken,
    dump: DatabaseDump,
  ) {
    this.#contexts = contextsOf(dump);
    for (const { text } of dump.rows) {
      for (const bytes of byteStringsIn(Buffer.from(text), 'whole')) if (!isText(bytes)) this.#add(bytes);
    }
  }

  run(): TokenLoot {
    const { raw } = this;
    for (const objectClass of [pkcs11.CKO_SECRET_KEY, pkcs11.CKO_PRIVATE_KEY]) {
      for (const handle of raw.find([{ type: CKA_CLASS, value: objectClass }])) {
        const [label] = raw.driver.C_GetAttributeValue(raw.session, handle, [{ type: pkcs11.CKA_LABEL }]);
        this.#addOpener(handle, String(label?.value));
      }
    }
    const done = new Set<string>();
    for (let before = -1; before !== done.size;) {
      before = done.size;
      for (const opener of [...this.#openers]) {
        for (const [name, ciphertext] of [...this.#ciphertexts]) {
          const pair = `${opener.handle.toString('hex')} ${name}`;
          if (done.has(pair)) continue;
          done.add(pair);
          this.#unwrapWith(opener, ciphertext);
          this.#decryptWith(opener, ciphertext);
        }
      }
    }
    if (this.#spare !== undefined) raw.driver.C_CloseSession(this.#spare);
    return { keys: this.#keys, opened: [...this.#opened.values()], plaintexts: this.#plaintexts };
  }

  #add(bytes: Buffer): void {
    if (bytes.length >= SHORTEST_CIPHERTEXT) this.#ciphertexts.set(bytes.toString('hex'), bytes);
  }

  #addOpener(handle: Handle, label: string): void {
    const { driver, slot, session } = this.raw;
    const [modulus] = tried(() =>
      driver.C_GetAttributeValue(session, handle, [{ type: pkcs11.CKA_MODULUS }]),
    ) ?? [undefined];
    const bytes = Buffer.isBuffer(modulus?.value) ? modulus.value.length : undefined;
    const modes = (flag: number): readonly Mode[] =>
      driver
        .C_GetMechanismList(slot)
        .filter((mechanism) => (driver.C_GetMechanismInfo(slot, mechanism).flags & flag) !== 0)
        .map((mechanism) => modeOf(mechanism, bytes));
    const guess = Buffer.alloc(bytes ?? 64, 7);
    const answerTo = (mode: Mode, template: Template): string =>
      answerOf(() =>
        driver.C_UnwrapKey(session, mode.with(Buffer.alloc(16), undefined), handle, guess, template),
      );
    const unwrapping = modes(pkcs11.CKF_UNWRAP).filter((mode) =>
      PROTECTIONS.some((protection) => !NOT_ALLOWED.has(answerTo(mode, coveted('aes', protection)))),
    );
    const templates = Object.fromEntries(
      (Object.keys(KINDS) as (keyof typeof KINDS)[]).map((kind) => {
        const coveting = PROTECTIONS.map((protection) => coveted(kind, protection));
        // a key unwrapped with all that one could covet insists on nothing
        const every = label === GAINED ? coveting.slice(0, 1) : [...coveting, ...insistedOn(kind)];
        const allowed = every.filter((template) =>
          unwrapping.some((mode) => answerTo(mode, template) !== 'CKR_TEMPLATE_INCONSISTENT'),
        );
        return [kind, allowed];
      }),
    ) as unknown as Opener['templates'];
    this.#openers.push({
      handle,
      label,
      unwrapping,
      templates,
      decrypting: modes(pkcs11.CKF_DECRYPT).filter((mode) => {
        const answer = answerOf(() => {
          this.#inSpareSession((spare) => {
            driver.C_DecryptInit(spare, mode.with(Buffer.alloc(16), undefined), handle);
            this.#dropSpare();
          });
        });
        return answer === 'OK';
      }),
    });
  }

  /** Into every kind of key, with every protection; of those that the token makes, one is gone on with. */
  #unwrapWith({ handle, label, unwrapping, templates }: Opener, ciphertext: Buffer): void {
    const { driver, session } = this.raw;
    for (const mode of unwrapping.filter(({ fits }) => fits(ciphertext.length))) {
      const mechanism = mode.with(Buffer.alloc(16), undefined);
      for (const kind of Object.keys(KINDS) as (keyof typeof KINDS)[]) {
        const gained = templates[kind]
          .map((template) =>
            tried(() => driver.C_UnwrapKey(session, mechanism, handle, ciphertext, template)),
          )
          .filter((key) => key !== undefined);
        const [first, ...others] = gained;
        if (first === undefined) continue;
        const isOut = gained.some((key) => comesOut(this.raw, key));
        for (const key of others) driver.C_DestroyObject(session, key);
        this.#keys.push({ handle: first, by: label, kind, comesOut: isOut });
        this.#addOpener(first, GAINED);
      }
    }
  }

  #decryptWith({ handle, decrypting }: Opener, ciphertext: Buffer): void {
    const { driver } = this.raw;
    for (const mode of decrypting.filter(({ fits }) => fits(ciphertext.length))) {
      const isGcm = mode.mechanism === pkcs11.CKM_AES_GCM;
      const iv = isGcm ? ciphertext.subarray(0, 12) : Buffer.alloc(16);
      const body = Buffer.from(isGcm ? ciphertext.subarray(12) : ciphertext);
      for (const aad of isGcm ? this.#contexts : [undefined]) {
        const plain = tried(() =>
          this.#inSpareSession((spare) => {
            driver.C_DecryptInit(spare, mode.with(Buffer.from(iv), aad), handle);
            return Buffer.from(driver.C_Decrypt(spare, body, Buffer.alloc(Math.max(body.length, 1024))));
          }),
        );
        if (plain === undefined || plain.length === 0) continue;
        this.#plaintexts.push(plain);
        // what knows not right from wrong gives something for everything: to be looked through, not to go on with
        if (!KNOWS_RIGHT_FROM_WRONG.has(mode.mechanism)) continue;
        this.#opened.set(plain.toString('hex'), plain);
        this.#add(plain);
      }
    }
  }

  /** An error may leave an operation active, which would refuse whatever comes next. */
  #inSpareSession<T>(use: (session: Handle) => T): T {
    const { driver, slot } = this.raw;
    this.#spare ??= openSession(driver, slot);
    try {
      return use(this.#spare);
    } catch (error) {
      if (readFault(error)?.name !== 'CKR_OPERATION_ACTIVE') throw error;
      this.#dropSpare();
      this.#spare = openSession(driver, slot);
      return use(this.#spare);
    }
  }

  #dropSpare(): void {
    if (this.#spare !== undefined) this.raw.driver.C_CloseSession(this.#spare);
    this.#spare = undefined;
  }
}

const GAINED = 'gained';
/** The token does not even look at the ciphertext. */
const NOT_ALLOWED: ReadonlySet<string> = new Set([
  'CKR_KEY_FUNCTION_NOT_PERMITTED',
  'CKR_MECHANISM_INVALID',
  'CKR_KEY_TYPE_INCONSISTENT',
  'CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT',
]);
const KNOWS_RIGHT_FROM_WRONG: ReadonlySet<number> = new Set([pkcs11.CKM_AES_GCM, pkcs11.CKM_RSA_PKCS_OAEP]);

function modeOf(mechanism: number, modulusBytes: number | undefined): Mode {
  const ofAnyLength = (): boolean => true;
  const ofModulus = (length: number): boolean => length === modulusBytes;
  const ofBlocks = (bytes: number) => (length: number) => length % bytes === 0;
  switch (mechanism) {
    case pkcs11.CKM_RSA_PKCS_OAEP: {
      const parameter = {
        type: pkcs11.CK_PARAMS_RSA_OAEP,
        source: 1,
        hashAlg: pkcs11.CKM_SHA_1,
        mgf: pkcs11.CKG_MGF1_SHA1,
      };
      return { mechanism, with: () => ({ mechanism, parameter }), fits: ofModulus };
    }
    case pkcs11.CKM_RSA_PKCS:
    case pkcs11.CKM_RSA_X_509:
      return { mechanism, with: () => ({ mechanism }), fits: ofModulus };
    case pkcs11.CKM_AES_GCM: {
      const type = pkcs11.CK_PARAMS_AES_GCM_v240;
      const gcm = (iv: Buffer, aad: Buffer | undefined): Mechanism => ({
        mechanism,
        parameter: {
          ...{ type, iv: iv.subarray(0, 12), ivBits: 96, tagBits: 128 },
          ...(aad === undefined ? {} : { aad }),
        },
      });
      return { mechanism, with: gcm, fits: (length) => length >= SHORTEST_LAYER };
    }
    case pkcs11.CKM_AES_CBC:
    case pkcs11.CKM_AES_CBC_PAD:
      return { mechanism, with: (iv) => ({ mechanism, parameter: iv }), fits: ofBlocks(16) };
    case pkcs11.CKM_AES_CTR: {
      const counterBits = Buffer.from([128, 0, 0, 0, 0, 0, 0, 0]);
      const counter = (iv: Buffer): Mechanism => ({ mechanism, parameter: Buffer.concat([counterBits, iv]) });
      return { mechanism, with: counter, fits: ofAnyLength };
    }
    case KWP:
    case KW:
      return { mechanism, with: () => ({ mechanism }), fits: ofBlocks(8) };
    default:
      return { mechanism, with: () => ({ mechanism }), fits: ofAnyLength };
  }
}

function tried<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    if (readFault(error) === undefined) throw error;
    return undefined;
  }
}
