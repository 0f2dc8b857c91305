/**
 * Service to service over HTTP on loopback: one request per edge and job, its body a stream, on connections that are kept alive.
 * Node switches Nagle's algorithm off on both sides.
 */
import { once } from 'node:events';
import { Agent, createServer, request, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { bufferedBytesMax, type Arrival, type Outlet, type StreamTransport } from './stream-stage.js';

export class HttpTransport implements StreamTransport {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 16 });
  #server: Server | undefined;

  async listen(onArrival: (arrival: Arrival) => void): Promise<number> {
    const options = { highWaterMark: bufferedBytesMax, requestTimeout: 0, keepAliveTimeout: 0, noDelay: true };
    const server = createServer(options, (body, response) => {
      onArrival({
        job: decodeURIComponent(String(body.headers['x-job'])),
        from: String(body.headers['x-from']),
        body: body as AsyncIterable<Buffer>,
        answer: (isDone) => response.writeHead(isDone ? 200 : 500).end(),
      });
    });
    this.#server = server;
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  }

  open(port: number, job: string, from: string): Outlet {
    const sent = request({
      host: '127.0.0.1',
      port,
      method: 'POST',
      agent: this.#agent,
      headers: { 'x-job': encodeURIComponent(job), 'x-from': from },
    });
    sent.setNoDelay(true);
    const answered = answerOf(once(sent, 'response') as Promise<[IncomingMessage]>);
    answered.catch(() => undefined);
    return {
      write: (piece) => sent.write(piece),
      drained: () => Promise.race([once(sent, 'drain'), answered]),
      end: () => {
        sent.end();
        return answered;
      },
    };
  }

  close(): void {
    this.#agent.destroy();
    this.#server?.closeAllConnections();
    this.#server?.close();
  }
}

async function answerOf(response: Promise<[IncomingMessage]>): Promise<void> {
  const [answer] = await response;
  answer.resume();
  await once(answer, 'end');
  if (answer.statusCode !== 200) throw new Error(`a service answered ${String(answer.statusCode)}`);
}
