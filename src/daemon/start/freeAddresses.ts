import type { Config } from '../config.js';
import {
  addressesOf,
  AddressRefused,
  AlreadyServing,
  authorityOf,
  hold,
  type ListenAddress,
  ownAddress,
} from './addresses.js';
import { daemonAt, type RunningDaemon } from './ownDaemon.js';

/** Whether a start could listen at every address. */
export interface Listening {
  /** Addresses that cannot be had, in the order of the start. */
  readonly refused: readonly AddressRefused[];
  /** The daemon of this configuration that serves there; undefined when none does. Then no address is refused for it. */
  readonly running: RunningDaemon | undefined;
}

/** Tries each address of the configuration for an instant, and asks who is there where it is taken. */
export async function tryAddresses(
  config: Pick<Config, 'listen' | 'management' | 'origin'>,
): Promise<Listening> {
  const refused: AddressRefused[] = [];
  // all of them at once, as the daemon will
  const held: { readonly address: ListenAddress; readonly giveBack: () => Promise<void> }[] = [];
  let running: RunningDaemon | undefined;
  try {
    for (const address of addressesOf(config)) {
      try {
        // port 0 is any that is free; the host is tried all the same
        held.push({ address, giveBack: await hold(address) });
      } catch (error) {
        if (!(error instanceof AddressRefused)) throw error;
        const own = held.find((each) => error.isInUse && each.address.port === address.port);
        const found = error.isInUse && address.member === 'listen' ? await daemonAt(address) : undefined;
        if (own !== undefined) refused.push(ownAddress(address, own.address));
        else if (found?.origin === config.origin) running = found;
        // its own management listener is there as well
        else if (!(error.isInUse && running !== undefined)) refused.push(error);
      }
    }
  } finally {
    for (const { giveBack } of held) await giveBack();
  }
  return { refused, running };
}

/**
 * Makes sure that every address can be listened on, before anything costly is done.
 *
 * @throws AlreadyServing when a daemon of this configuration serves there; AddressRefused
 */
export async function requireAddresses(
  config: Pick<Config, 'listen' | 'management' | 'origin'>,
): Promise<void> {
  const { refused, running } = await tryAddresses(config);
  if (running !== undefined)
    throw new AlreadyServing(
      `a daemon of ${running.origin} serves at https://${authorityOf(config.listen)} already: stop it first, or name another address for this one in listen`,
    );
  const [first] = refused;
  if (first !== undefined) throw first;
}
