import { policyOf } from '../../../src/policy/document.js';
import type { Policy } from '../../../src/escrow/records/policy.js';
import { parsePrincipalId } from '../../../src/escrow/records/ids.js';
import { choose, getOwner } from '../../../src/escrow/rules/rules.js';
import { depositariesIn } from '../../../src/escrow/rules/quorums.js';
import { signPolicy } from '../../../src/client/policy/policyDocument.js';
import type { Json } from '../../../src/log/entry/canonical.js';
import { documentHash } from '../../../src/log/export/format.js';
import { BOOTSTRAP_HASH, sha256Hex } from '../../client/signedActs.js';
import { chance } from '../../support/chance.js';
import { Agenda } from './agenda.js';
import { type Company, DAY_MS, HOUR_MS, type Key, MINUTE_MS } from './company.js';
import { LOG_KEY, ORIGIN } from './logKey.js';
import { DIRECTORIES, HEADS, documentOf, signer } from './people.js';
import { CompanyRecoveries, type Ending } from './recoveries.js';
import { SignedLog } from './signedLog.js';

/** The first administrators, as they are known outside the log. */
export const ADMINISTRATORS = ['anna', 'bert', 'carl'].map((id) => ({ id, keys: [signer(id).publicJwk] }));

const END_MS = Date.parse('2026-11-30T17:00:00.000Z');
/** Everything that is left to chance follows from it, and so does every line of docs/auditors.md. */
const SEED = 200;

/** A year of a company of two hundred people, from December to November: some 2,500 entries, the same bytes each time. */
export async function companyYear(): Promise<SignedLog> {
  const year = new Year();
  await year.run();
  return year.log;
}

class Year implements Company {
  readonly log = new SignedLog(ORIGIN, LOG_KEY, '2025-12-01T07:59:00.000Z');
  readonly agenda = new Agenda();
  readonly chance = chance('company year', SEED);
  readonly keys: Key[] = [];
  readonly #recoveries = new CompanyRecoveries(this);
  #policy: Policy | undefined;
  #made = 0;

  async run(): Promise<void> {
    for (const directory of DIRECTORIES)
      this.agenda.at(directory.from, () => this.#applyPolicy(documentOf(directory) as Json));
    this.#planKeys();
    this.#planRequests();
    this.#planRefusals();
    this.#planAcknowledgements();
    await this.agenda.run((atMs) => {
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
        this.agenda.at(startMs, () => this.#makeKey(id, `mail of ${name}`, 'decrypt'));
        if (at % 3 === 0)
          this.agenda.at(startMs + 2 * DAY_MS, () => this.#makeKey(id, `signature of ${name}`, 'sign'));
      }
    }
  }

  async #makeKey(owner: string, label: string, use: Key['use']): Promise<void> {
    const policy = this.policy();
    const spec = use === 'sign' ? 'ec-p256' : 'rsa-3072';
    const id = parsePrincipalId(owner);
    if (id === undefined) throw new Error(`${owner} is an id`);
    const { rule, quorums } = choose(policy, getOwner(policy, id), spec, use);
    const key = this.newId('key');
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
    this.keys.push({ key, owner, label, spec, use, quorums });
  }

  /** One or two requests on each working day from January on, and some near the end that have to be in every account of it. */
  #planRequests(): void {
    const endings: readonly Ending[] = [
      ...(Array<Ending>(7).fill('approved') satisfies readonly Ending[]),
      ...(['denied', 'vetoed', 'cancelled', 'expired', 'stopped'] as const),
    ];
    const startMs = Date.parse('2026-01-05T09:00:00.000Z');
    for (let day = 0; startMs + day * DAY_MS < END_MS; day += 4) {
      const atMs = startMs + day * DAY_MS + this.chance.below(7 * 60) * MINUTE_MS;
      const ending = endings[this.chance.below(endings.length)] ?? 'approved';
      this.agenda.at(atMs, () => this.#recoveries.request(ending));
    }
    this.agenda.at('2026-11-18T10:12:00.000Z', () => this.#recoveries.request('approved'));
    this.agenda.at('2026-11-30T09:05:00.000Z', () => this.#recoveries.request('approved'));
    this.agenda.at('2026-11-30T11:20:00.000Z', () => this.#recoveries.request('waiting'));
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
      this.agenda.at(startMs + at * 47 * MINUTE_MS, async () => {
        const said = {
          role: 'depositary',
          text: sha256Hex('duties'),
          policyVersion: this.policy().version,
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
      this.agenda.at(startMs + week * 7 * DAY_MS + this.chance.below(2000) * MINUTE_MS, async () => {
        const key = this.keys[this.chance.below(this.keys.length)];
        if (key === undefined) return;
        if (week % 3 === 0) {
          const subject = { key: key.key, owner: key.owner };
          const to = `/v1/keys/${key.key}`;
          await this.log.refused({ act: 'key.read', by: signer('gwen'), to, subject }, 'forbidden');
          return;
        }
        const grant = this.newId('grant');
        const to = `/v1/grants/${grant}/sign`;
        await this.log.refused(
          { act: 'grant.sign', by: signer('mailer'), to, subject: { grant } },
          'grant-unknown',
        );
      });
    }
  }

  policy(): Policy {
    if (this.#policy === undefined) throw new Error('the year begins with a policy');
    return this.#policy;
  }

  newId(kind: 'key' | 'rec' | 'grant'): string {
    this.#made += 1;
    return `${kind}_${sha256Hex(`${kind} ${this.#made}`).slice(0, 32)}`;
  }
}
