import { once } from 'node:events';
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import type { SinkState } from '../escrow/ports/outbox.js';

/** Something that wants a person, as the operators' log has it. */
export interface Alarm {
  /** Its name, which does not change. */
  readonly alarm: string;
  readonly message: string;
  readonly times: number;
  readonly lastAt: Date;
}

/** How the daemon is: for whoever runs it, and for nobody else. */
export interface Health {
  /** Whether it can work: that there are no problems. */
  readonly ok: boolean;
  /** What keeps it from working. */
  readonly problems: readonly string[];
  /** What is not as it should be and keeps the daemon from nothing, such as a witness that does not answer. */
  readonly notes: readonly string[];
  /** How far those are who are told outside of the API. */
  readonly notifications: readonly SinkState[];
  /** What wants a person. Whoever has the PIN or the database can cause it, so it keeps the daemon from nothing. */
  readonly alarms: readonly Alarm[];
  /** Attacks that the token does not refuse, and that the configuration accepts, by name. */
  readonly unenforced: readonly string[];
}

/** The listener for whoever runs the daemon. */
export interface ManagementListener {
  readonly host: string;
  readonly port: number;
  close(): Promise<void>;
}

const LIMITS = {
  maxHeaderSize: 4096,
  headersTimeout: 5_000,
  requestTimeout: 5_000,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 1_000,
};
const MAX_CONNECTIONS = 32;

/** What the listener says, from what was found last: it costs next to nothing. */
export interface ManagementSources {
  readonly health: () => Health;
  /** The daemon's figures, as text of this type. */
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>;
}

/**
 * Listens for whoever runs the daemon, in plain HTTP: meant for the loopback interface or a network of their own. `GET /healthz`
 * says that the daemon lives, `GET /readyz` how it is, with 503 when it cannot work, `GET /metrics` its figures, for
 * Prometheus. It changes nothing, and answers from what was found last.
 */
export async function listenForManagement(
  at: { readonly host: string; readonly port: number },
  sources: ManagementSources,
): Promise<ManagementListener> {
  const server = createServer(LIMITS, (request, response) => {
    answer(request, response, sources);
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.listen(at.port, at.host);
  await once(server, 'listening');
  // listening on a host and port, so the address is one
  const { address, port } = server.address() as AddressInfo;
  return { host: address, port, close: () => closed(server) };
}

function answer(
  { method, url }: IncomingMessage,
  response: ServerResponse,
  { health, metrics }: ManagementSources,
): void {
  const sendText = (status: number, type: string, text: string): void => {
    response.writeHead(status, { 'Content-Type': type, 'Cache-Control': 'no-store' });
    response.end(text);
  };
  const send = (status: number, json: object): void => {
    sendText(status, 'application/json', JSON.stringify(json));
  };
  if (method === 'GET' && url === '/healthz') {
    send(200, { status: 'ok' });
  } else if (method === 'GET' && url === '/readyz') {
    const found = health();
    send(found.ok ? 200 : 503, reportOf(found));
  } else if (method === 'GET' && url === '/metrics') {
    metrics().then(
      ({ contentType, text }) => {
        sendText(200, contentType, text);
      },
      () => {
        send(500, { status: 'failed' });
      },
    );
  } else {
    send(404, { status: 'unknown' });
  }
}

function reportOf({ ok, problems, notes, notifications, alarms, unenforced }: Health): object {
  return {
    status: ok ? 'ready' : 'not ready',
    problems,
    alarms: alarms.map(({ alarm, message, times, lastAt }) => ({
      alarm,
      message,
      times,
      lastAt: lastAt.toISOString(),
    })),
    notes,
    unenforced,
    notifications: notifications.map(({ sink, waiting, fault, dropped }) => ({
      sink,
      waiting,
      dropped,
      ...(fault === undefined ? {} : { fault }),
    })),
  };
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => {
      resolve();
    });
    server.closeAllConnections();
  });
}
