import { constants as osConstants } from 'node:os';
import { basename } from 'node:path';
import { existsSync, realpathSync, statSync } from 'node:fs';
import koffi from 'koffi';
import pkcs11 from 'pkcs11js';
import type { PKCS11 } from 'pkcs11js';
import { readNamedFile } from '../../system/namedFile.js';
import { askLengthsOf } from './attributeLength.js';
import { CKR, readFault, TokenNotReady } from './faults.js';
import { softHsmAdvice, softHsmFault, unreadableSoftHsmFile } from './softHsmFiles.js';
import { type DestroyHandle, handleDestroyer } from './destroying.js';
import { type FindHandles, handleFinder } from './finding.js';
import { type GenerateKeyPair, keyPairGenerator } from './keyPairs.js';

/** A PKCS#11 module that is loaded and initialised. */
export interface LoadedModule {
  readonly driver: PKCS11;
  /** C_GenerateKeyPair on another thread. */
  readonly generatePair: GenerateKeyPair;
  /** C_FindObjects on another thread. */
  readonly findHandles: FindHandles;
  /** C_DestroyObject on another thread. */
  readonly destroyHandle: DestroyHandle;
  /** Gives the module back; the last user of it in this process finalises it. Nothing may be under way. */
  release(): void;
}

/** Environment variables to set before a module is loaded, e.g. SOFTHSM2_CONF. */
export type ModuleEnvironment = Readonly<Record<string, string>>;

const RTLD_NODELETE = 0x1000;
const CKF_OS_LOCKING_OK = 0x2;

type Initialised = Omit<LoadedModule, 'release'>;

// The environment, C_Initialize and C_Finalize are per process, so what is known of them is too.
const given = new Map<string, string>();
const loaded = new Map<string, Initialised & { users: number; environment: string }>();

/**
 * Sets variables where C code looks for them. Assigning to process.env does so only when that is the real one:
 * a test runner or a worker thread has a copy that getenv(3) never sees. What is set already is left alone: opening
 * a token anew must not change the environment under other threads that read it.
 */
export function setEnvironment(environment: ModuleEnvironment): void {
  const changed = Object.entries(environment).filter(([name, value]) => given.get(name) !== value);
  if (changed.length === 0) return;
  const libc = koffi.load(null);
  try {
    const setenv: unknown = libc.func('int setenv(const char *name, const char *value, int overwrite)');
    if (typeof setenv !== 'function') throw new Error('setenv is not there');
    for (const [name, value] of changed) {
      Reflect.apply(setenv, undefined, [name, value, 1]);
      process.env[name] = value;
      given.set(name, value);
    }
  } finally {
    libc.unload();
  }
}

/** Where a token's module is looked for, and what it is given at C_Initialize. */
export interface ModuleProfile {
  readonly modules: readonly string[];
  readonly libraryParameters?: string | undefined;
}

/** Whether a module that writes down every call, PINs included, may be used. */
export type SpyAllowance = 'spy refused' | 'spy allowed';

/**
 * The module to load: the one named, else the first of the profile that exists. Throws {@link TokenNotReady} when there
 * is none, and when it is pkcs11-spy, under whatever name, unless that is allowed.
 */
export function findModule(
  profile: ModuleProfile,
  named: string | undefined,
  spy: SpyAllowance = 'spy refused',
): string {
  const found = named ?? profile.modules.find((path) => existsSync(path));
  if (found === undefined || !existsSync(found)) {
    const tried = named ?? profile.modules.join(', ');
    throw new TokenNotReady(
      'module-missing',
      `There is no PKCS#11 module at ${tried}. Install it, or name it in the configuration.`,
    );
  }
  if (!statSync(found).isFile())
    throw new TokenNotReady('module-missing', `${found} is no file, and no PKCS#11 module.`);
  if (spy === 'spy refused' && isSpy(found)) {
    throw new TokenNotReady(
      'module-refused',
      `${found} is pkcs11-spy, which writes the PIN down with every other call: not loaded.`,
    );
  }
  return found;
}

/**
 * What the profile passes to C_Initialize, if anything: `{label}` stands for the token's label, `{NAME}` for the variable
 * of that name in `environment`. Throws {@link TokenNotReady} when one is missing, or would end the quoted value.
 */
export function libraryParameters(
  profile: ModuleProfile,
  label: string,
  environment: ModuleEnvironment = {},
): string | undefined {
  return profile.libraryParameters?.replace(/\{(\w+)\}/g, (_whole, name: string) => {
    const value = name === 'label' ? label : environment[name];
    if (value === undefined)
      throw new TokenNotReady(
        'module-refused',
        `The token profile needs ${name} in the environment of the module.`,
      );
    if (!/^[^'"\\\p{Cc}]+$/u.test(value))
      throw new TokenNotReady(
        'module-refused',
        `The module cannot be given this value of ${name}: "${value}".`,
      );
    return value;
  });
}

const LONGEST_MODULE = 512 * 1024 * 1024;

/** By its name, or by the variable that it reads; a proxy that loads it from elsewhere is not seen through. */
function isSpy(path: string): boolean {
  const names = [path, realpathSync(path)].map((name) => basename(name));
  return (
    names.some((name) => name.includes('pkcs11-spy')) ||
    readNamedFile(path, LONGEST_MODULE).bytes.includes('PKCS11SPY')
  );
}

/** Loads and initialises the module at `path`, or joins those in this process who already have it. */
export function loadModule(
  path: string,
  environment: ModuleEnvironment = {},
  parameters?: string,
): LoadedModule {
  const wanted = JSON.stringify([Object.entries(environment).sort(), parameters ?? null]);
  const present = loaded.get(path);
  if (present !== undefined && present.environment !== wanted) {
    throw new TokenNotReady('module-refused', 'The PKCS#11 module is in use with another environment.');
  }
  const entry = present ?? {
    ...initialise(path, environment, parameters),
    users: 0,
    environment: wanted,
  };
  entry.users += 1;
  loaded.set(path, entry);
  let released = false;
  return {
    driver: entry.driver,
    generatePair: entry.generatePair,
    findHandles: entry.findHandles,
    destroyHandle: entry.destroyHandle,
    release: () => {
      if (released) return;
      released = true;
      entry.users -= 1;
      if (entry.users > 0) return;
      loaded.delete(path);
      try {
        entry.driver.C_Finalize();
      } finally {
        entry.driver.close();
      }
    },
  };
}

function initialise(
  path: string,
  environment: ModuleEnvironment,
  parameters: string | undefined,
): Initialised {
  const variables = { ...process.env, ...environment };
  const unreadable = unreadableSoftHsmFile(path, variables);
  if (unreadable !== undefined) throw new TokenNotReady('module-refused', unreadable);
  setEnvironment(environment);
  try {
    preload(path);
    const driver = new pkcs11.PKCS11();
    driver.load(path);
    // Without this flag SoftHSM takes no locks, and asynchronous calls crash the process.
    driver.C_Initialize({
      flags: CKF_OS_LOCKING_OK,
      // pkcs11js 2.1 hands over all but the last character.
      ...(parameters === undefined ? {} : { libraryParameters: `${parameters} ` }),
    });
    askLengthsOf(driver, path);
    return {
      driver,
      generatePair: keyPairGenerator(path),
      findHandles: handleFinder(path),
      destroyHandle: handleDestroyer(path),
    };
  } catch (error) {
    const already = readFault(error)?.code === CKR.CKR_CRYPTOKI_ALREADY_INITIALIZED;
    const why = already ? 'something else in this process uses it' : 'it does not load or initialise';
    const missing = softHsmFault(path, variables) ?? softHsmAdvice(path, variables);
    if (!already && missing !== undefined)
      throw new TokenNotReady('module-refused', missing, { cause: error });
    throw new TokenNotReady('module-refused', `The PKCS#11 module ${path} was refused: ${why}.`, {
      cause: error,
    });
  }
}

/**
 * Binds the module to its own OpenSSL and not to the symbols that Node exports (SoftHSM issue 625). dlopen of
 * what is no addon throws after loading; RTLD_NODELETE keeps it. Where there is no DEEPBIND (macOS) none is needed.
 */
function preload(path: string): void {
  const flags = osConstants.dlopen;
  if (!('RTLD_DEEPBIND' in flags)) return;
  try {
    process.dlopen({ exports: {} }, path, flags.RTLD_NOW | flags.RTLD_DEEPBIND | RTLD_NODELETE);
  } catch (error) {
    if (!String(error).includes('did not self-register')) throw error;
  }
}
