import { join } from 'node:path';

import { EXIT_CODES } from '../daemon/exitCodes.js';
import { PATHS, PIN_CREDENTIAL } from './configuration.js';
import type { InstallationOrder } from './order.js';

/** After these a person has to come first: a PIN that is tried again locks the token, and evidence is looked at before it grows. */
const WANTS_A_PERSON = [
  'usage',
  'pin',
  'enforcement',
  'logDamaged',
  'policy',
] as const satisfies readonly (keyof typeof EXIT_CODES)[];

/** What the unit starts: absolute paths. */
export interface DaemonProgram {
  /** Of Node.js. */
  readonly node: string;
  /** Where package.json is. */
  readonly packageDirectory: string;
}

/** Exit codes after which systemd does not start the daemon again. */
export function exitCodesForAPerson(): readonly number[] {
  return WANTS_A_PERSON.map((name) => EXIT_CODES[name].code);
}

/** Which of the paths lie where `ProtectHome=yes` hides everything (systemd.exec(5)). */
export function homePaths(paths: readonly string[]): readonly string[] {
  return paths.filter((path) => /^\/(home|root|run\/user)(\/|$)/.test(path));
}

/** The unit of the daemon (systemd.service(5), systemd.exec(5)): it writes its token and its database, and nothing else. */
export function unitText(order: InstallationOrder, { node, packageDirectory }: DaemonProgram): string {
  const { directory, origin, user, database, token, listen } = order;
  const at = (path: string): string => quoted(join(directory, path));
  const main = join(packageDirectory, 'dist', 'main.js');
  const written = [
    ...(token.isSoftHsm ? [PATHS.tokens] : []),
    ...(database === undefined ? [PATHS.cluster] : []),
  ];
  const isHome = homePaths([directory, node, packageDirectory]).length > 0;
  const isLowPort = listen.port < 1024;
  return `# Runs escrowd on ${directory}. Written by escrowd init. As root:
#   install -m 0644 ${PATHS.unit} /etc/systemd/system/ && systemctl enable --now escrowd

[Unit]
Description=escrowd, key escrow (${origin})
Documentation=file:${packageDirectory}/docs/operations.md
# The clocks of daemon and database must agree.
Wants=network-online.target time-sync.target
After=network-online.target time-sync.target postgresql.service
# What it waits for may be long in coming: it is started again for as long as that takes.
StartLimitIntervalSec=0

[Service]
Type=exec
User=${user}
WorkingDirectory=${at('.')}
ExecStart=${quoted(node)} ${quoted(main)} --config ${at(PATHS.configuration)}
ExecReload=/bin/kill -HUP $MAINPID
# A reload that comes before the program is loaded, in its first second or two, ends it; systemd takes that for a clean end.
RestartForceExitStatus=SIGHUP
# Only systemd reads the file. LoadCredentialEncrypted= keeps the PIN under a key of this machine: systemd-creds(1).
LoadCredential=${PIN_CREDENTIAL}:${join(directory, PATHS.pin)}
${
  database === undefined
    ? ''
    : `EnvironmentFile=${at(PATHS.daemonEnvironment)}
# The owner of the schema is needed at the first start and after an upgrade: take the file away in between.
EnvironmentFile=-${at(PATHS.ownerEnvironment)}
`
}
# After these exit codes a person comes first (escrowd --help).
Restart=on-failure
RestartSec=5
RestartPreventExitStatus=${exitCodesForAPerson().join(' ')}
# The daemon ends what it has started itself, in order; what is left then is killed.
KillMode=mixed
TimeoutStopSec=90

ProtectSystem=strict
${written.length === 0 ? '' : `ReadWritePaths=${written.map(at).join(' ')}\n`}InaccessiblePaths=-${at(PATHS.pins)} -${at(PATHS.caKey)}
${isHome ? '# The directory, Node.js or escrowd lies in a home: better is /opt and /var/lib, and "yes" here.\nProtectHome=read-only' : 'ProtectHome=yes'}
PrivateTmp=yes
# An HSM in this machine has a device: PrivateDevices=no and DeviceAllow=/dev/NAME rw.
PrivateDevices=yes
${isLowPort ? 'AmbientCapabilities=CAP_NET_BIND_SERVICE\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE' : 'PrivateUsers=yes\nCapabilityBoundingSet='}
NoNewPrivileges=yes
UMask=0077
LimitCORE=0
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
KeyringMode=private
SystemCallArchitectures=native
# Node.js asks for protection keys, to guard what it compiles.
SystemCallFilter=@system-service @pkey
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
# No MemoryDenyWriteExecute: Node.js compiles what it runs.

[Install]
WantedBy=multi-user.target
`;
}

/** A path as unit files have it: specifiers and quotes are letters. */
function quoted(path: string): string {
  const plain = path.replaceAll('%', '%%');
  return /^[A-Za-z0-9_./@%+-]+$/.test(plain) ? plain : JSON.stringify(plain);
}
