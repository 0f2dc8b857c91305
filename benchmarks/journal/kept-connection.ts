/** One HTTP connection that is kept, with one call at a time: as little of a client as there can be, because it shares the machine with the server. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export class KeptConnection {
  #unread: Buffer = Buffer.alloc(0);
  #heard: (() => void) | undefined;

  private constructor(
    private readonly socket: Socket,
    private readonly head: string,
  ) {
    socket.on('data', (piece: Buffer) => {
      this.#unread = this.#unread.length === 0 ? piece : Buffer.concat([this.#unread, piece]);
      this.#heard?.();
    });
  }

  static async open(url: string, token: string): Promise<KeptConnection> {
    const { hostname, port, host } = new URL(url);
    const socket = connect({ host: hostname, port: Number(port), noDelay: true });
    await once(socket, 'connect');
    return new KeptConnection(socket, `Host: ${host}\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\n`);
  }

  /** Throws when it is refused. */
  async post<T>(path: string, body: unknown): Promise<T> {
    const text = JSON.stringify(body);
    this.socket.write(`POST ${path} HTTP/1.1\r\n${this.head}Content-Length: ${String(Buffer.byteLength(text))}\r\n\r\n${text}`);
    for (;;) {
      const answer = this.#answer();
      if (answer !== undefined) {
        if (!answer.head.startsWith('HTTP/1.1 200')) throw new Error(`${path}: ${answer.head}\n${answer.body}`);
        return JSON.parse(answer.body) as T;
      }
      await new Promise<void>((resolve) => (this.#heard = resolve));
    }
  }

  close(): void {
    this.socket.destroy();
  }

  #answer(): { head: string; body: string } | undefined {
    const headEnd = this.#unread.indexOf('\r\n\r\n');
    if (headEnd < 0) return undefined;
    const head = this.#unread.toString('latin1', 0, headEnd);
    const bodyBytes = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
    const end = headEnd + 4 + bodyBytes;
    if (this.#unread.length < end) return undefined;
    const body = this.#unread.toString('utf8', headEnd + 4, end);
    this.#unread = this.#unread.subarray(end);
    return { head, body };
  }
}
