import { startChild, type Child } from '../child.js';
import type { BarePorts } from './bareServer.js';
import { bareTarget, KEYS, SIZES, type Cell, type KeyWord } from './cells.js';
import { costlyLoad, plainLoad, signedBy, type CostlyLoad } from './costlyLoad.js';
import type { UsableKey } from './grants.js';
import type { Load, LoadCaller, LoadOrder } from './loadGenerator.js';
import type { UnderLoad } from './underLoad.js';

/** What is signed. */
const MESSAGE = Buffer.alloc(32, 7).toString('base64url');

/** Asks for signatures of the daemon, and of a bare server, in the same way by the same process. */
export class Signing {
  readonly #daemon: UnderLoad;
  readonly #keys: ReadonlyMap<KeyWord, UsableKey>;
  readonly #generator: Child = startChild('load/loadGenerator.ts', {});
  readonly #signer: LoadCaller;

  constructor(daemon: UnderLoad, keys: ReadonlyMap<KeyWord, UsableKey>) {
    this.#daemon = daemon;
    this.#keys = keys;
    this.#signer = signedBy(daemon.system, 'app');
  }

  /** Measures the daemon. */
  async ours(cell: Cell, seconds: number): Promise<CostlyLoad> {
    const { port } = this.#daemon;
    const target = `/v1/grants/${this.#key(cell).grant}/sign`;
    return costlyLoad(this.#generator, this.#orderOf(cell, { port, target, seconds }), this.#daemon);
  }

  /** Measures a bare server. */
  async bare(cell: Cell, seconds: number, ports: BarePorts): Promise<Load> {
    const to = { port: ports[cell.caller], target: bareTarget(cell.key), seconds };
    return plainLoad(this.#generator, this.#orderOf(cell, to));
  }

  async stop(): Promise<void> {
    await this.#generator.ended();
  }

  #orderOf(cell: Cell, to: Pick<LoadOrder, 'port' | 'target' | 'seconds'>): LoadOrder {
    const { certificate, tls } = this.#daemon;
    const signatures = SIZES[cell.size];
    const messages = Array.from({ length: signatures }, () => MESSAGE);
    return {
      ...to,
      ca: tls.cert,
      body: JSON.stringify({ mechanism: KEYS[cell.key].mechanism, messages }),
      caller: cell.caller === 'certificate' ? { certificate } : this.#signer,
      clients: cell.clients,
      expect: { signatures, message: MESSAGE, publicKey: this.#key(cell).publicKey },
    };
  }

  #key({ key }: Cell): UsableKey {
    const found = this.#keys.get(key);
    if (found === undefined) throw new Error(`there is no key for ${key}`);
    return found;
  }
}
