import { constants, publicEncrypt, randomBytes } from 'node:crypto';
import pkcs11 from 'pkcs11js';
import type { Handle } from 'pkcs11js';
import { EscrowError } from '../escrow/errors.js';
import { holding } from './attributes.js';
import type { AttackName } from './attackNames.js';
import { ATTACK_NAMES } from './attackNames.js';
import type { Target } from './attacks.js';
import { ATTACKS, NothingGained } from './attacks.js';
import { asEscrowError, readFault } from './faults.js';
import { tryInFlight } from './inFlightTrips.js';
import { Loan } from './loan.js';
import { objectNames, readBytes, readRsaSpki } from './objects.js';
import type { OpenToken } from './openToken.js';
import { withWorkbench } from './openToken.js';
import { importSpki } from './startup.js';
import { grantKey, sealingKey, transferKey, unwrappingPair, userPair } from './templates.js';
import { unwrapChecked } from './unwrapping.js';
import type { Workbench } from './workbench.js';

/** What came of one attack. */
export interface SelfTestResult {
  readonly attack: AttackName;
  readonly refused: boolean;
}

/**
 * Proves a token: takes a key of every kind through its round trip ({@link tryInFlight}), then tries every attack that
 * the token must refuse. All in flight: nothing of it stays. Takes a second or two.
 * Throws EscrowError `token-unavailable` when the round trip itself does not work.
 */
export function selfTest(token: OpenToken): Promise<readonly SelfTestResult[]> {
  return withWorkbench(token, async (bench) => {
    const loan = new Loan(bench.driver, bench.pool, bench.log);
    try {
      await tryInFlight(bench, loan);
      const target = await makeTarget(bench, loan);
      const results: SelfTestResult[] = [];
      for (const attack of ATTACK_NAMES) {
        results.push({ attack, refused: await isRefused(loan, target, attack) });
      }
      return results;
    } finally {
      await loan.end();
    }
  });
}

/** Tries one attack. What it gained is destroyed with the loan. */
export async function isRefused(loan: Loan, target: Target, attack: AttackName): Promise<boolean> {
  try {
    await loan.step((session) => {
      const gained = ATTACKS[attack](target, session);
      if (gained !== undefined) loan.discardLater(gained);
      // The session may be left with an operation begun; a failure closes it, and so does this.
      throw new Succeeded();
    });
    return false;
  } catch (error) {
    const cause = error instanceof EscrowError ? error.cause : error;
    if (cause instanceof Succeeded) return false;
    if (cause instanceof NothingGained) return true;
    if (readFault(cause) === undefined) throw asEscrowError(error);
    return true;
  }
}

class Succeeded extends Error {}

async function makeTarget(bench: Workbench, loan: Loan): Promise<Target> {
  const { driver, mechanisms, dialect } = bench;
  const operateKek = await kek(bench, bench.newestKek.operate);
  const releaseKek = await kek(bench, bench.newestKek.release);
  const kwp = mechanisms.plain('keyWrapWithPadding');
  const transport = await makeTransport(bench, loan);
  return loan.step((session) => {
    const keep = (handle: Handle): Handle => {
      loan.discardLater(handle);
      return handle;
    };
    const user = dialect.pair(userPair('ec-p256', kwp.mechanism));
    const pair = driver.C_GenerateKeyPair(
      session,
      mechanisms.generation('ec-p256'),
      user.publicKey,
      user.privateKey,
    );
    keep(pair.publicKey);
    keep(pair.privateKey);
    const wrap = (under: Handle): Buffer =>
      Buffer.from(driver.C_WrapKey(session, kwp, under, pair.privateKey, Buffer.alloc(1024)));
    const operateBlob = wrap(operateKek);
    const [point = Buffer.alloc(0)] = readBytes(driver, session, pair.publicKey, [pkcs11.CKA_EC_POINT]);
    const aes = mechanisms.plain('aesKeyGen');
    return {
      driver,
      mechanisms,
      dialect,
      operateKek,
      releaseKek,
      operateBlob,
      releaseBlob: wrap(releaseKek),
      user: pair.privateKey,
      point,
      grant: keep(
        unwrapChecked(bench, session, {
          mechanism: kwp,
          with: operateKek,
          wrapped: operateBlob,
          into: grantKey(undefined, 'ec-p256', 'sign', [mechanisms.number('rsaPss')]),
          spec: 'ec-p256',
        }),
      ),
      share: keep(
        driver.C_GenerateKey(session, aes, dialect.template(sealingKey(mechanisms.number('aesGcm')))),
      ),
      transfer: keep(
        driver.C_GenerateKey(session, aes, dialect.template(transferKey('depositary', kwp.mechanism))),
      ),
      transport,
    };
  });
}

async function kek(bench: Workbench, label: string): Promise<Handle> {
  const standing = await bench.objects.find(objectNames.kek(label));
  if (standing === undefined) throw new EscrowError('token-unavailable');
  return standing.handle;
}

async function makeTransport(
  { driver, mechanisms, dialect, profile }: Workbench,
  loan: Loan,
): Promise<Target['transport']> {
  const { publicKey, privateKey } = dialect.pair(unwrappingPair(undefined, mechanisms.number('rsaOaep')));
  const mechanism = mechanisms.plain('rsaKeyPairGen');
  const pair = await loan.step((session) =>
    holding([publicKey, privateKey, mechanism], () =>
      driver.C_GenerateKeyPairAsync(session, mechanism, publicKey, privateKey),
    ),
  );
  loan.discardLater(pair.publicKey);
  loan.discardLater(pair.privateKey);
  const spki = await loan.step((session) => readRsaSpki(driver, session, pair.publicKey));
  const oaepHash = profile.oaep === 'RSA-OAEP-256' ? 'sha256' : 'sha1';
  const padding = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash };
  return { ...pair, reply: publicEncrypt({ key: importSpki(spki), ...padding }, randomBytes(32)) };
}
