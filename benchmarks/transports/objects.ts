/** Objects in the store of `peers/servers/object-store.ts`: PUT, GET and DELETE over HTTP, connections kept alive. */
import { once } from 'node:events';
import { Agent, request, type ClientRequest, type IncomingMessage } from 'node:http';
import type { BlockStore } from './store-stage.js';

export class ObjectStore implements BlockStore {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 8, noDelay: true });

  constructor(private readonly port: number) {}

  async put(key: string, pieces: readonly Uint8Array[]): Promise<void> {
    const sent = this.#request(
      'PUT',
      key,
      pieces.reduce((sum, piece) => sum + piece.byteLength, 0),
    );
    const answered = once(sent, 'response') as Promise<[IncomingMessage]>;
    answered.catch(() => undefined);
    sent.cork();
    for (const piece of pieces) sent.write(piece);
    sent.end();
    const [answer] = await answered;
    await this.#ended(answer, key);
  }

  async get(key: string): Promise<Buffer> {
    const sent = this.#request('GET', key);
    sent.end();
    const [answer] = (await once(sent, 'response')) as [IncomingMessage];
    const value = Buffer.from(new ArrayBuffer(Number(answer.headers['content-length'] ?? 0)));
    if (answer.statusCode !== 200) await this.#ended(answer, key);
    let at = 0;
    for await (const piece of answer as AsyncIterable<Buffer>) at += piece.copy(value, at);
    if (at < value.length) throw new Error(`the object ${key} was cut off`);
    return value;
  }

  async remove(keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      const sent = this.#request('DELETE', key);
      sent.end();
      const [answer] = (await once(sent, 'response')) as [IncomingMessage];
      await this.#ended(answer, key);
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  #request(method: string, key: string, bytes?: number): ClientRequest {
    const headers = bytes === undefined ? {} : { 'content-length': bytes };
    return request({
      host: '127.0.0.1',
      port: this.port,
      method,
      path: `/${encodeURIComponent(key)}`,
      agent: this.#agent,
      headers,
    });
  }

  async #ended(answer: IncomingMessage, key: string): Promise<void> {
    answer.resume();
    if (!answer.readableEnded) await once(answer, 'end');
    if (answer.statusCode !== 200) throw new Error(`the object store answered ${String(answer.statusCode)} to ${key}`);
  }
}
