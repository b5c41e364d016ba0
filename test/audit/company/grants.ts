import { sha256Hex } from '../../client/signedActs.js';
import { type Asked, type Company, DAY_MS, HOUR_MS, type Key, MINUTE_MS } from './company.js';
import { signer } from './people.js';

/** Grants of the year, each with its uses and its end. */
export class CompanyGrants {
  readonly #company: Company;

  constructor(company: Company) {
    this.#company = company;
  }

  /** Makes the grant that was approved, and has its app use it within the week. */
  async activate(request: Asked): Promise<void> {
    const { requestHash, subject, recovery, key, quorum, scope } = request;
    const grant = this.#company.newId('grant');
    const grants = { [key.key]: grant };
    const nowMs = Date.parse(this.#company.log.now);
    const expiresMs = nowMs + 7 * DAY_MS;
    const { app = '', maxUses = 0 } = scope;
    await this.#company.log.done(
      {
        act: 'recovery.activate',
        ...{ subject, detail: { requestHash, quorums: { [key.key]: quorum }, grants } },
      },
      {
        detail: {
          ...{ app, maxUses, grants, startsAt: this.#company.log.now },
          expiresAt: new Date(expiresMs).toISOString(),
        },
      },
    );
    const about = { grant, key: key.key, owner: key.owner, recovery };
    const uses = Math.min(maxUses, 4 + this.#company.chance.below(24));
    for (let use = 0; use < uses; use += 1) {
      this.#company.agenda.at(this.#momentWithin(nowMs, expiresMs - HOUR_MS), () =>
        this.#use(about, app, key.use),
      );
    }
    this.#company.agenda.at(expiresMs + MINUTE_MS, () =>
      this.#company.log.done(
        { act: 'grant.expire', subject: about },
        { detail: { status: 'expired', used: uses } },
      ),
    );
  }

  /** Nineteen of twenty in the hours of the office, on working days as on others. */
  #momentWithin(fromMs: number, toMs: number): number {
    const atMs =
      fromMs + 5 * MINUTE_MS + this.#company.chance.below(Math.max(1, toMs - fromMs - 5 * MINUTE_MS));
    const midnightMs = atMs - (atMs % DAY_MS);
    const isOdd = this.#company.chance.below(20) === 0;
    const hours = isOdd ? this.#company.chance.below(6) : 8 + this.#company.chance.below(8);
    const weekday = new Date(midnightMs).getUTCDay();
    const workday = isOdd || (weekday !== 0 && weekday !== 6) ? midnightMs : midnightMs - 2 * DAY_MS;
    const wantedMs = workday + hours * HOUR_MS + this.#company.chance.below(60) * MINUTE_MS;
    // on the day of the grant itself it may be too late by then
    const earliestMs = fromMs + (5 + this.#company.chance.below(50)) * MINUTE_MS;
    return Math.min(Math.max(wantedMs, earliestMs), toMs);
  }

  async #use(about: Readonly<Record<'grant' | 'key', string>>, app: string, use: Key['use']): Promise<void> {
    const act = `grant.${use}`;
    const inputs = [sha256Hex(`input ${this.#company.log.entries.length}`)];
    const mechanism = use === 'sign' ? 'ES256' : 'RSA-OAEP-256';
    const attempt = {
      ...{ act, by: signer(app), to: `/v1/grants/${about.grant}/${use}`, subject: about },
      detail: { mechanism, input: 'message', inputs },
    };
    if (this.#company.chance.below(60) === 0) await this.#company.log.failed(attempt, 'token-unavailable');
    else await this.#company.log.done(attempt, { detail: { uses: 1 } });
  }
}
