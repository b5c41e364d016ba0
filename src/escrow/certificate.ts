import type { Escrow, OperateCall } from './context.js';
import { findByCertificate } from './directory.js';
import { EscrowError } from './errors.js';
import type { Claim } from './journal.js';

/**
 * What a call by certificate claims with its attempt: that the policy which binds the certificate to the caller is the one in
 * force, so that in the log no use stands behind the entry that unbinds it. Asked again, because the policy has changed, it
 * looks into the new one. A signed call claims nothing here: its signature stands in the log.
 *
 * What is returned throws EscrowError `caller-unknown` when the certificate is bound to the caller no more.
 */
export function claimBinding(escrow: Escrow, call: OperateCall): () => Promise<readonly Claim[]> {
  if (call.request !== undefined) return () => Promise.resolve([]);
  const { caller, certificate } = call;
  let known: number | undefined = call.policyVersion;
  return async () => {
    const version = known ?? (await versionThatBinds(escrow, certificate, caller.id));
    known = undefined;
    return [{ claim: 'policy-in-force', version }];
  };
}

async function versionThatBinds(escrow: Escrow, certificate: string, app: string): Promise<number> {
  const policy = await escrow.directory.current();
  if (findByCertificate(policy, certificate)?.id === app) return policy.version;
  throw new EscrowError('caller-unknown', 'The client certificate is bound to this app no more.');
}
