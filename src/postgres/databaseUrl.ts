import { isIP } from 'node:net';
import { Client } from 'pg';
import { messageOf } from '../system/errors.js';
import { readNamedFile, UnreadableFile } from '../system/namedFile.js';

/** Why a text is no URL of a database, and what to do about it. Nothing of the URL is repeated: it may hold a password. */
export interface WhyNoUrl {
  readonly what: string;
  readonly do: string;
}

const FORM = 'postgresql://ROLE:PASSWORD@HOST:PORT/DATABASE';
const MAXIMUM_HOSTS = 8;

/** What may stand behind the `?`. The driver leaves out what it does not know, and takes more than is to be changed. */
const PARAMETERS: readonly string[] = [
  ...['host', 'port', 'user', 'password', 'options', 'application_name', 'target_session_attrs'],
  ...['ssl', 'sslmode', 'sslrootcert', 'sslcert', 'sslkey', 'sslnegotiation'],
];

/**
 * Says why this cannot be the URL of the database; undefined when it can. It must name its role: without one the driver takes the
 * user of the system. It may name several hosts as libpq has it (PostgreSQL documentation, "Specifying Multiple Hosts").
 */
export function whyNoDatabaseUrl(url: string): WhyNoUrl | undefined {
  const parts = partsOf(url);
  if (parts === undefined) return { what: 'it is no postgresql:// URL', do: `write it as ${FORM}` };
  const why = whyNoParameters(parts.query) ?? whyNoFiles(parts.query) ?? whyNoHosts(parts);
  if (why !== undefined) return why;
  for (const each of urlsOfHosts(url)) {
    try {
      // reads the files that it names, and connects to nothing
      new Client({ connectionString: each });
    } catch (error) {
      const isUrl = messageOf(error) === 'Invalid URL';
      return isUrl
        ? {
            what: 'it cannot be read as a URL',
            do: `write it as ${FORM}, and characters such as @ : / ? # in the password as %40 %3A %2F %3F %23`,
          }
        : { what: `what it says cannot be used (${messageOf(error)})`, do: 'correct its parameters' };
    }
  }
  if ((parts.query.get('user') ?? parts.user) === '')
    return { what: 'it names no role', do: `write it as ${FORM}` };
  return undefined;
}

/**
 * The same URL once for each host that it names, in their order.
 * @param url one in which {@link whyNoDatabaseUrl} finds nothing
 */
export function urlsOfHosts(url: string): readonly [string, ...string[]] {
  const parts = partsOf(url);
  const [first, ...others] = parts === undefined ? [] : hostsIn(parts);
  if (parts === undefined || first === undefined || others.length === 0) return [url];
  const one = ({ host, port }: Host): string => {
    const query = new URLSearchParams(parts.query);
    query.set('host', host);
    query.set('port', port);
    return `${parts.scheme}${parts.login}/${parts.database}?${query.toString()}`;
  };
  return [one(first), ...others.map(one)];
}

interface Parts {
  readonly scheme: string;
  /** With its `@`; empty when there is none. */
  readonly login: string;
  readonly user: string;
  /** As it stands between `@` and `/`. */
  readonly hosts: string;
  readonly database: string;
  readonly query: URLSearchParams;
}

function partsOf(url: string): Parts | undefined {
  const [, scheme, authority, database, query] =
    /^(postgres(?:ql)?:\/\/)([^/?#]*)\/?([^?#]*)(?:\?([^#]*))?/.exec(url) ?? [];
  if (scheme === undefined || authority === undefined) return undefined;
  const login = authority.slice(0, authority.lastIndexOf('@') + 1);
  return {
    scheme,
    login,
    user: /^([^:@]*)/.exec(login)?.[1] ?? '',
    hosts: authority.slice(login.length),
    database: database ?? '',
    query: new URLSearchParams(query ?? ''),
  };
}

interface Host {
  /** A name, an address without brackets, or the directory of a socket. */
  readonly host: string;
  readonly port: string;
}

function hostsIn({ hosts, query }: Parts): readonly Host[] {
  const named = query.get('host');
  if (named === null)
    return hosts.split(',').map((each) => {
      const [, bracketed, plain, port] =
        /^(?:\[([0-9a-fA-F.]*:[0-9a-fA-F:.]*)\]|([^:]*))(?::(.*))?$/.exec(each) ?? [];
      return { host: bracketed ?? plain ?? '', port: port ?? '5432' };
    });
  const ports = query.get('port')?.split(',') ?? ['5432'];
  return named.split(',').map((host, at) => ({ host, port: ports[ports.length === 1 ? 0 : at] ?? '' }));
}

function whyNoParameters(query: URLSearchParams): WhyNoUrl | undefined {
  const names = [...query.keys()];
  const unknown = names.find((name) => !PARAMETERS.includes(name));
  if (unknown !== undefined)
    return {
      what: `its parameter ${JSON.stringify(unknown)} is none that escrowd goes by`,
      do: `take it away; those that are known: ${PARAMETERS.join(', ')}`,
    };
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined)
    return { what: `it has the parameter ${twice} twice`, do: 'take one of the two away' };
  const session = query.get('target_session_attrs');
  if (session !== null && session !== 'read-write' && session !== 'primary')
    return {
      what: 'target_session_attrs asks for a server that cannot be written to, or for any',
      do: 'write target_session_attrs=read-write, or leave it out: escrowd looks for such a server in any case',
    };
  return undefined;
}

/** The driver reads these, whatever stands there. */
function whyNoFiles(query: URLSearchParams): WhyNoUrl | undefined {
  for (const name of ['sslrootcert', 'sslcert', 'sslkey']) {
    const file = query.get(name);
    if (file === null) continue;
    try {
      readNamedFile(file);
    } catch (error) {
      if (!(error instanceof UnreadableFile)) throw error;
      return { what: `${name}: ${file} cannot be read: ${error.message}`, do: error.remedy };
    }
  }
  return undefined;
}

/** One host is left to the driver; of several each must be clear by itself. */
function whyNoHosts(parts: Parts): WhyNoUrl | undefined {
  const { hosts, query } = parts;
  const named = query.get('host');
  const isList = [hosts, named ?? '', query.get('port') ?? ''].some((text) => text.includes(','));
  if (!isList) return undefined;
  const refused = (what: string): WhyNoUrl => ({
    what: `its list of hosts cannot be used: ${what}`,
    do: 'write it as postgresql://ROLE:PASSWORD@HOST1:PORT1,HOST2:PORT2/DATABASE',
  });
  if (hosts !== '' && (named !== null || query.get('port') !== null))
    return refused('hosts or ports stand in two places');
  const ports = query.get('port')?.split(',').length ?? 1;
  const each = hostsIn(parts);
  if (ports !== 1 && ports !== each.length) return refused('there are not as many ports as hosts');
  if (each.length > MAXIMUM_HOSTS) return refused(`there are more than ${MAXIMUM_HOSTS}`);
  const at = each.findIndex(({ host, port }) => !isHost(host) || !isPort(port));
  if (at >= 0) return refused(`the ${at + 1}. is no host with a port`);
  const names = each.map(({ host, port }) => `${host} ${port}`);
  if (new Set(names).size < names.length) return refused('one stands there twice');
  return undefined;
}

function isHost(host: string): boolean {
  return isIP(host) !== 0 || /^[A-Za-z0-9]([A-Za-z0-9._-]{0,252})$/.test(host) || host.startsWith('/');
}

function isPort(port: string): boolean {
  return /^[1-9]\d{0,4}$/.test(port) && Number(port) <= 65_535;
}
