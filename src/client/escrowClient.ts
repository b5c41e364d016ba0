import { randomUUID } from 'node:crypto';

import { type z, ZodError } from 'zod';

import type {
  ApprovalOrder,
  ChoiceOrder,
  RedeliveryOrder,
  ConfirmationOrder,
  DecryptOrder,
  DenialOrder,
  DrillOrder,
  HistoryOrder,
  IntentOrder,
  ImportKeyOrder,
  ImportOrder,
  KeyOrder,
  PolicyOrder,
  RecoveryOrder,
  SecretOrder,
  SignOrder,
  StopOrder,
} from '../api/orders.js';
import type {
  AcknowledgementReply,
  Acted,
  Answer,
  AppliedPolicyReply,
  ChoiceReply,
  CoveragePageReply,
  DocumentsReply,
  DrillPageReply,
  DrilledReply,
  EntryReply,
  GivenUpNoticeReply,
  GrantReply,
  GrantsReply,
  HistoryReply,
  HistoryStatementReply,
  ImportKeyReply,
  KeyReply,
  PageReply,
  PlaintextsReply,
  PolicyPlanReply,
  PolicyReply,
  PublicKeyReply,
  RecoveryReply,
  RedeliveryReply,
  ReleasedKeysReply,
  ReplyName,
  ServerReply,
  SignaturesReply,
  StandingReply,
  WarningsReply,
} from '../api/replies.js';
import { tilePath } from '../log/tree/tiles.js';
import type { Connection, WireAnswer } from './connection.js';
import { ServerProblem, ServerUnreachable } from './errors.js';
import { asProblem } from './problem.js';
import { replyOf, TOLERANT_REPLIES } from '../api/replies.js';
import { type ApiRoute, ROUTES } from '../api/routes.js';
import { type Repetition, sendRepeatedly } from './repetition.js';
import { signRequest } from './requestSignature.js';
import type { Signer } from './identity/signingKey.js';

/** Where a list begins, and how much of it is wanted at once. */
export interface PageQuery {
  readonly after?: string;
  readonly limit?: number;
}

/** Which part of a history; `upTo` is the size of the checkpoint that the proofs are to be in. */
export interface HistoryQuery extends PageQuery, HistoryOrder {
  readonly upTo?: number;
}

/** A route, by what is answered. */
type Asked<N extends ReplyName> = ApiRoute & { readonly reply: N };

/** What a request says, besides who sends it. */
interface Sent {
  readonly path?: Readonly<Record<string, string>>;
  /** What is undefined in it is left out. */
  readonly query?: object;
  readonly body?: unknown;
}

/** By what requests are signed, and for which log they are good. */
interface Signing {
  readonly signer: Signer;
  /** The C2SP verifier key of the log, pinned: requests are good for this server only. */
  readonly logKey: string;
  readonly now: () => Date;
}

/** Who asks, and over which connection. */
export interface EscrowClientParts extends Signing {
  readonly connection: Connection;
  /** How what makes something is sent again when its answer is lost; never, when it is not given. */
  readonly repetition?: Repetition;
  /**
   * How an app asks to sign and decrypt: with a signed request, as everything else; or with none, on a connection with its
   * client certificate, so that nothing in the log but the server's word says that it asked. `signature` when not given.
   */
  readonly operateBy?: 'signature' | 'certificate';
}

/** The calls that need nothing but a client certificate, and those that are public. */
export type CertifiedClient = Pick<
  EscrowClient,
  | 'sign'
  | 'decrypt'
  | 'signWithKey'
  | 'decryptWithKey'
  | 'grants'
  | 'grant'
  | 'publicKey'
  | 'server'
  | 'isReady'
  | 'checkpoint'
  | 'close'
>;

/**
 * Every route of the API, typed. Each call that is not public is signed by the caller's key, but for those of {@link EscrowClientParts.operateBy}.
 *
 * Every method throws ServerProblem when the server says no, and ServerUnreachable when no usable answer came (then a
 * call that changes something may have been acted on: look before doing it again). Many calls may run at once.
 *
 * {@link EscrowClient.generateKey}, {@link EscrowClient.importKey}, {@link EscrowClient.importSecret} and {@link EscrowClient.requestRecovery} carry an Idempotency-Key of their own: they are sent
 * again, as `repetition` says, when the connection was lost or the server cannot at the moment, and make one thing.
 */
export class EscrowClient {
  readonly #parts: Omit<EscrowClientParts, keyof Signing> & Partial<Signing>;
  #clockAheadMs: number | undefined;

  constructor(parts: EscrowClientParts) {
    this.#parts = parts;
  }

  /** What an app can ask with its client certificate alone, which the connection is to show: it needs no key to sign with. */
  static byCertificate(connection: Connection): CertifiedClient {
    return new EscrowClient({ connection, operateBy: 'certificate' } as EscrowClientParts);
  }

  /** How far this machine's clock is ahead of the server's, by the last answer, to about a second; undefined when nothing was said. */
  get clockAheadMs(): number | undefined {
    return this.#clockAheadMs;
  }

  get caller(): string {
    return this.#signing().signer.id;
  }

  /** What the server says it is; nothing to be relied on: see the pinned keys. */
  server(): Promise<ServerReply> {
    return this.#ask(ROUTES.getServer);
  }

  /** Whether the daemon can work; why not, its management listener says (see `readManagement`). */
  async isReady(): Promise<boolean> {
    return (await this.#send('GET', '/readyz', undefined, false)).status === 200;
  }

  /** The newest checkpoint: a signed note, not checked here. */
  async checkpoint(): Promise<string> {
    const answer = await this.#send('GET', ROUTES.getCheckpoint.path, undefined, false);
    if (answer.status !== 200) throw asProblem(answer);
    return answer.body.toString('utf8');
  }

  /**
   * The newest checkpoint that `count` of the witnesses with these key ids (eight hexadecimal digits) are said to have
   * cosigned: a signed note, not checked here. Undefined when there is none yet.
   */
  async witnessedCheckpoint(count: number, keyIds: readonly string[]): Promise<string | undefined> {
    const target = `${ROUTES.getCheckpoint.path}?witnessed=${count}&by=${keyIds.join(',')}`;
    const answer = await this.#send('GET', target, undefined, false);
    if (answer.status === 200) return answer.body.toString('utf8');
    const problem = asProblem(answer);
    if (problem instanceof ServerProblem && problem.code === 'checkpoint-unwitnessed') return undefined;
    throw problem;
  }

  /** The consistency proof (RFC 6962 section 2.1.2) between two sizes. */
  async consistency(oldSize: number, newSize: number): Promise<readonly Uint8Array[]> {
    const { proof } = await this.#ask(ROUTES.getConsistency, { query: { old: oldSize, new: newSize } });
    return proof.map((hash) => Buffer.from(hash, 'base64'));
  }

  /** A C2SP tile: the first `width` hashes, one after the other, not checked here. */
  async tile(level: number, index: number, width: number): Promise<Uint8Array> {
    return bytesOf(await this.#send('GET', `/v1/log/${tilePath(level, index, width)}`, undefined, false));
  }

  /** A C2SP entry bundle, for auditors: see `entriesOfBundle`. Not checked here. */
  async bundle(index: number, width: number): Promise<Uint8Array> {
    const path = tilePath(0, index, width).replace('tile/0/', 'tile/entries/');
    return bytesOf(await this.#send('GET', `/v1/log/${path}`, undefined, true));
  }

  applyPolicy(order: PolicyOrder): Promise<Acted<PolicyReply>> {
    return this.#do(ROUTES.applyPolicy, { body: order });
  }

  policy(): Promise<PolicyReply> {
    return this.#ask(ROUTES.getPolicy);
  }

  /**
   * What administrators would sign of this document, and the keys that it leaves covered worse, 200 at a time: `after` is what the
   * page before said in `losses.next`. A ServerProblem `policy-invalid` when it may not follow the policy in force.
   */
  planPolicy(document: unknown, after?: string): Promise<PolicyPlanReply> {
    return this.#ask(ROUTES.planPolicy, { body: { document, ...(after === undefined ? {} : { after }) } });
  }

  /** What a new policy is weighed against: who is enrolled, and which quorums deposits have. */
  standing(): Promise<StandingReply> {
    return this.#ask(ROUTES.getPolicyStanding);
  }

  /** Quorums that are impossible, or soon would be. */
  warnings(): Promise<WarningsReply> {
    return this.#ask(ROUTES.getPolicyWarnings);
  }

  /** The policies that were ever in force, newest first. */
  policyHistory(query: PageQuery = {}): Promise<PageReply<AppliedPolicyReply>> {
    return this.#ask(ROUTES.getPolicyHistory, { query });
  }

  /** Who would be chosen for a key of this owner, and why. */
  choice(order: ChoiceOrder): Promise<ChoiceReply> {
    return this.#ask(ROUTES.chooseDepositaries, { body: order });
  }

  generateKey(order: KeyOrder): Promise<Acted<KeyReply>> {
    return this.#do(ROUTES.generateKey, { body: order });
  }

  /** A one-time key to import under; to be believed only by its attestation (see `believeImportPair`). */
  prepareImport(order: ImportKeyOrder): Promise<Acted<ImportKeyReply>> {
    return this.#do(ROUTES.prepareImport, { body: order });
  }

  importKey(pair: string, order: ImportOrder): Promise<Acted<KeyReply>> {
    return this.#do(ROUTES.importKey, { path: { import: pair }, body: order });
  }

  importSecret(pair: string, order: SecretOrder): Promise<Acted<KeyReply>> {
    return this.#do(ROUTES.importSecret, { path: { import: pair }, body: order });
  }

  keys(query: PageQuery = {}): Promise<PageReply<KeyReply>> {
    return this.#ask(ROUTES.listKeys, { query });
  }

  key(key: string): Promise<KeyReply> {
    return this.#ask(ROUTES.getKey, { path: { key } });
  }

  /** The public half of a key; an app names it by id or label, while a grant of its own for it runs. */
  publicKey(key: string): Promise<PublicKeyReply> {
    return this.#ask(ROUTES.getPublicKey, { path: { key } });
  }

  /** Keys with the quorums that could bring them back now: all, or an owner's own. */
  coverage(query: PageQuery = {}): Promise<CoveragePageReply> {
    return this.#ask(ROUTES.listCoverage, { query });
  }

  /** A page of the caller's shares with all that is needed to drill them; those of one key alone, where it is given. */
  drills(query: PageQuery & { readonly key?: string } = {}): Promise<DrillPageReply> {
    return this.#ask(ROUTES.listDrills, { query });
  }

  /** Hands in what `drill` of src/client/depositary/drill.ts has made. */
  sendDrill(drill: DrillOrder): Promise<Acted<DrilledReply>> {
    return this.#do(ROUTES.drillShares, { body: drill });
  }

  requestRecovery(order: RecoveryOrder): Promise<Acted<RecoveryReply>> {
    return this.#do(ROUTES.requestRecovery, { body: order });
  }

  recoveries(query: PageQuery = {}): Promise<PageReply<RecoveryReply>> {
    return this.#ask(ROUTES.listRecoveries, { query });
  }

  /** Those of one job. */
  recoveriesOf(job: string, query: PageQuery = {}): Promise<PageReply<RecoveryReply>> {
    return this.#ask(ROUTES.listRecoveries, { query: { job, ...query } });
  }

  recovery(recovery: string): Promise<RecoveryReply> {
    return this.#ask(ROUTES.getRecovery, { path: { recovery } });
  }

  /** Hands in an intent made by `intend` (see depositary/depositary.ts). */
  sendIntent(recovery: string, intent: IntentOrder): Promise<Acted<RecoveryReply>> {
    return this.#do(ROUTES.intendRecovery, { path: { recovery }, body: intent });
  }

  /** Hands in an approval made by `approve` (see depositary/depositary.ts). */
  sendApproval(recovery: string, approval: ApprovalOrder): Promise<Acted<RecoveryReply>> {
    return this.#do(ROUTES.approveRecovery, { path: { recovery }, body: approval });
  }

  /** Hands in a denial made by `deny` (see depositary/depositary.ts). */
  sendDenial(recovery: string, denial: DenialOrder): Promise<Acted<RecoveryReply>> {
    return this.#do(ROUTES.denyRecovery, { path: { recovery }, body: denial });
  }

  veto(recovery: string, reason: string): Promise<Acted<RecoveryReply>> {
    return this.#do(ROUTES.vetoRecovery, { path: { recovery }, body: { reason } });
  }

  cancel(recovery: string, reason: string): Promise<Acted<RecoveryReply>> {
    return this.#do(ROUTES.cancelRecovery, { path: { recovery }, body: { reason } });
  }

  /** Hands in administrators' statements made by `signStop` (see stop.ts): the request of whomever ends. */
  stop(recovery: string, stop: StopOrder): Promise<Acted<RecoveryReply>> {
    return this.#do(ROUTES.stopRecovery, { path: { recovery }, body: stop });
  }

  /** A grant for each key of the request. */
  activate(recovery: string): Promise<Acted<GrantsReply>> {
    return this.#do(ROUTES.activateRecovery, { path: { recovery }, body: {} });
  }

  /** Seals the keys of an approved request anew. */
  reseal(recovery: string): Promise<Acted<RecoveryReply>> {
    return this.#do(ROUTES.resealKeys, { path: { recovery }, body: {} });
  }

  /** The keys, encrypted to the recipient: open each with `openRelease`. Works once a request. */
  release(recovery: string): Promise<Acted<ReleasedKeysReply>> {
    return this.#do(ROUTES.releaseKeys, { path: { recovery }, body: {} });
  }

  /** Tells the server that released keys are written and open: it forgets them (see `confirmation` in depositary/release.ts). */
  confirmRelease(recovery: string, confirmation: ConfirmationOrder): Promise<Acted<RecoveryReply>> {
    return this.#do(ROUTES.confirmRelease, { path: { recovery }, body: confirmation });
  }

  grants(query: PageQuery = {}): Promise<PageReply<GrantReply>> {
    return this.#ask(ROUTES.listGrants, { query });
  }

  grant(grant: string): Promise<GrantReply> {
    return this.#ask(ROUTES.getGrant, { path: { grant } });
  }

  revoke(grant: string, reason: string): Promise<Acted<GrantReply>> {
    return this.#do(ROUTES.revokeGrant, { path: { grant }, body: { reason } });
  }

  sign(grant: string, order: SignOrder): Promise<Acted<SignaturesReply>> {
    return this.#do(ROUTES.sign, { path: { grant }, body: order });
  }

  decrypt(grant: string, order: DecryptOrder): Promise<Acted<PlaintextsReply>> {
    return this.#do(ROUTES.decrypt, { path: { grant }, body: order });
  }

  /** Under whichever grant of the app allows it with this key, by its id or label. */
  signWithKey(key: string, order: SignOrder): Promise<Acted<SignaturesReply>> {
    return this.#do(ROUTES.signWithKey, { path: { key }, body: order });
  }

  /** As {@link signWithKey}. */
  decryptWithKey(key: string, order: DecryptOrder): Promise<Acted<PlaintextsReply>> {
    return this.#do(ROUTES.decryptWithKey, { path: { key }, body: order });
  }

  /** The caller's own history, newest first, with proofs that are not checked here (see history/ownHistory.ts). */
  history(query: HistoryQuery = {}): Promise<HistoryReply> {
    return this.#ask(ROUTES.listHistory, { query });
  }

  /** The token's statement that the caller's history up to its checkpoint is complete; not checked here. */
  historyStatement(order: HistoryOrder = {}): Promise<Acted<HistoryStatementReply>> {
    return this.#do(ROUTES.attestHistory, { body: order });
  }

  /** Entries in order, from an index on; the server may return fewer than `limit`. */
  async entries(from: number, limit: number): Promise<readonly EntryReply[]> {
    return (await this.#ask(ROUTES.listEntries, { query: { from, limit } })).items;
  }

  /** The directory documents that were ever in force, oldest first; at most 20 at once. */
  documents(query: PageQuery = {}): Promise<DocumentsReply> {
    return this.#ask(ROUTES.listPolicies, { query });
  }

  /** The notices that sinks did not take, newest first; those of one sink, when it is named. */
  givenUpNotices(query: PageQuery & { readonly sink?: string } = {}): Promise<PageReply<GivenUpNoticeReply>> {
    return this.#ask(ROUTES.listGivenUpNotices, { query });
  }

  /** Acknowledges duties by a signed statement; see `signAcknowledgement`. */
  acknowledgeDuties(statement: string): Promise<Acted<AcknowledgementReply>> {
    return this.#do(ROUTES.acknowledgeDuties, { body: { statement } });
  }

  /** Has a sink told again what was given up: at most 100 at once. */
  redeliverNotices(order: RedeliveryOrder): Promise<Acted<RedeliveryReply>> {
    return this.#do(ROUTES.redeliverNotices, { body: order });
  }

  /** Ends the connections; the client is of no use afterwards. */
  close(): void {
    this.#parts.connection.close();
  }

  /** What only reads. */
  async #ask<N extends ReplyName>(route: Asked<N>, sent: Sent = {}): Promise<Answer<N>> {
    const { method, act } = route;
    const answer = await this.#send(method, targetOf(route, sent), sent.body, act !== undefined);
    return parsed(answer, replyOf(TOLERANT_REPLIES, route.reply));
  }

  /** What changes something. */
  async #do<N extends ReplyName>(route: Asked<N>, sent: Sent): Promise<Acted<Answer<N>>> {
    const answer = await this.#sent(route, targetOf(route, sent), sent.body);
    return parsed(answer, TOLERANT_REPLIES.proven(replyOf(TOLERANT_REPLIES, route.reply)));
  }

  /** Of what makes something, each try is signed anew; all of them are the one request. */
  #sent(
    { method, takesIdempotencyKey, takesCertificate }: ApiRoute,
    target: string,
    body: unknown,
  ): Promise<WireAnswer> {
    const { repetition, operateBy } = this.#parts;
    const isSigned = takesCertificate === undefined || operateBy !== 'certificate';
    const key = takesIdempotencyKey === undefined ? undefined : randomUUID();
    const send = (): Promise<WireAnswer> => this.#send(method, target, body, isSigned, key);
    return key === undefined || repetition === undefined ? send() : sendRepeatedly(send, repetition);
  }

  async #send(
    method: 'GET' | 'POST',
    target: string,
    content: unknown,
    signed: boolean,
    idempotencyKey?: string,
  ): Promise<WireAnswer> {
    const body = content === undefined ? new Uint8Array(0) : Buffer.from(JSON.stringify(content));
    const headers: Record<string, string> = { accept: 'application/json, text/plain' };
    if (content !== undefined) headers['content-type'] = 'application/json';
    if (idempotencyKey !== undefined) headers['idempotency-key'] = `"${idempotencyKey}"`;
    if (signed) {
      const { signer, logKey, now } = this.#signing();
      const named = idempotencyKey === undefined ? {} : { idempotencyKey };
      const jws = await signRequest(signer, logKey, { method, target, body, ...named }, now());
      headers['authorization'] = `Escrowd-JWS ${jws}`;
    }
    const answer = await this.#parts.connection.send({ method, target, headers, body });
    const clockAheadMs = aheadOf(answer.date, this.#parts.now?.());
    this.#clockAheadMs = clockAheadMs ?? this.#clockAheadMs;
    return { ...answer, clockAheadMs };
  }

  #signing(): Signing {
    const { signer, logKey, now } = this.#parts;
    if (signer !== undefined && logKey !== undefined && now !== undefined) return { signer, logKey, now };
    throw new TypeError(
      'without a signer this client can sign and decrypt with a certificate, and nothing else',
    );
  }
}

/** What a server says of the time is cut off to the second. */
function aheadOf(date: Date | undefined, now: Date | undefined): number | undefined {
  return date === undefined || now === undefined ? undefined : now.getTime() - (date.getTime() + 500);
}

function targetOf({ path }: Pick<ApiRoute, 'path'>, { path: parameters = {}, query = {} }: Sent): string {
  const steps = path.replace(/:(\w+)/g, (_step, name: string) => encodeURIComponent(parameters[name] ?? ''));
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) search.set(name, String(value));
  }
  return search.size === 0 ? steps : `${steps}?${search.toString()}`;
}

function parsed<T>(answer: WireAnswer, reply: z.ZodType<T>): T {
  if (answer.status < 200 || answer.status > 299) throw asProblem(answer);
  try {
    return reply.parse(jsonOf(answer));
  } catch (error) {
    if (!(error instanceof ZodError)) throw error;
    const where = error.issues[0]?.path.join('.') ?? '';
    const at = where === '' ? '' : ` (at ${where})`;
    throw new ServerUnreachable('not-escrowd', `the answer is not what the interface describes${at}`, {
      cause: error,
    });
  }
}

function bytesOf(answer: WireAnswer): Uint8Array {
  if (answer.status !== 200) throw asProblem(answer);
  return answer.body;
}

function jsonOf(answer: WireAnswer): unknown {
  try {
    return JSON.parse(answer.body.toString('utf8'));
  } catch (cause) {
    throw new ServerUnreachable('not-escrowd', 'the answer is not JSON: is this an escrowd server?', {
      cause,
    });
  }
}
