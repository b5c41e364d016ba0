import type { GrantReply } from '../api/replies.js';
import { ServerProblem, ServerUnreachable } from '../client/errors.js';
import type { EscrowClient } from '../client/escrowClient.js';
import type { Asking } from './asking.js';
import { RecentRefusals } from './refusals.js';
import { holds, isOfSpec } from './signatureCheck.js';
import { contextOf } from './useContext.js';
import { type DecryptUse, operationOf, type SignUse, type Told, type Use, UseRefused } from './use.js';

/** The calls of the app's client that uses need. */
export type UsingClient = Pick<EscrowClient, 'caller' | 'sign' | 'decrypt' | 'grants'>;

export interface GrantedUsesParts {
  readonly client: UsingClient;
  readonly now: () => Date;
  readonly tell: (told: Told) => void;
  /** Files requests for uses that no grant allows; undefined: such uses are refused. */
  readonly asking: Asking | undefined;
  /** How long a refusal is repeated without asking anybody. */
  readonly rememberMs: number;
}

/** With these the grant is over, or is not for this: another may be there. */
const NOT_BY_THIS_GRANT: readonly string[] = [
  'grant-unknown',
  'grant-expired',
  'grant-revoked',
  'grant-exhausted',
  'grant-not-started',
  'operation-not-granted',
];
/** Said of the moment: the same input may be signed a second later. */
const PASSING: readonly string[] = [
  ...['server-unreachable', 'caller-gone', 'request-open', 'request-filed', 'request-over'],
  // nothing has been used yet
  ...['rate-limited', 'grant-rate-exceeded', 'busy'],
];
/** By so much this machine's clock may be behind the server's: 60 s, and a request is not taken (see the caller's signature). */
const CLOCK_MS = 60_000;

/**
 * Uses of granted keys, for the tools that the agent serves. Every use is a request that the app signed, made once: what has no
 * answer is not sent again, since it may have been counted. Many may be under way at once.
 */
export class GrantedUses {
  readonly #grants = new Map<string, string>();
  /** Keys with which what the server gave did not hold: no use is spent on them any more. */
  readonly #disbelieved = new Map<string, UseRefused>();
  readonly #refusals: RecentRefusals;

  constructor(private readonly parts: GrantedUsesParts) {
    this.#refusals = new RecentRefusals(parts.rememberMs, parts.now);
  }

  /**
   * A signature in JOSE form (RFC 7518 section 3.4: r || s of ECDSA), checked against the public key.
   * @throws UseRefused
   */
  sign(use: SignUse): Promise<Buffer> {
    return this.#make(use);
  }

  /**
   * A plaintext.
   * @throws UseRefused
   */
  decrypt(use: DecryptUse): Promise<Buffer> {
    return this.#make(use);
  }

  async #make(use: Use): Promise<Buffer> {
    const known = this.#disbelieved.get(use.key.key) ?? this.#refusals.find(use);
    if (known !== undefined) throw known;
    try {
      return await this.#byAny(use);
    } catch (error) {
      const refusal = refusalOf(error);
      if (!PASSING.includes(refusal.code)) this.#refusals.keep(use, refusal);
      this.parts.tell({
        event: 'refused',
        key: use.key.key,
        code: refusal.code,
        sentence: `Refused: ${use.caller} wanted ${use.key.name} to ${operationOf(use)} ${use.what}. ${refusal.message}`,
        ...(refusal.next === undefined ? {} : { next: refusal.next }),
      });
      throw refusal;
    }
  }

  async #byAny(use: Use): Promise<Buffer> {
    const known = this.#grants.get(slotOf(use));
    if (known !== undefined) {
      const output = await this.#by(known, use);
      if (output !== undefined) return output;
    }
    // the last ones may be over already: those that were listed are tried once each
    for (const grant of await this.#live(use)) {
      if (grant === known) continue;
      const output = await this.#by(grant, use);
      if (output !== undefined) return output;
    }
    const { asking } = this.parts;
    if (asking === undefined || use.key.request === undefined) {
      throw new UseRefused(
        'no-grant',
        `No grant allows ${this.parts.client.caller} to ${operationOf(use)} by ${use.mechanism} with this key${use.input.kind === 'digest' ? ' and to send digests' : ''}.`,
        `ask a depositary: escrowctl recovery request ${use.key.key} --purpose operate --app ${this.parts.client.caller} --operation ${operationOf(use)} --mechanism ${use.mechanism}${use.input.kind === 'digest' ? ' --input digest' : ''} --reason TEXT`,
      );
    }
    const grant = await asking.granted(use);
    const output = await this.#by(grant, use);
    if (output !== undefined) return output;
    throw new UseRefused('no-grant', 'What was granted is over already, or is not for this use.');
  }

  /** Undefined when another grant may do. */
  async #by(grant: string, use: Use): Promise<Buffer | undefined> {
    if (use.gone.aborted) throw new UseRefused('caller-gone', 'Who asked has gone; nothing was used.');
    const { key } = use;
    try {
      const { output, remaining } = await (
        isSigned(use) ? this.#signature(grant, use) : this.#plaintext(grant, use)
      ).catch((error: unknown) => {
        throw mayBeCounted(error) ? answerLost(error, grant) : error;
      });
      this.#grants.set(slotOf(use), grant);
      this.parts.tell({
        event: 'used',
        ...{ key: key.key, grant, remaining },
        sentence: `${use.caller} had ${key.name} ${operationOf(use)} ${use.what}: ${remaining} uses of ${grant} are left.`,
      });
      return output;
    } catch (error) {
      if (!(error instanceof ServerProblem) || !NOT_BY_THIS_GRANT.includes(error.code)) throw error;
      this.#grants.delete(slotOf(use));
      return undefined;
    }
  }

  async #signature(grant: string, use: SignUse): Promise<Output> {
    const { mechanism, input } = use;
    const encoded = Buffer.from(input.bytes).toString('base64url');
    const inputs = input.kind === 'message' ? { messages: [encoded] } : { digests: [encoded] };
    const { result } = await this.parts.client.sign(grant, { mechanism, ...inputs, context: contextOf(use) });
    const signature = Buffer.from(result.signatures[0] ?? '', 'base64url');
    if (!holds(use, signature)) throw this.#disbelieve(use);
    return { output: signature, remaining: result.remaining };
  }

  #disbelieve({ key }: Use): UseRefused {
    const refusal = new UseRefused(
      'signature-wrong',
      `What the server answered is no signature of the public key that is configured for ${key.name}. The key is not used again until the agent is started anew.`,
      `compare the public key: escrowctl key show ${key.key} --public-key-out FILE; if it is the same, tell the security team`,
    );
    this.#disbelieved.set(key.key, refusal);
    return refusal;
  }

  async #plaintext(grant: string, use: DecryptUse): Promise<Output> {
    const { mechanism, input } = use;
    const ciphertexts = [{ ciphertext: Buffer.from(input.bytes).toString('base64url') }];
    const { result } = await this.parts.client.decrypt(grant, {
      ...{ mechanism, ciphertexts, context: contextOf(use) },
    });
    const [plaintext = ''] = result.plaintexts;
    return { output: Buffer.from(plaintext, 'base64url'), remaining: result.remaining };
  }

  /** The grants that allow this use, as the server lists them: the one that ends first comes first. */
  async #live(use: Use): Promise<readonly string[]> {
    const { client, now } = this.parts;
    const { key, mechanism, input } = use;
    const found: GrantReply[] = [];
    for (let after: string | undefined; ;) {
      const page = await client.grants({ limit: 200, ...(after === undefined ? {} : { after }) });
      found.push(
        ...page.items.filter(
          ({ key: of, status, scope, startsAt }) =>
            of === key.key &&
            status === 'active' &&
            scope.app === client.caller &&
            scope.operations.includes(operationOf(use)) &&
            scope.mechanisms.includes(mechanism) &&
            (input.kind !== 'digest' || scope.input === 'digest') &&
            Date.parse(startsAt) <= now().getTime() + CLOCK_MS,
        ),
      );
      if (page.next === undefined) break;
      after = page.next;
    }
    const other = found.find(({ spec }) => !isOfSpec(key.publicKey, spec));
    if (other !== undefined)
      throw new UseRefused(
        'public-key-wrong',
        `${key.key} is of the kind ${other.spec}, and the public key that is configured for it is of another.`,
        `escrowctl key show ${key.key} --public-key-out FILE writes the right one; then start the agent again`,
      );
    return found.sort((a, b) => Date.parse(a.expiresAt) - Date.parse(b.expiresAt)).map(({ grant }) => grant);
  }
}

interface Output {
  readonly output: Buffer;
  /** Uses of the grant that are left. */
  readonly remaining: number;
}

function isSigned(use: Use): use is SignUse {
  return use.input.kind !== 'ciphertext';
}

function slotOf({ key, mechanism, input }: Use): string {
  return `${key.key} ${mechanism} ${input.kind}`;
}

/** Whether the server may have counted a use, although it gave no answer. */
function mayBeCounted(error: unknown): error is ServerUnreachable {
  return error instanceof ServerUnreachable && error.reason !== 'refused' && error.reason !== 'tls';
}

function answerLost(cause: ServerUnreachable, grant: string): UseRefused {
  return new UseRefused(
    'answer-lost',
    `The server did not answer (${cause.message}); the use may have been counted.`,
    `what was counted: escrowctl grant show ${grant}`,
    { cause },
  );
}

function refusalOf(error: unknown): UseRefused {
  if (error instanceof UseRefused) return error;
  if (error instanceof ServerProblem)
    return new UseRefused(error.code, error.detail, undefined, { cause: error });
  if (error instanceof ServerUnreachable)
    return new UseRefused(
      'server-unreachable',
      `The server did not answer (${error.message}); nothing was used.`,
      error.next ?? 'try again when the server answers: escrowctl status',
      { cause: error },
    );
  throw error;
}
