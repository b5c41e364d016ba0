import { PATHS } from './configuration.js';
import { type InstallationOrder, inUrl } from './order.js';

/** What people do next: a sentence, and the commands. */
export interface Step {
  readonly what: string;
  readonly commands: readonly string[];
}

const WIDTH = 80;
const MARGIN = '     ';

/** What is to be done after the files are there, in this order; commands are run in the directory, by its owner. */
export function nextSteps(order: InstallationOrder, programs: string): readonly Step[] {
  const { token, tls, database, isForSystemd, user, hasPolicy, participants, origin } = order;
  const which = `--profile ${token.profile} --label ${token.label}${tokenOptions(token)}`;
  const withPin = `--record ${PATHS.record} --user-pin-file ${PATHS.pin}`;
  const depositary = participants.find(({ roles }) => roles.includes('depositary'))?.id ?? 'ID';
  const challenge = `${PATHS.ceremony}/${depositary}.challenge.json`;
  const answer = `${PATHS.ceremony}/${depositary}.answer.json`;
  const server = `https://${inUrl({ host: order.names[0] ?? order.listen.host, port: order.listen.port })}`;
  const ca = tls.kind === 'private-ca' ? PATHS.ca : 'ca.crt';
  return [
    {
      what: `As ${user}, for all that follows:`,
      commands: [`cd ${order.directory}`, `export PATH=${programs}:$PATH`],
    },
    ...tlsSteps(tls),
    ...(database === undefined
      ? []
      : [
          {
            what: 'A superuser of PostgreSQL makes the roles and the database:',
            commands: [`psql -X -f ${PATHS.roles} ...`],
          },
        ]),
    {
      what: 'The ceremony. The PIN of the security officer is asked for, and belongs in other hands:',
      commands: [`(umask 077 && openssl rand -hex 16 > ${PATHS.pin})`, `ceremony init ${which} ${withPin}`],
    },
    {
      what: `Each depositary, such as ${depositary}, is enrolled; their depositary-public.pem came from them in person:`,
      commands: [
        `ceremony challenge ${depositary} --public-key depositary-public.pem --out ${challenge}`,
        `escrowctl depositary answer ${challenge} --as THEIR-DIR --out ${answer}`,
        `ceremony enrol ${depositary} ${which} ${withPin} --challenge ${challenge} --answer ${answer}`,
      ],
    },
    isForSystemd
      ? {
          what: 'As root, systemd starts it:',
          commands: [`install -m 0644 ${PATHS.unit} /etc/systemd/system/`, 'systemctl enable --now escrowd'],
        }
      : { what: 'It is started:', commands: [`escrowd --config ${PATHS.configuration}`] },
    {
      what: `Everybody pins the server, with ${ca} and ${PATHS.record} from people and not from the server:`,
      commands: [
        `escrowctl identity pin THEIR-DIR --server ${server} --ca ${ca} --origin ${origin} --record ${PATHS.record}`,
      ],
    },
    ...(hasPolicy
      ? [
          {
            what: `Administrators review ${PATHS.policy}, sign what it would change, and put it in force:`,
            commands: [
              `escrowctl policy check ${PATHS.policy}`,
              `escrowctl plan -f ${PATHS.policy} --as THEIR-DIR --sign NAME.jws`,
              `escrowctl apply -f ${PATHS.policy} --as THEIR-DIR --signature ONE.jws --signature OTHER.jws`,
            ],
          },
        ]
      : []),
  ];
}

function tokenOptions({ isSoftHsm, module }: InstallationOrder['token']): string {
  return `${isSoftHsm ? ` --token-conf ${PATHS.softHsm}` : ''}${module === undefined ? '' : ` --module ${module}`}`;
}

function tlsSteps(tls: InstallationOrder['tls']): readonly Step[] {
  switch (tls.kind) {
    case 'private-ca':
      return [
        {
          what: `Take the key of the CA off this machine, to where keys are kept: the next certificate needs it.`,
          commands: [`mv ${PATHS.caKey} /media/OFFLINE/`],
        },
      ];
    case 'request':
      return [
        {
          what: `Have ${PATHS.request} signed by your CA, and put the certificate, followed by those between, into place:`,
          commands: [`install -m 0644 SIGNED.crt ${PATHS.certificate}`],
        },
      ];
    case 'files':
      return [];
  }
}

/** The steps as lines of at most 80 columns, as far as no single word is longer. */
export function stepLines(steps: readonly Step[]): readonly string[] {
  return steps.flatMap(({ what, commands }, index) => [
    ...folded(`${String(index + 1).padStart(3)}. ${what}`, MARGIN, ''),
    ...commands.flatMap((command) => folded(`${MARGIN}${command}`, `${MARGIN}  `, ' \\')),
  ]);
}

/** Breaks a line at blanks, a command before an option where there is one, with `end` where it goes on, which the last has not. */
function folded(line: string, indent: string, end: string): readonly string[] {
  if (line.length <= WIDTH) return [line];
  const least = Math.max(/^ */.exec(line)?.[0].length ?? 0, indent.length);
  const most = WIDTH - end.length;
  const places = [line.lastIndexOf(end === '' ? ' ' : ' --', most), line.lastIndexOf(' ', most)];
  const at = places.find((place) => place > least) ?? line.indexOf(' ', most);
  if (at < 0) return [line];
  return [`${line.slice(0, at)}${end}`, ...folded(`${indent}${line.slice(at + 1)}`, indent, end)];
}
