import { stringify } from 'yaml';

import type { Address, InstallationOrder } from './order.js';

/** Where things lie in the directory of an installation. */
export const PATHS = {
  configuration: 'escrowd.yaml',
  administrators: 'administrators.json',
  policy: 'escrow.yaml',
  unit: 'escrowd.service',
  people: 'public',
  tls: 'tls',
  certificate: 'tls/server.crt',
  key: 'tls/server.key',
  request: 'tls/server.csr',
  ca: 'tls/ca.crt',
  caKey: 'tls/ca.key',
  token: 'token',
  softHsm: 'token/softhsm2.conf',
  tokens: 'token/tokens',
  pins: 'pins',
  pin: 'pins/user.pin',
  ceremony: 'ceremony',
  record: 'ceremony/record.json',
  cluster: 'postgres',
  database: 'database',
  passwords: 'database/pgpass',
  roles: 'database/roles.sql',
  daemonEnvironment: 'database/daemon.env',
  ownerEnvironment: 'database/owner.env',
} as const;

/** The credential of systemd that holds the user PIN. */
export const PIN_CREDENTIAL = 'user-pin';

/**
 * The configuration file, whole: what the order says, and behind `#`, at the place where it would stand, each other setting that
 * has a value of its own, with that value. Prose begins with `# ` and a letter.
 */
export function configurationText(order: InstallationOrder): string {
  const { origin, listen, management, token, tls, isForSystemd, database } = order;
  const [certificate, key] =
    tls.kind === 'files' ? [tls.certificate, tls.key] : [PATHS.certificate, PATHS.key];
  return `# What escrowd runs with. Paths are relative to this file, and a setting that is not known is refused.
# A line with a "#" and no blank behind it is a setting with the value that it has anyway: take the "#" away to change it.
# docs/operations.md says more of each. Times are in milliseconds.

# Name of this service and its log: in every checkpoint, attestation and signed request. Never change it.
origin: ${scalar(origin)}

# Where the API listens, with TLS.
listen: ${address(listen)}

# Where the daemon says how it is, in plain HTTP and to everybody who can connect; off: nowhere.
management: ${management === 'off' ? 'off' : address(management)}

# PEM files. The certificate is followed by those between it and its CA, if any.
tls: { certificate: ${scalar(certificate)}, key: ${scalar(key)} }

token:
  # A file of hsm-config, or a path: what this kind of token can do.
  profile: ${scalar(token.profile)}
  # As it was given at the ceremony.
  label: ${scalar(token.label)}
${pinText(isForSystemd)}
  # The record of the ceremony: which keys of the token are its own. Nobody but administrators may write it.
  record: ${PATHS.record}
${moduleText(token)}
  # How much the token is tried for before the daemon serves. quick leaves RSA out: for tests.
#  selfTest: full
  # Attacks that this token may fail to refuse, by name; escrowctl token probe lists them.
#  acceptUnenforced: []
  # How long a call waits for a session of the token, or for the token to be opened anew.
#  waitMs: 10000
  # How often the token is tried with a known answer.
#  probeMs: 1000
  # How long a call into the token may take before the daemon ends itself, to be started again.
#  hangMs: 60000
  # How many grants the token may hold; as many as it takes, while there is no "maxGrants: 1000" here.
  # After how many objects the token is opened anew, to give back memory; 0: never.
#  recycleAfterObjects: 100000
  # Whether a second process, with a login of its own, makes the key pairs of recovery requests.
#  pairProcess: true
  # For diagnosis only: pkcs11-spy writes the PIN down.
#  allowSpy: false

# The first administrators. Every policy follows from their signatures: keep the file as it was.
administrators: ${PATHS.administrators}
# So many administrators sign a policy, at least, whatever the policy says.
#policyFloor: 2

${databaseText(database !== undefined)}

#requests:
  # How long an act waits for another one on the same thing.
#  contentionMs: 5000
  # How long requests that are under way may take when the daemon stops.
#  drainMs: 15000
  # From the TLS handshake to the end of a request, and from there to the answer.
#  receiveMs: 30000
#  answerMs: 60000
  # The longest body; a policy may have 8 MiB.
#  maxBodyBytes: 360448
  # Requests under way, connections, and how long a connection may take to become TLS.
#  atOnce: 256
#  connections: 2048
#  handshakeMs: 5000
  # Of one principal: on average, after a rest, and under way.
#  perCaller: { perSecond: 500, burst: 1000, atOnce: 64 }
  # Refusals of one caller that have an entry each; what is beyond is counted.
#  refusals: { burst: 60, perMinute: 12 }
  # Recovery requests of one requester that are open.
#  openRecoveries: { perRequester: 200, perKey: 20 }
  # Of one address, before it is known who calls. Behind a balancer all come from its address.
#  perAddress: { perSecond: 200, burst: 2000, connections: 256 }
  # Bodies of callers whom nobody knows, all together, that are read and thrown away.
#  unknownBytes: { perSecond: 4194304, burst: 16777216 }

# How often what has expired or is due is recorded.
#housekeepingMs: 5000
# How often the whole token is looked through without a reason.
#inventoryMs: 600000
# How often the token is told how far the log has come.
#anchorMs: 60000
# How often is looked at what /metrics says of keys, open requests and sinks.
#surveyMs: 60000

# How long the share of a depositary counts as drilled, until they are asked again.
#drills:
#  everyDays: 90

# What of the operators' log is written: error, warn, info or debug.
#logLevel: info
# Whether it has a line for each request.
#accessLog: true

# Who cosigns the log, so that nobody is shown another one than everybody else. One of them, as an example:
# - { key: w1.example.org/w1+1a2b3c4d+BA..., url: https://w1.example.org }, with "ca: FILE" where its CA is a private one.
#witnesses: []
#witnessing:
#  timeoutMs: 5000
#  intervalMs: 1000

# Who is told by webhook, mail and file: webhooks, smtp and file of docs/notifications.md stand beside these two.
#notifications:
  # Hosts that webhooks and mail may go to.
#  allowHosts: []
#  pollMs: 1000
`;
}

function pinText(isForSystemd: boolean): string {
  return isForSystemd
    ? `  # The user PIN, as systemd hands it over: LoadCredential in ${PATHS.unit}. Elsewhere: the path of a file of mode 0600.
  pinFile: credential:${PIN_CREDENTIAL}`
    : `  # The user PIN, one line, mode 0600. credential:NAME names a credential of systemd instead.
  pinFile: ${PATHS.pin}`;
}

function moduleText({ module, isSoftHsm }: InstallationOrder['token']): string {
  const where =
    module === undefined
      ? '  # Where the PKCS#11 module is, when it is not where the profile looks: module: /usr/lib/vendor/libpkcs11.so'
      : `  # The PKCS#11 module.\n  module: ${scalar(module)}`;
  const variables = isSoftHsm
    ? `  # Variables of the module; a value that begins with ./ is relative to this file.\n  environment: { SOFTHSM2_CONF: ./${PATHS.softHsm} }`
    : '  # Variables of the module; a value that begins with ./ is relative to this file.\n#  environment: {}';
  return `${where}\n${variables}`;
}

function databaseText(isServer: boolean): string {
  const waitMs = `  # How long a call waits for the database.
#  waitMs: 10000
  # How long a start waits for the server of DATABASE_URL.
#  startMs: 60000`;
  if (isServer)
    return `# The server that DATABASE_URL names: see ${PATHS.daemonEnvironment}. "directory", "binaries" and "runAs" are of a private cluster.
#database:
${waitMs}`;
  return `database:
  # Where the private PostgreSQL lives; a path of at most 86 bytes. DATABASE_URL names a server instead.
  directory: ${PATHS.cluster}
  # Of the programs postgres and initdb, where the system's are not to be taken: binaries: /usr/lib/postgresql/17/bin
  # As root only, the user that PostgreSQL runs as: runAs: postgres
${waitMs}`;
}

function address({ host, port }: Address): string {
  return `{ host: ${scalar(host)}, port: ${port} }`;
}

/** As YAML reads it back, also between braces. */
function scalar(text: string): string {
  const plain =
    /^[A-Za-z_./][A-Za-z0-9_./:-]*$/.test(text) && stringify(text).trimEnd() === text && !text.endsWith(':');
  return plain || /^\d+\.\d+\.\d+\.\d+$/.test(text) ? text : JSON.stringify(text);
}
