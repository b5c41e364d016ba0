const EVERY_BYTES = 64 * 1024 * 1024;

/** Says of a long copy how far it is: now and then, and nothing of a short one. */
export function progress(tell: (line: string) => void): (path: string, content: Uint8Array) => void {
  let bytes = 0;
  let next = EVERY_BYTES;
  return (path, content) => {
    bytes += content.length;
    if (bytes < next) return;
    next = bytes + EVERY_BYTES;
    tell(`${Math.round(bytes / 2 ** 20)} MiB so far, at ${path}`);
  };
}
