/**
 * A source behind http(s): HEAD for size and identity, range GET where the server allows it, else the whole, once.
 *
 * Invariants
 *  1. A body that breaks off goes on behind the last byte that came (range, same identity); where that cannot be,
 *     or after `triesMax` tries without a byte, PDL_SOURCE_UNREACHABLE: the shard is retried with back-off.
 *  2. What must be read out of order from a server without ranges is fetched once: into memory up to
 *     `heldBytesMax`, else into a temporary file that goes with `close()`.
 *  3. Addresses are told without credentials and query: those may be secrets.
 *  4. With `allowed`, no address beyond it is asked, wherever redirects and names lead (`access/guarded-fetch.ts`).
 *  5. The bytes of the wire are what counts: compression by the server is declined.
 */
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { guardedFetch } from '../access/guarded-fetch.js';
import type { Addresses } from '../contracts/access.js';
import { PodlineError, isPodlineError } from '../contracts/errors.js';
import { mediumOf } from '../platform/medium-of.js';
import { BytesSource, FileSource, ReadCounts, shorter, type SourceReader, type SourceStat } from './source-reader.js';

const triesMax = 3;
const heldBytesMax = 64 * 1024 * 1024;

interface HttpStat extends SourceStat {
  ranges: boolean;
}

/** The address as it may be shown. */
export function shownUrl(uri: string): string {
  const url = new URL(uri);
  return `${url.origin}${url.pathname}`;
}

export async function statHttp(uri: string, signal?: AbortSignal, allowed?: Addresses): Promise<HttpStat> {
  const head = await request(uri, { method: 'HEAD', signal }, allowed);
  await head.body?.cancel();
  if (head.ok) return statOf(head, head.headers.get('accept-ranges') === 'bytes');
  if (![400, 403, 405, 501].includes(head.status)) throw refused(uri, head);
  // Servers that sign addresses for GET alone refuse HEAD: ask for one byte instead.
  const probe = await request(uri, { headers: { range: 'bytes=0-0' }, signal }, allowed);
  await probe.body?.cancel();
  if (!probe.ok && probe.status !== 416) throw refused(uri, probe);
  return statOf(probe, probe.status !== 200);
}

export async function openHttp(uri: string, signal?: AbortSignal, allowed?: Addresses): Promise<SourceReader> {
  const found = await statHttp(uri, signal, allowed);
  const source = new HttpSource(uri, found, signal, allowed);
  // Without a length no range can be named: fetch it whole, now.
  if (found.sizeBytes === undefined) await source.fetchWhole();
  return source;
}

function statOf(response: Response, ranges: boolean): HttpStat {
  const total = /\/(\d+)$/.exec(response.headers.get('content-range') ?? '')?.[1];
  const length = total ?? (response.status === 206 ? null : response.headers.get('content-length'));
  const sizeBytes = length === null || length === '' ? undefined : Number(length);
  const parts = [
    ['etag', response.headers.get('etag')],
    ['changed', response.headers.get('last-modified')],
    ['size', sizeBytes],
  ].filter(([, value]) => value !== null && value !== undefined);
  return { sizeBytes, ranges, identity: parts.map((part) => part.join(' ')).join(', ') };
}

async function request(
  uri: string,
  init: { method?: string; headers?: Record<string, string>; signal?: AbortSignal | undefined },
  allowed: Addresses | undefined,
): Promise<Response> {
  const whole = {
    method: init.method ?? 'GET',
    headers: { 'accept-encoding': 'identity', ...init.headers },
    signal: init.signal ?? null,
  };
  try {
    if (allowed === undefined) return await fetch(uri, { ...whole, redirect: 'follow' });
    const response: unknown = await guardedFetch(uri, whole, allowed);
    return response as Response;
  } catch (thrown) {
    if (init.signal?.aborted === true || isPodlineError(thrown)) throw thrown;
    throw unreachable(uri, 'does not answer', thrown);
  }
}

function unreachable(uri: string, what: string, cause?: unknown): PodlineError {
  const reason = cause instanceof Error ? ` (${cause.cause instanceof Error ? cause.cause.message : cause.message})` : '';
  return new PodlineError('PDL_SOURCE_UNREACHABLE', `${shownUrl(uri)} ${what}${reason}`, { place: shownUrl(uri), cause });
}

function refused(uri: string, response: Response): PodlineError {
  const place = shownUrl(uri);
  if (response.status === 404 || response.status === 410)
    return new PodlineError('PDL_SOURCE_MISSING', `${place} is not there (HTTP ${String(response.status)})`, { place });
  const lasting = response.status < 500 && response.status !== 408 && response.status !== 429;
  return new PodlineError('PDL_SOURCE_UNREACHABLE', `${place} answered with HTTP ${String(response.status)}`, {
    place,
    ...(lasting ? { retry: 'never' as const, hint: 'Check the address and the rights that it needs.' } : {}),
  });
}

class HttpSource implements SourceReader {
  readonly name: string;
  readonly identity: string;
  readonly counts = new ReadCounts();
  #sizeBytes: number;
  #whole: Promise<SourceReader> | undefined;
  #tempDir: string | undefined;
  #closed: Promise<void> | undefined;

  constructor(
    readonly uri: string,
    private readonly found: HttpStat,
    private readonly signal: AbortSignal | undefined,
    private readonly allowed: Addresses | undefined,
  ) {
    this.name = shownUrl(uri);
    this.identity = found.identity;
    this.#sizeBytes = found.sizeBytes ?? 0;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  async readAt(from: number, to: number, purpose: 'content' | 'metadata' = 'content'): Promise<Buffer> {
    if (to > this.#sizeBytes) throw shorter(this.name, to, this.#sizeBytes);
    if (to <= from) return Buffer.alloc(0);
    if (this.#whole !== undefined || !this.found.ranges) return (await this.fetchWhole()).readAt(from, to, purpose);
    const into = Buffer.from(new ArrayBuffer(to - from));
    let at = 0;
    for await (const piece of this.#wire(from, to, purpose)) at += piece.copy(into, at);
    return into;
  }

  async *stream(from: number, to: number): AsyncGenerator<Buffer> {
    if (to <= from) return;
    if (this.#whole !== undefined) yield* (await this.#whole).stream(from, to);
    else yield* this.#wire(from, to, 'content');
  }

  /** Everything, once; reads are served from it from now on. */
  fetchWhole(): Promise<SourceReader> {
    this.#whole ??= this.#fetchWhole();
    return this.#whole;
  }

  async #fetchWhole(): Promise<SourceReader> {
    const held: Buffer[] = [];
    let heldBytes = 0;
    let file: Awaited<ReturnType<typeof open>> | undefined;
    let path = '';
    let medium: 'memory' | 'ssd' = 'ssd';
    try {
      for await (const piece of this.#wire(0, this.found.sizeBytes, 'content')) {
        if (file === undefined && heldBytes + piece.length > heldBytesMax) {
          this.#tempDir = await mkdtemp(join(tmpdir(), 'podline-source-'));
          path = join(this.#tempDir, 'content');
          file = await open(path, 'wx');
          for (const part of held.splice(0)) await file.appendFile(part);
          medium = await mediumOf(path);
          this.counts.bytes[medium].written += heldBytes;
        }
        heldBytes += piece.length;
        if (file === undefined) {
          held.push(Buffer.from(piece));
        } else {
          await file.appendFile(piece);
          this.counts.bytes[medium].written += piece.length;
        }
      }
    } finally {
      await file?.close();
    }
    this.#sizeBytes = heldBytes;
    if (file === undefined) return new BytesSource(this.name, Buffer.concat(held));
    const local = await FileSource.open(path, this.signal);
    const counts = this.counts;
    return {
      uri: this.uri,
      name: this.name,
      sizeBytes: heldBytes,
      identity: this.identity,
      counts,
      async readAt(from, to, purpose) {
        counts.bytes[local.medium].read += to - from;
        return local.readAt(from, to, purpose);
      },
      async *stream(from, to) {
        for await (const piece of local.stream(from, to)) {
          counts.bytes[local.medium].read += piece.length;
          yield piece;
        }
      },
      close: () => local.close(),
    };
  }

  /** Bytes [from, to) as the server sends them; `to` undefined: all there is. */
  async *#wire(from: number, to: number | undefined, purpose: 'content' | 'metadata'): AsyncGenerator<Buffer> {
    let at = from;
    let tries = 0;
    while (to === undefined || at < to) {
      // Without ranges the body begins at 0 and what lies before `at` is passed over.
      const ranged = this.found.ranges && (at > 0 || (to !== undefined && to < this.#sizeBytes));
      const range = `bytes=${String(at)}-${to === undefined ? '' : String(to - 1)}`;
      const headers = ranged ? { range, ...this.#ifRange() } : {};
      const response = await request(this.uri, { headers, signal: this.signal }, this.allowed);
      if (!response.ok) {
        await response.body?.cancel();
        throw refused(this.uri, response);
      }
      if (ranged && response.status === 200 && at > from) {
        await response.body?.cancel();
        throw new PodlineError('PDL_SOURCE_UNREADABLE', `${this.name} changed while it was read`, {
          place: this.name,
          retry: 'later',
        });
      }
      let position = response.status === 206 ? at : 0;
      const before = at;
      let broken: unknown;
      try {
        for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
          const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
          const start = position;
          position += bytes.length;
          const piece = bytes.subarray(
            Math.max(at - start, 0),
            to === undefined ? bytes.length : Math.max(Math.min(to - start, bytes.length), 0),
          );
          this.counts.count('network', start, position, purpose === 'metadata' || start < at ? 'metadata' : 'content');
          if (piece.length > 0) {
            at += piece.length;
            yield piece;
          }
          if (to !== undefined && at >= to) return;
        }
        if (to === undefined) return;
      } catch (thrown) {
        if (this.signal?.aborted === true) throw thrown;
        broken = thrown;
      }
      tries = at > before ? 1 : tries + 1;
      if (to === undefined || !this.found.ranges || tries >= triesMax) {
        const got = to === undefined ? String(at) : `${String(at)} of ${String(to)}`;
        throw unreachable(this.uri, `broke off after ${got} bytes`, broken);
      }
    }
  }

  #ifRange(): Record<string, string> {
    const etag = /(?:^|, )etag ((?:W\/)?"[^"]*")/.exec(this.identity)?.[1];
    return etag === undefined || etag.startsWith('W/') ? {} : { 'if-range': etag };
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    const whole = await this.#whole?.catch(() => undefined);
    await whole?.close();
    if (this.#tempDir !== undefined) await rm(this.#tempDir, { recursive: true, force: true });
  }
}
