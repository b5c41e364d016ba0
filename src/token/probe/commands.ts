import { Command } from 'commander';
import { obtainPin } from '../ceremony/pins.js';
import { type TokenOptions, readTokenLocation, withTokenOptions } from '../ceremony/tokenOptions.js';
import { openToken } from '../service/openToken.js';
import { probe, reportText } from './report.js';
import { versionLine } from '../../version.js';

interface ProbeOptions extends TokenOptions {
  readonly userPinFile?: string;
  readonly json?: boolean;
}

/**
 * The `token-probe` command line. `profiles` is the folder of the token profiles, `print` writes to the standard output;
 * `setExit` is given 1 when the token is not as its profile claims.
 */
export function probeCommand(
  profiles: string,
  print: (text: string) => void,
  setExit: (code: number) => void,
): Command {
  return withTokenOptions(new Command('token-probe'))
    .version(versionLine('token-probe'), '--version', 'say which version this is')
    .description(
      'Tries, on a token that went through the ceremony, every verb at every kind of key that its profile claims, and\n' +
        'every attack that a token must refuse. Makes keys for it and destroys them; changes nothing else.',
    )
    .option('--user-pin-file <file>', 'read the user PIN from here instead of asking')
    .option('--json', 'print as JSON')
    .addHelpText('after', HELP)
    .showHelpAfterError('(--help says more)')
    .action(async (options: ProbeOptions) => {
      const location = readTokenLocation(profiles, options);
      const token = await openToken({ ...location, pin: await obtainPin('user', options.userPinFile) });
      try {
        const report = await probe(token, { ...location, now: new Date() });
        print(options.json === true ? `${JSON.stringify(report, null, 2)}\n` : reportText(report));
        setExit(report.asClaimed ? 0 : 1);
      } finally {
        await token.close();
      }
    });
}

const HELP = `
Exit codes: 0 the token does and refuses all that its profile claims, 1 it does not, 2 it could not be tried.
On keys of an older ceremony it says which attacks succeed until \`ceremony renew\` has made them anew, with exit code 1.
What the profile says the token cannot refuse must be named in token.acceptUnenforced of the configuration, or the
daemon does not start. The probe takes up to a minute: it makes RSA keys. It may run beside the daemon.

  token-probe --profile softhsm-2.6 --label escrowd --token-conf softhsm2.conf --user-pin-file pin > probe.txt`;
