import pkcs11 from 'pkcs11js';

/** A call of a PKCS#11 function. */
export interface TokenCall {
  /** As PKCS#11 has it. */
  readonly name: string;
  /** The key that a signature is begun with, by its handle. */
  readonly key: string | undefined;
}

/** Every call of a PKCS#11 function that this process makes through the driver while somebody listens. */
export interface TokenCalls {
  /** Those since it was last asked. */
  take(): readonly TokenCall[];
  stop(): void;
}

/** Looks at the calls of drivers that are loaded from now on; nothing is changed by that. */
export function listenToToken(): TokenCalls {
  const { prototype } = pkcs11.PKCS11;
  const load: unknown = Reflect.get(prototype, 'load');
  if (typeof load !== 'function') throw new Error('the driver cannot load');
  let calls: TokenCall[] = [];
  Reflect.set(prototype, 'load', function (this: object, ...given: unknown[]): unknown {
    for (const of of functionsOf(this)) {
      const call: unknown = Reflect.get(this, of);
      if (typeof call !== 'function') continue;
      const name = of.replace(/(Async|Callback)$/, '');
      Reflect.set(this, of, (...args: unknown[]): unknown => {
        const key = args[2];
        calls.push({
          name,
          key: name === 'C_SignInit' && Buffer.isBuffer(key) ? key.toString('hex') : undefined,
        });
        const answer: unknown = Reflect.apply(call, this, args);
        return answer;
      });
    }
    const answer: unknown = Reflect.apply(load, this, given);
    return answer;
  });
  return {
    take: () => {
      const taken = calls;
      calls = [];
      return taken;
    },
    stop: () => {
      Reflect.set(prototype, 'load', load);
    },
  };
}

function functionsOf(driver: object): readonly string[] {
  const names = [...Object.keys(driver), ...Object.getOwnPropertyNames(pkcs11.PKCS11.prototype)];
  return [...new Set(names)].filter((name) => name.startsWith('C_'));
}
