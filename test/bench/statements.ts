import pg from 'pg';

/** A statement that was sent to PostgreSQL. */
export interface SentStatement {
  /** The name of a prepared one, or its text. */
  readonly statement: string;
  /** The one connection that appends to the log, or those for everything else. */
  readonly by: 'journal' | 'pool';
  readonly kind: 'reads' | 'writes' | 'bounds a transaction';
  /** Whether a transaction begins with it: every statement that stands in none is one by itself. */
  readonly begins: boolean;
}

/** Everything that this process sends to PostgreSQL while somebody listens. */
export interface SentStatements {
  /** Those since it was last asked. */
  take(): readonly SentStatement[];
  stop(): void;
}

/** Looks at what goes through the driver, whoever sends it; nothing is changed by that. */
export function listenToStatements(): SentStatements {
  const { prototype } = pg.Client;
  const query: unknown = Reflect.get(prototype, 'query');
  if (typeof query !== 'function') throw new Error('the driver has no query');
  let sent: SentStatement[] = [];
  const inTransaction = new WeakSet<object>();
  Reflect.set(prototype, 'query', function (this: object, ...given: unknown[]): unknown {
    const { name, text } = readQuery(given[0]);
    const isBegin = /^\s*(begin|start transaction)\b/i.test(text);
    const isEnd = /^\s*(commit|rollback)\b/i.test(text);
    sent.push({
      statement: name ?? text.replaceAll(/\s+/g, ' ').trim(),
      by: nameOf(this) === 'escrowd journal' ? 'journal' : 'pool',
      kind: isBegin || isEnd ? 'bounds a transaction' : writes(text) ? 'writes' : 'reads',
      begins: isBegin || !inTransaction.has(this),
    });
    if (isBegin) inTransaction.add(this);
    if (isEnd) inTransaction.delete(this);
    const answer: unknown = Reflect.apply(query, this, given);
    return answer;
  });
  return {
    take: () => {
      const taken = sent;
      sent = [];
      return taken;
    },
    stop: () => {
      Reflect.set(prototype, 'query', query);
    },
  };
}

/** What the server knows a connection by. */
function nameOf(client: object): unknown {
  const parameters: unknown = Reflect.get(client, 'connectionParameters');
  return typeof parameters === 'object' && parameters !== null
    ? Reflect.get(parameters, 'application_name')
    : undefined;
}

/** By its words: a select that calls a function which writes is one of the journal's. */
function writes(text: string): boolean {
  return /\b(insert|update|delete|append_plain|create|grant|set)\b/i.test(text);
}

function readQuery(given: unknown): { readonly name: string | undefined; readonly text: string } {
  if (typeof given === 'string') return { name: undefined, text: given };
  if (typeof given !== 'object' || given === null) return { name: undefined, text: '' };
  const text = 'text' in given && typeof given.text === 'string' ? given.text : '';
  const name = 'name' in given && typeof given.name === 'string' ? given.name : undefined;
  return { name, text };
}
