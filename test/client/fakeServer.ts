import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';

import type { ProofReply } from '../../src/api/replies.js';
import { canonicalJson } from '../../src/log/entry/canonical.js';
import { encodeEntry, type Entry } from '../../src/log/entry/entry.js';
import { leafHash } from '../../src/log/tree/merkle.js';
import { consistencyProof, inclusionProof } from '../../src/log/tree/prover.js';
import { signCheckpoint, testKey, type TestKey } from '../log/noteKeys.js';
import { leafReader, referenceRoot } from '../log/sampleTree.js';
import { selfSigned } from '../support/certificate.js';

export const ORIGIN = 'escrow.example.com/log';
const tls = selfSigned();

/** A request as it came in. */
export interface Incoming {
  readonly method: string;
  readonly target: string;
  readonly authorization: string | undefined;
  readonly body: Buffer;
}

export type Answer =
  { readonly status?: number; readonly json: unknown } | { readonly status?: number; readonly text: string };

/** A log in memory, signed with a key of its own; it can be made to lie. */
export class FakeLog {
  readonly key: TestKey;
  readonly entries: string[] = [];

  constructor(key: TestKey = testKey(ORIGIN)) {
    this.key = key;
  }

  append(entry: Entry): number {
    this.entries.push(Buffer.from(encodeEntry(entry)).toString());
    return this.entries.length - 1;
  }

  /** Entries that nobody looks at. */
  fill(count: number): void {
    for (let made = 0; made < count; made += 1) {
      this.append({
        v: 1,
        time: '2026-03-01T11:00:00.000Z',
        act: 'grant.expire',
        id: `act_${this.entries.length}`,
        phase: 'attempted',
        actor: 'escrowd',
        subject: {},
        detail: {},
      });
    }
  }

  /** Appends an act that was done, and proves that it is here. */
  async prove(done: Pick<Entry, 'act' | 'actor' | 'subject'> & Partial<Entry>): Promise<ProofReply> {
    const common = {
      v: 1,
      time: '2026-03-01T12:00:00.000Z',
      id: 'act_1',
      phase: 'done',
      detail: {},
    } as const;
    const digest = (done.phase ?? 'done') === 'done' ? { digest: 'ab'.repeat(32) } : {};
    const index = this.append({ ...common, ...digest, ...done });
    this.fill(2);
    const proof = await this.inclusion(index);
    return { index, entry: this.entries[index] ?? '', proof, checkpoint: this.checkpoint() };
  }

  checkpoint(size = this.entries.length): string {
    return signCheckpoint(this.key, {
      origin: ORIGIN,
      size,
      root: referenceRoot(this.#leaves().slice(0, size)),
    });
  }

  async inclusion(index: number, size = this.entries.length): Promise<readonly string[]> {
    return texts(await inclusionProof(leafReader(this.#leaves()), index, size));
  }

  async consistency(oldSize: number, newSize: number): Promise<readonly string[]> {
    const proof = await consistencyProof(leafReader(this.#leaves()), oldSize, newSize);
    return proof.map((hash) => Buffer.from(hash).toString('base64'));
  }

  #leaves(): Uint8Array[] {
    return this.entries.map((entry) => leafHash(Buffer.from(entry)));
  }
}

/** An HTTPS server that answers what a test tells it to, and remembers what it was asked. */
export class FakeServer {
  readonly received: Incoming[] = [];
  readonly identity: { readonly privateKey: KeyObject; readonly publicKey: KeyObject } = generateKeyPairSync(
    'ec',
    {
      namedCurve: 'P-256',
    },
  );
  readonly routes = new Map<string, (request: Incoming) => Answer | Promise<Answer>>();
  readonly ca = tls.cert;
  log = new FakeLog();
  readonly #server: Server;

  constructor() {
    this.#server = createServer(tls, (request, response) => {
      void buffer(request).then(async (body) => {
        const { method = '', url: target = '' } = request;
        const incoming = { method, target, authorization: request.headers.authorization, body };
        this.received.push(incoming);
        const route = this.routes.get(`${method} ${target.split('?', 1)[0] ?? ''}`);
        const answer = route === undefined ? problem(404, 'route-unknown') : await route(incoming);
        const isText = 'text' in answer;
        response.statusCode = answer.status ?? 200;
        response.setHeader('content-type', isText ? 'text/plain' : 'application/json');
        response.end(isText ? answer.text : JSON.stringify(answer.json));
      });
    });
    this.routes.set('GET /v1/checkpoint', () => ({ text: this.log.checkpoint() }));
    this.routes.set('GET /v1/log/consistency', async ({ target }) => {
      const query = new URL(target, 'https://x').searchParams;
      return {
        json: { proof: await this.log.consistency(Number(query.get('old')), Number(query.get('new'))) },
      };
    });
  }

  listen(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.listen(0, '127.0.0.1', resolve);
    });
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** What the ceremony's record would say. */
  get record(): { readonly identityKey: unknown; readonly logKey: string; readonly origin: string } {
    const identityKey = this.identity.publicKey.export({ format: 'jwk' });
    return { identityKey, logKey: this.log.key.vkey, origin: ORIGIN };
  }

  /** Requests that would change something. */
  get posted(): readonly Incoming[] {
    return this.received.filter(({ method }) => method === 'POST');
  }

  stop(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => {
      this.#server.close(() => {
        resolve();
      });
    });
  }
}

/** A refusal as escrowd writes it. */
export function problem(status: number, code: string): Answer {
  return {
    status,
    json: { type: `urn:escrowd:problem:${code}`, title: code, status, detail: `because ${code}` },
  };
}

/** A compact ES256 JWS by node's own crypto: jose is not asked. */
export function es256(key: KeyObject, header: object, payload: object): string {
  const input = [header, payload]
    .map((part) => Buffer.from(canonicalJson(part)).toString('base64url'))
    .join('.');
  const signature = sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' });
  return `${input}.${signature.toString('base64url')}`;
}

function texts(hashes: readonly Uint8Array[]): readonly string[] {
  return hashes.map((hash) => Buffer.from(hash).toString('base64url'));
}
