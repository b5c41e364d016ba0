import { type Principal, hasRole } from '../records/principals.js';

/** Whether this person sees everything. */
export function seesAll(caller: Principal): boolean {
  return hasRole(caller, 'admin') || hasRole(caller, 'auditor');
}
