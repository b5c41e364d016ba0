import ipaddr from 'ipaddr.js';

/** Of an IPv6 address, the network of one customer: so many of its eight groups of 16 bits (RFC 6177). */
const NETWORK_GROUPS = 4;

/**
 * Whom an address stands for when requests and connections are counted: an IPv4 address itself, also when it comes as an
 * IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2), and of any other IPv6 address its /64, as `2001:db8:0:0/64`. However
 * an address is spelt, what it stands for is the same. Undefined is one that has no address any more: all of those are one; a text
 * that is no address stands for itself. Never throws: whoever connects is counted by it.
 */
export function networkOf(address: string | undefined): string {
  // what comes behind names an interface of this machine (RFC 4007 section 11), in any characters
  const [bare = ''] = (address ?? '').split('%', 1);
  if (!ipaddr.isValid(bare)) return bare;
  const parsed = ipaddr.process(bare);
  if (parsed instanceof ipaddr.IPv4) return parsed.toString();
  const network = parsed.parts.slice(0, NETWORK_GROUPS).map((group) => group.toString(16));
  return `${network.join(':')}/${NETWORK_GROUPS * 16}`;
}
