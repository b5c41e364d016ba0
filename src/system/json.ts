/** What a JSON text says; undefined, which no JSON is, when it is none. Not for what is signed: see `jose` and `strictJson`. */
export function jsonOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
