import { createHmac } from 'node:crypto';

const PREFIX = 'whsec_';
/** Standard Webhooks, "Signature scheme": a symmetric secret has between 24 and 64 bytes. */
const MIN_BYTES = 24;
const MAX_BYTES = 64;

/** The bytes of a secret in the form of Standard Webhooks, `whsec_` and base64; undefined when it is none. */
export function parseWebhookSecret(text: string): Uint8Array | undefined {
  if (!text.startsWith(PREFIX)) return undefined;
  const encoded = text.slice(PREFIX.length);
  const bytes = Buffer.from(encoded, 'base64');
  const isCanonical = bytes.toString('base64').replace(/=+$/, '') === encoded.replace(/=+$/, '');
  return isCanonical && bytes.length >= MIN_BYTES && bytes.length <= MAX_BYTES ? bytes : undefined;
}

/**
 * The headers of a webhook (Standard Webhooks, "Webhook headers" and "Signature scheme"): HMAC-SHA256 over id, timestamp
 * and body, one signature for each secret, so that a receiver may change from one to the other at its leisure.
 */
export function webhookHeaders(
  message: { readonly id: string; readonly at: Date; readonly body: string },
  secrets: readonly Uint8Array[],
): Readonly<Record<'webhook-id' | 'webhook-timestamp' | 'webhook-signature', string>> {
  const timestamp = String(Math.floor(message.at.getTime() / 1000));
  const signed = `${message.id}.${timestamp}.${message.body}`;
  return {
    'webhook-id': message.id,
    'webhook-timestamp': timestamp,
    'webhook-signature': secrets
      .map((secret) => `v1,${createHmac('sha256', secret).update(signed).digest('base64')}`)
      .join(' '),
  };
}
