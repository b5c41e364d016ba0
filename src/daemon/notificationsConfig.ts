import { z } from 'zod';

import { NOTICE_KINDS } from '../escrow/records/notice.js';
import { isMailAddress } from '../notify/mailSink.js';

const path = z.string().min(1).max(1024);
const kinds = z
  .array(z.enum(NOTICE_KINDS))
  .min(1)
  .default([...NOTICE_KINDS]);
/** Less than the lease on a sink, with room to spare. */
const timeoutMs = z.int().min(100).max(30_000).default(10_000);
/** A host as a URL has it: lower case, an IPv6 address in brackets. */
const host = z
  .string()
  .max(255)
  .regex(
    /^([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])$/,
    'must be the name or address of a host, in lower case',
  );

const webhookUrl = z
  .string()
  .max(2048)
  .transform((text, context) => {
    const url = URL.canParse(text) ? new URL(text) : null;
    if (url === null || !['https:', 'http:'].includes(url.protocol)) {
      context.addIssue({ code: 'custom', message: 'must be an https URL' });
      return z.NEVER;
    }
    if (url.protocol === 'http:' && !isLoopback(url.hostname))
      context.addIssue({ code: 'custom', message: 'must be https, unless it leads to this very host' });
    if (url.username !== '' || url.password !== '')
      context.addIssue({ code: 'custom', message: 'must not hold credentials' });
    return url;
  });

const webhook = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,39}$/, 'must be lower-case letters, digits and hyphens'),
  url: webhookUrl,
  secretFiles: z.array(path).min(1).max(4),
  ca: path.optional(),
  kinds,
  timeoutMs,
});

const mail = z.strictObject({
  host,
  port: z.int().min(1).max(65_535),
  tls: z.enum(['implicit', 'starttls', 'none']).default('implicit'),
  ca: path.optional(),
  credentials: z.strictObject({ user: z.string().min(1).max(256), passwordFile: path }).optional(),
  from: z.string().refine(isMailAddress, 'must be a mail address, without a name'),
  kinds,
  timeoutMs,
});

/** The `notifications` of the configuration: who is told outside of the API, and where nothing may go but there. */
export const notificationsSchema = z
  .strictObject({
    allowHosts: z.array(host).default([]),
    pollMs: z.int().min(50).max(60_000).default(1_000),
    file: z.strictObject({ path, kinds }).optional(),
    webhooks: z.array(webhook).max(16).default([]),
    smtp: mail.optional(),
  })
  .prefault({})
  .superRefine(({ allowHosts, webhooks, smtp }, context) => {
    const refuse = (at: (string | number)[], message: string): void => {
      context.addIssue({ code: 'custom', path: at, message });
    };
    const notAllowed = (name: string): string => `${name} is not one of notifications.allowHosts`;
    for (const [index, { name, url }] of webhooks.entries()) {
      if (!allowHosts.includes(url.hostname)) refuse(['webhooks', index, 'url'], notAllowed(url.hostname));
      if (webhooks.findIndex((other) => other.name === name) !== index)
        refuse(['webhooks', index, 'name'], `${name} stands twice`);
    }
    if (smtp === undefined) return;
    if (!allowHosts.includes(smtp.host)) refuse(['smtp', 'host'], notAllowed(smtp.host));
    if (smtp.tls === 'none' && !isLoopback(smtp.host))
      refuse(['smtp', 'tls'], 'must not be none, unless the server is this very host');
  });

/** What the daemon tells, and where; paths as the configuration has them until they are made absolute. */
export type NotificationConfig = z.output<typeof notificationsSchema>;

/** The same, with paths that are relative to the configuration made absolute. */
export function withPaths(config: NotificationConfig, at: (relative: string) => string): NotificationConfig {
  const { file, webhooks, smtp } = config;
  const caOf = (ca: string | undefined): { ca?: string } => (ca === undefined ? {} : { ca: at(ca) });
  return {
    ...config,
    ...(file === undefined ? {} : { file: { ...file, path: at(file.path) } }),
    webhooks: webhooks.map(({ ca, ...hook }) => ({
      ...hook,
      ...caOf(ca),
      secretFiles: hook.secretFiles.map(at),
    })),
    ...(smtp === undefined ? {} : { smtp: mailWithPaths(smtp, at, caOf) }),
  };
}

function mailWithPaths(
  { ca, credentials, ...smtp }: NonNullable<NotificationConfig['smtp']>,
  at: (relative: string) => string,
  caOf: (ca: string | undefined) => { ca?: string },
): NonNullable<NotificationConfig['smtp']> {
  return {
    ...smtp,
    ...caOf(ca),
    ...(credentials === undefined
      ? {}
      : { credentials: { ...credentials, passwordFile: at(credentials.passwordFile) } }),
  };
}

function isLoopback(name: string): boolean {
  return name === 'localhost' || name === '[::1]' || /^127\.[0-9]+\.[0-9]+\.[0-9]+$/.test(name);
}
