/** As much of a Redis client as the benchmark needs: commands in order on one unix socket, values as bytes, pipelined. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

type Reply = Buffer | string | number | null;

export class RedisClient {
  readonly #pending: { resolve: (reply: Reply) => void; reject: (error: Error) => void }[] = [];
  readonly #replies = new ReplyReader();

  private constructor(private readonly socket: Socket) {
    socket.on('data', (piece: Buffer) => {
      for (const reply of this.#replies.push(piece)) {
        const pending = this.#pending.shift();
        if (reply instanceof Error) pending?.reject(reply);
        else pending?.resolve(reply);
      }
    });
    const lose = (error?: Error): void => {
      for (const pending of this.#pending.splice(0)) pending.reject(error ?? new Error('redis closed the connection'));
    };
    socket.on('error', lose);
    socket.on('close', () => lose());
  }

  static async open(path: string): Promise<RedisClient> {
    const socket = connect({ path });
    await once(socket, 'connect');
    return new RedisClient(socket);
  }

  /** The value in pieces, sent as they are. */
  async set(key: string, pieces: readonly Uint8Array[]): Promise<void> {
    const length = pieces.reduce((sum, piece) => sum + piece.byteLength, 0);
    const name = Buffer.from(key);
    this.socket.cork();
    this.socket.write(`*3\r\n$3\r\nSET\r\n$${name.length}\r\n${key}\r\n$${length}\r\n`);
    for (const piece of pieces) this.socket.write(piece);
    this.socket.write('\r\n');
    process.nextTick(() => this.socket.uncork());
    await this.#reply();
  }

  /** Throws when there is none. The buffer is the caller's, and aligned. */
  async get(key: string): Promise<Buffer> {
    this.#send(['GET', key]);
    const value = await this.#reply();
    if (!Buffer.isBuffer(value)) throw new Error(`redis holds no ${key}`);
    return value;
  }

  async command(...words: string[]): Promise<Reply> {
    this.#send(words);
    return this.#reply();
  }

  close(): void {
    this.socket.destroy();
  }

  #send(words: readonly string[]): void {
    this.socket.write(`*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`);
  }

  #reply(): Promise<Reply> {
    return new Promise((resolve, reject) => this.#pending.push({ resolve, reject }));
  }
}

/** RESP2 without arrays. */
export class ReplyReader {
  #line: Buffer = Buffer.alloc(0);
  #bulk: Buffer | undefined;
  #held = 0;

  *push(given: Buffer): Generator<Reply | Error> {
    let piece = given;
    while (piece.length > 0) {
      if (this.#bulk === undefined) {
        if (this.#line.length > 0) {
          piece = Buffer.concat([this.#line, piece]);
          this.#line = Buffer.alloc(0);
        }
        const end = piece.indexOf('\r\n');
        if (end < 0) {
          this.#line = piece;
          return;
        }
        const kind = String.fromCharCode(piece[0] ?? 0);
        const text = piece.toString('utf8', 1, end);
        piece = piece.subarray(end + 2);
        if (kind !== '$') yield kind === '-' ? new Error(`redis: ${text}`) : kind === ':' ? Number(text) : text;
        else if (text === '-1') yield null;
        else {
          // With the line's end behind it, which is cut off below.
          this.#bulk = Buffer.from(new ArrayBuffer(Number(text) + 2));
          this.#held = 0;
        }
        continue;
      }
      const taken = piece.copy(this.#bulk, this.#held);
      this.#held += taken;
      piece = piece.subarray(taken);
      if (this.#held < this.#bulk.length) return;
      const value = this.#bulk.subarray(0, -2);
      this.#bulk = undefined;
      yield value;
    }
  }
}
