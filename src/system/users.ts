/**
 * Whom files may belong to that say what to do or believe: root, the user of this process, and of one that runs as root by sudo(8)
 * whoever called that: they choose what root is to read.
 */
export function trustedUsers(
  user = process.geteuid?.(),
  { SUDO_UID: caller = '' }: NodeJS.ProcessEnv = process.env,
): ReadonlySet<number | undefined> {
  return new Set([0, user, ...(user === 0 && /^\d{1,10}$/.test(caller) ? [Number(caller)] : [])]);
}
