import { Client } from 'pg';
import { messageOf } from '../system/errors.js';

/** Why a text is no URL of a database, and what to do about it. Nothing of the URL is repeated: it may hold a password. */
export interface WhyNoUrl {
  readonly what: string;
  readonly do: string;
}

const FORM = 'postgresql://ROLE:PASSWORD@HOST:PORT/DATABASE';

/**
 * Says why this cannot be the URL of the database; undefined when it can. It must name its role: without one the driver takes the
 * user of the system. Several hosts are refused: a connection that is made anew would have to find out which of them is the
 * primary, and what another one has not got yet would be missing.
 */
export function whyNoDatabaseUrl(url: string): WhyNoUrl | undefined {
  const authority = /^postgres(?:ql)?:\/\/([^/?#]*)/.exec(url)?.[1];
  if (authority === undefined) return { what: 'it is no postgresql:// URL', do: `write it as ${FORM}` };
  const query = new URLSearchParams(/\?([^#]*)/.exec(url)?.[1] ?? '');
  const hosts = query.get('host') ?? authority.slice(authority.lastIndexOf('@') + 1);
  if (hosts.includes(','))
    return {
      what: 'it names several hosts, and escrowd connects to one',
      do: 'name the one address that leads to the primary, also after a fail-over: a virtual IP, a DNS name or a TCP proxy that follows it',
    };
  try {
    // reads the files that it names, and connects to nothing
    new Client({ connectionString: url });
  } catch (error) {
    const isUrl = messageOf(error) === 'Invalid URL';
    return isUrl
      ? {
          what: 'it cannot be read as a URL',
          do: `write it as ${FORM}, and characters such as @ : / ? # in the password as %40 %3A %2F %3F %23`,
        }
      : { what: `what it says cannot be used (${messageOf(error)})`, do: 'correct its parameters' };
  }
  const user = query.get('user') ?? /^([^:@]*)(?::[^@]*)?@/.exec(authority)?.[1] ?? '';
  if (user === '') return { what: 'it names no role', do: `write it as ${FORM}` };
  return undefined;
}
