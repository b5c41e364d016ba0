/** Deep enough for a row that holds an entry (hex), that holds a JWS, that holds JSON, that holds ciphertext. */
const MOST_LAYERS = 5;
const HEX = /[0-9A-Fa-f]{32,}/g;
const BASE64 = /[A-Za-z0-9+/_-]{22,}/g;

/**
 * The bytes themselves, and whatever they hold in hexadecimal, base64 or base64url, and what that holds in turn.
 * `whole` takes each run of letters for what it looks like, from its start; `anywhere` in every way and also from
 * within, so that no secret can hide by standing at another offset.
 */
export function byteStringsIn(bytes: Buffer, from: 'whole' | 'anywhere'): readonly Buffer[] {
  const found = new Map<string, Buffer>();
  let layer: readonly Buffer[] = [bytes];
  for (let depth = 0; depth < MOST_LAYERS && layer.length > 0; depth += 1) {
    const fresh = layer.filter((each) => !found.has(each.toString('latin1')));
    for (const each of fresh) found.set(each.toString('latin1'), each);
    layer = fresh.flatMap((each) => decodings(each.toString('latin1'), from));
  }
  return [...found.values()];
}

function decodings(text: string, from: 'whole' | 'anywhere'): readonly Buffer[] {
  const decoded: Buffer[] = [];
  const decode = (pattern: RegExp, encoding: 'hex' | 'base64', shifts: number): void => {
    for (const [run] of text.matchAll(pattern)) {
      if (from === 'whole' && encoding === 'base64' && /^[0-9A-Fa-f]+$/.test(run)) continue;
      for (let shift = 0; shift < (from === 'whole' ? 1 : shifts); shift += 1) {
        decoded.push(Buffer.from(run.slice(shift), encoding));
      }
    }
  };
  decode(HEX, 'hex', 2);
  decode(BASE64, 'base64', 4);
  return decoded;
}
