/** Of an IPv6 address, the network of one customer: so many of its eight groups of 16 bits (RFC 6177). */
const NETWORK_GROUPS = 4;

/**
 * Whom an address stands for when requests and connections are counted: an IPv4 address itself, also when it comes as an
 * IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2), and of any other IPv6 address its /64, as `2001:db8:0:0/64`. However
 * an address is spelt, what it stands for is the same. Undefined is one that has no address any more: all of those are one.
 */
export function networkOf(address: string | undefined): string {
  const [bare = ''] = (address ?? '').split('%', 1);
  if (!bare.includes(':')) return bare;
  const groups = groupsOf(bare);
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    const [high = 0, low = 0] = groups.slice(6);
    return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.');
  }
  const network = groups.slice(0, NETWORK_GROUPS).map((group) => group.toString(16));
  return `${network.join(':')}/${NETWORK_GROUPS * 16}`;
}

/** The eight groups of an IPv6 address in any of the spellings of RFC 4291 section 2.2. */
function groupsOf(address: string): readonly number[] {
  const [head = '', tail] = address.split('::', 2);
  const left = pieces(head);
  const right = tail === undefined ? [] : pieces(tail);
  const zeros = Array.from({ length: Math.max(0, 8 - left.length - right.length) }, () => 0);
  return [...left, ...zeros, ...right];
}

function pieces(part: string): readonly number[] {
  if (part === '') return [];
  return part.split(':').flatMap((piece) => {
    if (!piece.includes('.')) return [parseInt(piece, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = piece.split('.').map(Number);
    return [(a << 8) | b, (c << 8) | d];
  });
}
