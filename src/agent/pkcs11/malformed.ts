/** Bytes that are not what p11-kit's RPC protocol has in their place: the connection is closed. */
export class MalformedMessage extends Error {
  override readonly name = 'MalformedMessage';
}
