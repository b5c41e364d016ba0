import type { OptionRow } from './command.js';

/** For an app that the policy binds to a client certificate. */
export const CLIENT_CERTIFICATE: readonly OptionRow[] = [
  {
    flags: '--client-cert <file>',
    about: 'ask by this TLS client certificate, not by a signed request (ESCROWCTL_CLIENT_CERT)',
  },
  { flags: '--client-key <file>', about: 'the key of the client certificate (ESCROWCTL_CLIENT_KEY)' },
];
