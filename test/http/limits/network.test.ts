import { BlockList } from 'node:net';

import fc from 'fast-check';

import { networkOf } from '../../../src/http/limits/network.js';

const group = fc.integer({ min: 0, max: 0xffff });
const octets = fc.tuple(...Array.from({ length: 4 }, () => fc.integer({ min: 0, max: 255 })));
/** Groups as nobody shortens them, and as everybody may: leading zeros off, one run of zeros as `::`. */
const long = (groups: readonly number[]): string =>
  groups.map((each) => each.toString(16).padStart(4, '0')).join(':');
const short = (groups: readonly number[]): string =>
  new URL(`http://[${long(groups)}]`).hostname.slice(1, -1);
const isMapped = (groups: readonly number[]): boolean =>
  groups.slice(0, 5).every((each) => each === 0) && groups[5] === 0xffff;
const ipv6 = fc.array(fc.oneof(group, fc.constant(0)), { minLength: 8, maxLength: 8 });

test.each([
  ['192.0.2.7', '192.0.2.7'],
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['::FFFF:C000:0207', '192.0.2.7'],
  ['2001:db8::1', '2001:db8:0:0/64'],
  ['2001:db8:0:0:ffff::1', '2001:db8:0:0/64'],
  ['2001:db8:0:1::1', '2001:db8:0:1/64'],
  ['2001:0DB8::', '2001:db8:0:0/64'],
  ['fe80::1%eth0', 'fe80:0:0:0/64'],
  ['fe80::1%eth0.100', 'fe80:0:0:0/64'],
  ['fe80::1%br-0_1:@ x', 'fe80:0:0:0/64'],
  ['no address', 'no address'],
  ['::1', '0:0:0:0/64'],
  ['::', '0:0:0:0/64'],
  ['', ''],
  [undefined, ''],
])('%s stands for %s', (address, network) => {
  expect(networkOf(address)).toBe(network);
});

test('however it is spelt, an IPv6 address stands for its /64, as the operating system reads both', () => {
  fc.assert(
    fc.property(ipv6, ipv6, (one, other) => {
      const neighbour = [...one.slice(0, 4), ...other.slice(4)];
      fc.pre(![one, other, neighbour].some(isMapped));
      expect(networkOf(short(one))).toBe(networkOf(long(one)));
      const within = new BlockList();
      within.addSubnet(long(one), 64, 'ipv6');
      expect(within.check(short(neighbour), 'ipv6')).toBe(true);
      expect(networkOf(short(neighbour)) === networkOf(long(one))).toBe(true);
      expect(networkOf(short(other)) === networkOf(long(one))).toBe(within.check(short(other), 'ipv6'));
    }),
  );
});

test('an IPv4 address is the same one whether it comes as IPv6 or not', () => {
  fc.assert(
    fc.property(octets, (bytes) => {
      const [a = 0, b = 0, c = 0, d = 0] = bytes;
      const dotted = bytes.join('.');
      expect(networkOf(`::ffff:${dotted}`)).toBe(dotted);
      expect(networkOf(long([0, 0, 0, 0, 0, 0xffff, (a << 8) | b, (c << 8) | d]))).toBe(dotted);
    }),
  );
});
