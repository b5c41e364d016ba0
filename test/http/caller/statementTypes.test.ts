import { createPrivateKey, generateKeyPairSync, sign } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { openHistoryStatement } from '../../../src/client/history/historyStatement.js';
import { identityVerifier, statementVerifier } from '../../../src/http/caller/statements.js';
import { readWriter, writerInput, WRITER_TYPE } from '../../../src/log/statements/writer.js';
import { certifierOf, softwareIdentityKey } from '../../support/signer.js';
import { newIdentity, statement } from '../identities.js';

/*
 * Whoever signs one kind of statement has not signed another, whatever it says: each kind has a type of its own, and each reader
 * takes one.
 */

/** Every type that the source names, wherever it does. */
const types = [
  ...new Set(
    readdirSync('src', { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .flatMap((name) => readFileSync(join('src', name), 'utf8').match(/escrowd-[a-z-]+\+jwt/g) ?? []),
  ),
].sort();

const person = newIdentity('dana');
const keys = [{ jwk: person.jwk, alg: person.alg, thumbprint: person.kid }];
const identityPem = softwareIdentityKey();
const { publicKey } = certifierOf(identityPem);

const part = (said: object): string => Buffer.from(JSON.stringify(said)).toString('base64url');
/** By the token's identity key. */
function byIdentity(typ: string, payload: object): string {
  const input = `${part({ alg: 'ES256', typ })}.${part(payload)}`;
  const key = { key: createPrivateKey(identityPem), dsaEncoding: 'ieee-p1363' } as const;
  return `${input}.${sign('sha256', Buffer.from(input), key).toString('base64url')}`;
}

test('there are as many types as kinds of statements', () => {
  expect(types.length).toBeGreaterThan(7);
  for (const typ of types) expect(types.filter((other) => other.startsWith(typ))).toEqual([typ]);
});

describe.each(types)('%s', (typ) => {
  test('that a person has signed is read as itself, and as nothing else', async () => {
    const jws = statement(person, typ, { iss: 'dana' });
    for (const expected of types) {
      const isRead = (await statementVerifier.verify(jws, expected, keys)) !== undefined;
      expect({ expected, isRead }).toEqual({ expected, isRead: expected === typ });
      const isSeen = statementVerifier.signerOf(jws, expected) !== undefined;
      expect({ expected, isSeen }).toEqual({ expected, isSeen: expected === typ });
    }
  });

  test('that the token has signed is read as itself, and as nothing else', async () => {
    const jws = byIdentity(typ, { iss: 'here' });
    for (const expected of types) {
      const isRead = (await identityVerifier(publicKey).verify(jws, expected)) !== undefined;
      expect({ expected, isRead }).toEqual({ expected, isRead: expected === typ });
    }
  });

  test('makes nobody a writer of the log, nor a history complete, but for the types that are for it', () => {
    const { x } = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' });
    const claims = { aud: 'log', sub: 'one', key: x ?? '', from: 0, iat: 1 };
    const [, body = ''] = writerInput(claims).split('.');
    const said = JSON.parse(Buffer.from(body, 'base64url').toString()) as object;
    const writer = readWriter(byIdentity(typ, said), { log: 'log', identityKey: publicKey });
    expect(writer !== undefined).toBe(typ === WRITER_TYPE);
    const history = (): unknown =>
      openHistoryStatement(
        byIdentity(typ, {}),
        { origin: 'here', identityKey: {} },
        { origin: 'here', size: 1, root: new Uint8Array(32) },
      );
    if (!typ.includes('history')) expect(history).toThrow('it is not one');
    else expect(history).not.toThrow('it is not one');
  });
});
