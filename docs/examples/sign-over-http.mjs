// Asks escrowd for a signature over its plain HTTP API: what a client in any language has to do.
//
//   node docs/examples/sign-over-http.mjs IDENTITY_DIR GRANT FILE SIGNATURE_OUT
//
// IDENTITY_DIR is what `escrowctl identity new` and `escrowctl identity pin` made.
import { createHash, createPrivateKey, createPublicKey, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { resolve } from 'node:path';

import { SignJWT, calculateJwkThumbprint } from 'jose';

const [directory, grant, file, out] = process.argv.slice(2);
const identity = JSON.parse(readFileSync(resolve(directory, 'identity.json'), 'utf8'));
const key = createPrivateKey(readFileSync(resolve(directory, 'signing-key.pem')));
const kid = await calculateJwkThumbprint(createPublicKey(key).export({ format: 'jwk' }));

const path = `/v1/grants/${grant}/sign`;
const body = JSON.stringify({ mechanism: 'ES256', messages: [readFileSync(file).toString('base64url')] });

// One short-lived JWS for each request: who asks, for what, over which body.
const now = Math.floor(Date.now() / 1000);
const token = await new SignJWT({
  iss: identity.id,
  aud: identity.logKey,
  iat: now,
  exp: now + 30,
  jti: randomBytes(16).toString('base64url'),
  htm: 'POST',
  htu: path,
  cd: createHash('sha256').update(body).digest('base64url'),
})
  .setProtectedHeader({ alg: 'ES256', typ: 'escrowd-request+jwt', kid })
  .sign(key);

const reply = await new Promise((done, failed) => {
  const call = request(
    new URL(path, identity.server),
    {
      method: 'POST',
      ca: readFileSync(resolve(directory, identity.ca)),
      headers: { authorization: `Escrowd-JWS ${token}`, 'content-type': 'application/json' },
    },
    (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () =>
        done({ status: response.statusCode, text: Buffer.concat(parts).toString('utf8') }),
      );
    },
  );
  call.on('error', failed);
  call.end(body);
});

const answer = JSON.parse(reply.text);
if (reply.status !== 200) {
  console.error(`refused: ${answer.type}: ${answer.detail}`);
  process.exit(3);
}
// JOSE signatures are r || s; openssl wants DER: SEQUENCE { INTEGER r, INTEGER s }
writeFileSync(out, toDer(Buffer.from(answer.result.signatures[0], 'base64url')));
console.log(`signed; entry ${answer.entry} of the log; ${answer.result.remaining} uses left`);

function toDer(signature) {
  const half = signature.length / 2;
  const integers = Buffer.concat([integer(signature.subarray(0, half)), integer(signature.subarray(half))]);
  return Buffer.concat([Buffer.from([0x30, integers.length]), integers]);
}

function integer(bytes) {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start += 1;
  const digits =
    bytes[start] >= 0x80 ? Buffer.concat([Buffer.from([0]), bytes.subarray(start)]) : bytes.subarray(start);
  return Buffer.concat([Buffer.from([0x02, digits.length]), digits]);
}
