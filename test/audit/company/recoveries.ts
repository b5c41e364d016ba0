import { parsePrincipalId } from '../../../src/escrow/records/ids.js';
import { documentHash } from '../../../src/log/export/format.js';
import { sha256Hex } from '../../client/signedActs.js';
import { type Asked, type Company, DAY_MS, type Key, MINUTE_MS } from './company.js';
import { CompanyGrants } from './grants.js';
import { signer } from './people.js';
import { LOG_KEY } from './logKey.js';

/** What becomes of a request. */
export type Ending = 'approved' | 'denied' | 'vetoed' | 'cancelled' | 'expired' | 'stopped' | 'waiting';

/** Requests of the year, and who decides on them. */
export class CompanyRecoveries {
  readonly #company: Company;
  readonly #grants: CompanyGrants;

  constructor(company: Company) {
    this.#company = company;
    this.#grants = new CompanyGrants(company);
  }

  /** Somebody asks for a key that can be brought back, and it comes to this. */
  async request(ending: Ending): Promise<void> {
    const { log } = this.#company;
    const key = this.#keyToRequest();
    if (key === undefined) return;
    const quorum = key.quorums.find((members) => members.every((id) => this.#isListed(id)));
    const [requester, ...others] = this.#company.chance.shuffled(quorum ?? []);
    if (requester === undefined || quorum === undefined) return;
    const isRelease = key.use === 'decrypt' && this.#company.chance.below(4) === 0;
    const recovery = this.#company.newId('rec');
    const subject = { recovery, owner: key.owner, keys: [key.key] };
    const app =
      key.use === 'decrypt'
        ? 'archive'
        : key.spec === 'ec-p256' && this.#company.chance.below(2) === 0
          ? 'payroll'
          : 'mailer';
    const scope = isRelease
      ? { recipient: requester }
      : {
          ...{ app, operations: [key.use], mechanisms: [key.use === 'sign' ? 'ES256' : 'RSA-OAEP-256'] },
          ...{ input: 'message', maxUses: 20 + this.#company.chance.below(80), rate: null },
          ...{ durationMs: 7 * DAY_MS, notBefore: null, notAfter: null },
        };
    const { label, spec, use } = key;
    const asked = {
      ...{ version: 4, purpose: isRelease ? 'release' : 'operate', scope, approvalsHoldMs: 7 * DAY_MS },
      descriptions: { [key.key]: { label, spec, use } },
      reason: REASONS[this.#company.chance.below(REASONS.length)] ?? '',
      expiresAt: new Date(Date.parse(log.now) + 5 * DAY_MS).toISOString(),
    };
    const { descriptions, ...hashed } = asked;
    const requestHash = documentHash({
      ...hashed,
      recovery,
      owner: key.owner,
      keys: descriptions,
      requester,
    });
    await log.done(
      {
        ...{ act: 'recovery.request', by: signer(requester), to: '/v1/recoveries', subject },
        detail: { ...asked, requestHash },
      },
      { detail: { requestHash, transport: sha256Hex(recovery) } },
    );
    const request = {
      recovery,
      requestHash,
      subject,
      requester,
      key,
      quorum,
      order: [requester, ...others],
      scope,
    };
    this.#decide(request, ending, isRelease);
  }

  #decide(request: Asked, ending: Ending, isRelease: boolean): void {
    const agenda = this.#company.agenda;
    const { requester, quorum } = request;
    const nowMs = Date.parse(this.#company.log.now);
    const laterMs = (): number => (10 + this.#company.chance.below(170)) * MINUTE_MS;
    const path = `/v1/recoveries/${request.recovery}`;
    const about = { subject: request.subject };
    const others = quorum.filter((id) => id !== requester);
    switch (ending) {
      case 'approved': {
        let atMs = nowMs;
        for (const [place, id] of request.order.entries()) {
          atMs += laterMs();
          const isLast = place === quorum.length - 1;
          agenda.at(atMs, () => this.#approve(request, id, isLast));
        }
        agenda.at(atMs + 1, () => (isRelease ? this.#release(request) : this.#grants.activate(request)));
        return;
      }
      case 'denied':
        agenda.at(nowMs + laterMs(), () => this.#deny(request, others[0] ?? requester));
        return;
      case 'vetoed':
        agenda.at(nowMs + laterMs(), () =>
          this.#company.log.done(
            {
              ...{ act: 'recovery.veto', by: signer(request.key.owner), to: `${path}/veto`, ...about },
              detail: { requestHash: request.requestHash, reason: 'I am here' },
            },
            { detail: { status: 'vetoed' } },
          ),
        );
        return;
      case 'cancelled':
        agenda.at(nowMs + laterMs(), () =>
          this.#company.log.done(
            {
              ...{ act: 'recovery.cancel', by: signer(requester), to: `${path}/cancel`, ...about },
              detail: { requestHash: request.requestHash, reason: 'asked for the wrong key' },
            },
            { detail: { status: 'cancelled' } },
          ),
        );
        return;
      case 'stopped':
        agenda.at(nowMs + laterMs(), () => this.#stop(request));
        return;
      case 'expired':
        agenda.at(nowMs + 5 * DAY_MS + 3 * MINUTE_MS, () =>
          this.#company.log.done({
            ...{ act: 'recovery.expire', ...about, detail: { requestHash: request.requestHash } },
          }),
        );
        return;
      case 'waiting':
        agenda.at(nowMs + laterMs(), () => this.#approve(request, requester, false));
    }
  }

  async #statement(request: Asked, by: string, decision: 'approve' | 'deny'): Promise<string> {
    const { recovery, requestHash, subject } = request;
    const iat = this.#company.log.nowSeconds;
    return signer(by).sign('escrowd-approval+jwt', {
      ...{ iss: by, aud: LOG_KEY.vkey, iat, exp: iat + (7 * DAY_MS) / 1000, decision },
      ...{ recovery, requestHash, keys: subject.keys },
    });
  }

  async #approve(request: Asked, by: string, isLast: boolean): Promise<void> {
    const { requestHash, subject, recovery, key, quorum } = request;
    const statement = await this.#statement(request, by, 'approve');
    const status = isLast ? 'approved' : 'pending';
    const quorums = isLast ? { quorums: { [key.key]: quorum } } : {};
    await this.#company.log.done(
      {
        ...{ act: 'recovery.approve', by: signer(by), to: `/v1/recoveries/${recovery}/approvals`, subject },
        detail: { requestHash, statement },
      },
      { detail: { status, ...quorums } },
    );
  }

  async #deny(request: Asked, by: string): Promise<void> {
    const { requestHash, subject, recovery } = request;
    const statement = await this.#statement(request, by, 'deny');
    await this.#company.log.done(
      {
        ...{ act: 'recovery.deny', by: signer(by), to: `/v1/recoveries/${recovery}/denials`, subject },
        detail: { requestHash, statement, reason: 'the owner can be reached' },
      },
      { detail: { status: 'denied' } },
    );
  }

  async #stop(request: Asked): Promise<void> {
    const { requestHash, subject, recovery } = request;
    const iat = this.#company.log.nowSeconds;
    const reason = 'asked for in the name of somebody else';
    const claims = { aud: LOG_KEY.vkey, iat, exp: iat + 3600, recovery, requestHash, reason };
    const signers = ['anna', 'bert'];
    const statements = await Promise.all(
      signers.map((id) => signer(id).sign('escrowd-stop+jwt', { iss: id, ...claims })),
    );
    await this.#company.log.done(
      {
        ...{ act: 'recovery.stop', by: signer('anna'), to: `/v1/recoveries/${recovery}/stop`, subject },
        detail: { requestHash, reason, signers, statements },
      },
      { detail: { status: 'cancelled', signers } },
    );
  }

  async #release(request: Asked): Promise<void> {
    const { requestHash, subject, recovery, requester, key, quorum } = request;
    const released = { [key.key]: sha256Hex(`released ${recovery}`) };
    await this.#company.log.done(
      {
        ...{ act: 'recovery.release', by: signer(requester), to: `/v1/recoveries/${recovery}/release` },
        ...{ subject, detail: { requestHash, quorums: { [key.key]: quorum } } },
      },
      { detail: { recipient: requester, released }, digest: documentHash(released) },
    );
  }

  /** Of somebody who is listed still, of which a quorum is. */
  #keyToRequest(): Key | undefined {
    const able = this.#company.keys.filter(
      ({ owner, quorums }) =>
        this.#isListed(owner) && quorums.some((members) => members.every((id) => this.#isListed(id))),
    );
    return able[this.#company.chance.below(able.length)];
  }

  #isListed(id: string): boolean {
    const parsed = parsePrincipalId(id);
    return parsed !== undefined && this.#company.policy().principals.has(parsed);
  }
}

const REASONS = [
  'on leave until next week',
  'ill, and a contract waits to be signed',
  'mail of a customer has to be read',
  'has left, and the file is needed for the audit',
  'month-end closing',
] as const;
