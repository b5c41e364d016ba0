import { EscrowError } from '../records/errors.js';
import type { KeyId, PrincipalId } from '../records/ids.js';
import { type Recovery, statusAt } from '../records/recovery.js';

/** How many recovery requests one requester may have open: in all, and for any one key. */
export interface OpenRequestLimits {
  readonly perRequester: number;
  readonly perKey: number;
}

/** Limits for an organisation of a usual size. */
export const DEFAULT_OPEN_REQUESTS: OpenRequestLimits = { perRequester: 200, perKey: 20 };

/** A request as far as it counts. */
type Asked = Pick<Recovery, 'requester' | 'keys'>;

/**
 * Keeps a requester from opening requests without bound: each takes a key pair of the token and the time of those who decide.
 * Others are not held up by one who has reached the limit. Requests that this daemon is filing count as open; those that other
 * daemons file in the same moment do not.
 */
export class OpenRequests {
  readonly #limits: OpenRequestLimits;
  readonly #filing: Asked[] = [];

  constructor(limits: OpenRequestLimits) {
    this.#limits = limits;
  }

  /**
   * Files a request. `work` is given what refuses it when there are as many open already.
   * @throws EscrowError `recoveries-too-many`, from what `work` is given
   */
  async file<T>(
    requester: PrincipalId,
    keys: readonly KeyId[],
    work: (check: (open: readonly Recovery[], now: Date) => void) => Promise<T>,
  ): Promise<T> {
    const asked = { requester, keys };
    this.#filing.push(asked);
    try {
      return await work((open, now) => {
        const before = this.#filing.slice(0, this.#filing.indexOf(asked));
        this.#check(asked, [...open.filter((one) => isOpen(one, now)), ...before]);
      });
    } finally {
      this.#filing.splice(this.#filing.indexOf(asked), 1);
    }
  }

  #check({ requester, keys }: Asked, others: readonly Asked[]): void {
    const theirs = others.filter((other) => other.requester === requester);
    const { perRequester, perKey } = this.#limits;
    if (theirs.length >= perRequester)
      throw tooMany(`The caller has ${theirs.length} open requests`, perRequester);
    for (const key of keys) {
      const same = theirs.filter((other) => other.keys.includes(key)).length;
      if (same >= perKey) throw tooMany(`The caller has ${same} open requests for ${key}`, perKey);
    }
  }
}

function isOpen(recovery: Recovery, now: Date): boolean {
  const status = statusAt(recovery, now);
  return status === 'pending' || status === 'approved';
}

function tooMany(what: string, limit: number): EscrowError {
  return new EscrowError('recoveries-too-many', `${what}, and may have ${limit}.`);
}
