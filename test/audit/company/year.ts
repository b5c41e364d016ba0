import { policyOf } from '../../../src/policy/document.js';
import type { Policy } from '../../../src/escrow/records/policy.js';
import { parsePrincipalId } from '../../../src/escrow/records/ids.js';
import { choose, getOwner } from '../../../src/escrow/rules/rules.js';
import { depositariesIn } from '../../../src/escrow/rules/quorums.js';
import { signPolicy } from '../../../src/client/policy/policyDocument.js';
import type { Json } from '../../../src/log/entry/canonical.js';
import { documentHash } from '../../../src/log/export/format.js';
import { fixedPrivateKey, testKeyOf } from '../../log/noteKeys.js';
import { BOOTSTRAP_HASH, sha256Hex } from '../../client/signedActs.js';
import { chance } from '../../support/chance.js';
import { Agenda } from './agenda.js';
import { DIRECTORIES, HEADS, documentOf, signer } from './people.js';
import { SignedLog } from './signedLog.js';

export const ORIGIN = 'escrow.example.com/log';
export const LOG_KEY = testKeyOf(ORIGIN, fixedPrivateKey('company log'));
/** The first administrators, as they are known outside the log. */
export const ADMINISTRATORS = ['anna', 'bert', 'carl'].map((id) => ({ id, keys: [signer(id).publicJwk] }));

const END_MS = Date.parse('2026-11-30T17:00:00.000Z');
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
/** Everything that is left to chance follows from it, and so does every line of docs/auditors.md. */
const SEED = 200;

interface Key {
  readonly key: string;
  readonly owner: string;
  readonly label: string;
  readonly spec: 'ec-p256' | 'rsa-3072';
  readonly use: 'sign' | 'decrypt';
  readonly quorums: readonly (readonly string[])[];
}

type Ending = 'approved' | 'denied' | 'vetoed' | 'cancelled' | 'expired' | 'stopped' | 'waiting';

/** A year of a company of two hundred people, from December to November: some 2,500 entries, the same bytes each time. */
export async function companyYear(): Promise<SignedLog> {
  const year = new Year();
  await year.run();
  return year.log;
}

class Year {
  readonly log = new SignedLog(ORIGIN, LOG_KEY, '2025-12-01T07:59:00.000Z');
  readonly #agenda = new Agenda();
  readonly #chance = chance('company year', SEED);
  readonly #keys: Key[] = [];
  #policy: Policy | undefined;
  #made = 0;

  async run(): Promise<void> {
    for (const directory of DIRECTORIES)
      this.#agenda.at(directory.from, () => this.#applyPolicy(documentOf(directory) as Json));
    this.#planKeys();
    this.#planRequests();
    this.#planRefusals();
    this.#planAcknowledgements();
    await this.#agenda.run((atMs) => {
      this.log.setClock(atMs);
    }, END_MS);
  }

  async #applyPolicy(document: Json): Promise<void> {
    const { log } = this;
    const base = this.#policy?.version ?? 0;
    const order = {
      ...{ hash: documentHash(document), base, replaces: this.#policy?.hash ?? BOOTSTRAP_HASH },
      ...{ logKey: LOG_KEY.vkey, now: new Date(log.now), lifetimeMs: DAY_MS },
    };
    const [first = 'anna', second = 'bert'] = base % 2 === 0 ? ['anna', 'bert'] : ['carl', 'anna'];
    const signatures = await Promise.all([first, second].map((id) => signPolicy(signer(id), order)));
    const detail = { version: base + 1, policyHash: order.hash };
    const signed = { ...detail, replaces: order.replaces, signers: [first, second].sort(), signatures };
    log.documents.push(document);
    await log.done(
      { act: 'policy.apply', by: signer(first), to: '/v1/policy', detail: signed },
      { detail, digest: order.hash },
    );
    this.#policy = policyOf(document, base + 1);
  }

  /** Each owner has a key to decrypt mail from the beginning, every third one to sign; who joins later gets theirs then. */
  #planKeys(): void {
    const known = new Set<string>();
    for (const { from, members } of DIRECTORIES) {
      const owners = members.filter(({ id, roles }) => roles.includes('owner') && !known.has(id));
      for (const [at, { id, name }] of owners.entries()) {
        known.add(id);
        const startMs = Date.parse(from) + HOUR_MS + at * 9 * MINUTE_MS;
        this.#agenda.at(startMs, () => this.#makeKey(id, `mail of ${name}`, 'decrypt'));
        if (at % 3 === 0)
          this.#agenda.at(startMs + 2 * DAY_MS, () => this.#makeKey(id, `signature of ${name}`, 'sign'));
      }
    }
  }

  async #makeKey(owner: string, label: string, use: Key['use']): Promise<void> {
    const policy = this.#policyNow();
    const spec = use === 'sign' ? 'ec-p256' : 'rsa-3072';
    const id = parsePrincipalId(owner);
    if (id === undefined) throw new Error(`${owner} is an id`);
    const { rule, quorums } = choose(policy, getOwner(policy, id), spec, use);
    const key = this.#newId('key');
    // keys to sign are ordered by their owners, mail keys by administrators
    const by = signer(use === 'sign' ? owner : 'carl');
    const subject = { key, owner };
    const purposes = ['operate', 'release'].filter(
      (purpose) => rule[purpose as 'operate' | 'release'] !== undefined,
    );
    const shares = purposes.map((purpose) => ({
      ...{ purpose, kek: `kek:${purpose}:v1` },
      recipients: depositariesIn(quorums).map((depositary) => ({
        depositary,
        recipient: sha256Hex(`depositary key of ${depositary}`),
        share: sha256Hex(`${key} ${purpose} ${depositary}`),
      })),
    }));
    const detail = {
      ...{
        spec,
        use,
        label,
        rule: rule.name,
        policyVersion: policy.version,
        policyHash: policy.hash,
        quorums,
      },
    };
    await this.log.done(
      { act: 'key.generate', by, to: '/v1/keys', subject, detail },
      { detail: { shares, delivered: false } },
    );
    this.#keys.push({ key, owner, label, spec, use, quorums });
  }

  /** One or two requests on each working day from January on, and some near the end that have to be in every account of it. */
  #planRequests(): void {
    const endings: readonly Ending[] = [
      ...(Array<Ending>(7).fill('approved') satisfies readonly Ending[]),
      ...(['denied', 'vetoed', 'cancelled', 'expired', 'stopped'] as const),
    ];
    const startMs = Date.parse('2026-01-05T09:00:00.000Z');
    for (let day = 0; startMs + day * DAY_MS < END_MS; day += 4) {
      const atMs = startMs + day * DAY_MS + this.#chance.below(7 * 60) * MINUTE_MS;
      const ending = endings[this.#chance.below(endings.length)] ?? 'approved';
      this.#agenda.at(atMs, () => this.#request(ending));
    }
    this.#agenda.at('2026-11-18T10:12:00.000Z', () => this.#request('approved'));
    this.#agenda.at('2026-11-30T09:05:00.000Z', () => this.#request('approved'));
    this.#agenda.at('2026-11-30T11:20:00.000Z', () => this.#request('waiting'));
  }

  async #request(ending: Ending): Promise<void> {
    const { log } = this;
    const key = this.#keyToRequest();
    if (key === undefined) return;
    const quorum = key.quorums.find((members) => members.every((id) => this.#isListed(id)));
    const [requester, ...others] = this.#chance.shuffled(quorum ?? []);
    if (requester === undefined || quorum === undefined) return;
    const isRelease = key.use === 'decrypt' && this.#chance.below(4) === 0;
    const recovery = this.#newId('rec');
    const subject = { recovery, owner: key.owner, keys: [key.key] };
    const app =
      key.use === 'decrypt'
        ? 'archive'
        : key.spec === 'ec-p256' && this.#chance.below(2) === 0
          ? 'payroll'
          : 'mailer';
    const scope = isRelease
      ? { recipient: requester }
      : {
          ...{ app, operations: [key.use], mechanisms: [key.use === 'sign' ? 'ES256' : 'RSA-OAEP-256'] },
          ...{ input: 'message', maxUses: 20 + this.#chance.below(80), rate: null },
          ...{ durationMs: 7 * DAY_MS, notBefore: null, notAfter: null },
        };
    const { label, spec, use } = key;
    const asked = {
      ...{ version: 4, purpose: isRelease ? 'release' : 'operate', scope, approvalsHoldMs: 7 * DAY_MS },
      descriptions: { [key.key]: { label, spec, use } },
      reason: REASONS[this.#chance.below(REASONS.length)] ?? '',
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
    const agenda = this.#agenda;
    const { requester, quorum } = request;
    const nowMs = Date.parse(this.log.now);
    const laterMs = (): number => (10 + this.#chance.below(170)) * MINUTE_MS;
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
        agenda.at(atMs + 1, () => (isRelease ? this.#release(request) : this.#activate(request)));
        return;
      }
      case 'denied':
        agenda.at(nowMs + laterMs(), () => this.#deny(request, others[0] ?? requester));
        return;
      case 'vetoed':
        agenda.at(nowMs + laterMs(), () =>
          this.log.done(
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
          this.log.done(
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
          this.log.done({
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
    const iat = this.log.nowSeconds;
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
    await this.log.done(
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
    await this.log.done(
      {
        ...{ act: 'recovery.deny', by: signer(by), to: `/v1/recoveries/${recovery}/denials`, subject },
        detail: { requestHash, statement, reason: 'the owner can be reached' },
      },
      { detail: { status: 'denied' } },
    );
  }

  async #stop(request: Asked): Promise<void> {
    const { requestHash, subject, recovery } = request;
    const iat = this.log.nowSeconds;
    const reason = 'asked for in the name of somebody else';
    const claims = { aud: LOG_KEY.vkey, iat, exp: iat + 3600, recovery, requestHash, reason };
    const signers = ['anna', 'bert'];
    const statements = await Promise.all(
      signers.map((id) => signer(id).sign('escrowd-stop+jwt', { iss: id, ...claims })),
    );
    await this.log.done(
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
    await this.log.done(
      {
        ...{ act: 'recovery.release', by: signer(requester), to: `/v1/recoveries/${recovery}/release` },
        ...{ subject, detail: { requestHash, quorums: { [key.key]: quorum } } },
      },
      { detail: { recipient: requester, released }, digest: documentHash(released) },
    );
  }

  async #activate(request: Asked): Promise<void> {
    const { requestHash, subject, recovery, key, quorum, scope } = request;
    const grant = this.#newId('grant');
    const grants = { [key.key]: grant };
    const nowMs = Date.parse(this.log.now);
    const expiresMs = nowMs + 7 * DAY_MS;
    const { app = '', maxUses = 0 } = scope;
    await this.log.done(
      {
        act: 'recovery.activate',
        ...{ subject, detail: { requestHash, quorums: { [key.key]: quorum }, grants } },
      },
      {
        detail: {
          ...{ app, maxUses, grants, startsAt: this.log.now },
          expiresAt: new Date(expiresMs).toISOString(),
        },
      },
    );
    const about = { grant, key: key.key, owner: key.owner, recovery };
    const uses = Math.min(maxUses, 4 + this.#chance.below(24));
    for (let use = 0; use < uses; use += 1) {
      this.#agenda.at(this.#momentWithin(nowMs, expiresMs - HOUR_MS), () => this.#use(about, app, key.use));
    }
    this.#agenda.at(expiresMs + MINUTE_MS, () =>
      this.log.done({ act: 'grant.expire', subject: about }, { detail: { status: 'expired', used: uses } }),
    );
  }

  /** Nineteen of twenty in the hours of the office, on working days as on others. */
  #momentWithin(fromMs: number, toMs: number): number {
    const atMs = fromMs + 5 * MINUTE_MS + this.#chance.below(Math.max(1, toMs - fromMs - 5 * MINUTE_MS));
    const midnightMs = atMs - (atMs % DAY_MS);
    const isOdd = this.#chance.below(20) === 0;
    const hours = isOdd ? this.#chance.below(6) : 8 + this.#chance.below(8);
    const weekday = new Date(midnightMs).getUTCDay();
    const workday = isOdd || (weekday !== 0 && weekday !== 6) ? midnightMs : midnightMs - 2 * DAY_MS;
    const wantedMs = workday + hours * HOUR_MS + this.#chance.below(60) * MINUTE_MS;
    // on the day of the grant itself it may be too late by then
    const earliestMs = fromMs + (5 + this.#chance.below(50)) * MINUTE_MS;
    return Math.min(Math.max(wantedMs, earliestMs), toMs);
  }

  async #use(about: Readonly<Record<'grant' | 'key', string>>, app: string, use: Key['use']): Promise<void> {
    const act = `grant.${use}`;
    const inputs = [sha256Hex(`input ${this.log.entries.length}`)];
    const mechanism = use === 'sign' ? 'ES256' : 'RSA-OAEP-256';
    const attempt = {
      ...{ act, by: signer(app), to: `/v1/grants/${about.grant}/${use}`, subject: about },
      detail: { mechanism, input: 'message', inputs },
    };
    if (this.#chance.below(60) === 0) await this.log.failed(attempt, 'token-unavailable');
    else await this.log.done(attempt, { detail: { uses: 1 } });
  }

  /** Every depositary but two acknowledges their duties in the second week of January. */
  #planAcknowledgements(): void {
    const startMs = Date.parse('2026-01-12T08:30:00.000Z');
    for (const [at, id] of [
      'dora',
      'erik',
      'otto',
      'paula',
      'victor',
      ...HEADS.map((one) => one.id),
    ].entries())
      this.#agenda.at(startMs + at * 47 * MINUTE_MS, async () => {
        const said = {
          role: 'depositary',
          text: sha256Hex('duties'),
          policyVersion: this.#policyNow().version,
        };
        const iat = this.log.nowSeconds;
        const claims = { iss: id, aud: LOG_KEY.vkey, iat, exp: iat + 600, ...said };
        const statement = await signer(id).sign('escrowd-acknowledgement+jwt', claims);
        await this.log.done(
          {
            ...{ act: 'depositary.acknowledge', by: signer(id), to: '/v1/acknowledgements' },
            detail: { ...said, statement },
          },
          { detail: said },
        );
      });
  }

  /** Apps that try what has ended, people who ask for what is not theirs. */
  #planRefusals(): void {
    const startMs = Date.parse('2026-01-07T10:00:00.000Z');
    for (let week = 0; startMs + week * 7 * DAY_MS < END_MS; week += 1) {
      this.#agenda.at(startMs + week * 7 * DAY_MS + this.#chance.below(2000) * MINUTE_MS, async () => {
        const key = this.#keys[this.#chance.below(this.#keys.length)];
        if (key === undefined) return;
        if (week % 3 === 0) {
          const subject = { key: key.key, owner: key.owner };
          const to = `/v1/keys/${key.key}`;
          await this.log.refused({ act: 'key.read', by: signer('gwen'), to, subject }, 'forbidden');
          return;
        }
        const grant = this.#newId('grant');
        const to = `/v1/grants/${grant}/sign`;
        await this.log.refused(
          { act: 'grant.sign', by: signer('mailer'), to, subject: { grant } },
          'grant-unknown',
        );
      });
    }
  }

  /** Of somebody who is listed still, of which a quorum is. */
  #keyToRequest(): Key | undefined {
    const able = this.#keys.filter(
      ({ owner, quorums }) =>
        this.#isListed(owner) && quorums.some((members) => members.every((id) => this.#isListed(id))),
    );
    return able[this.#chance.below(able.length)];
  }

  #isListed(id: string): boolean {
    const parsed = parsePrincipalId(id);
    return parsed !== undefined && this.#policyNow().principals.has(parsed);
  }

  #policyNow(): Policy {
    if (this.#policy === undefined) throw new Error('the year begins with a policy');
    return this.#policy;
  }

  #newId(kind: 'key' | 'rec' | 'grant'): string {
    this.#made += 1;
    return `${kind}_${sha256Hex(`${kind} ${this.#made}`).slice(0, 32)}`;
  }
}

interface Asked {
  readonly recovery: string;
  readonly requestHash: string;
  readonly subject: { readonly recovery: string; readonly owner: string; readonly keys: readonly string[] };
  readonly requester: string;
  readonly key: Key;
  readonly quorum: readonly string[];
  /** The same people, as they decide one after the other: who asks is the first. */
  readonly order: readonly string[];
  readonly scope: {
    readonly app?: string;
    readonly maxUses?: number;
    readonly recipient?: string;
  };
}

const REASONS = [
  'on leave until next week',
  'ill, and a contract waits to be signed',
  'mail of a customer has to be read',
  'has left, and the file is needed for the audit',
  'month-end closing',
] as const;
