/** Errors as they cross HTTP: problem+json (RFC 9457) with the PDL_ code of the error, whoever threw it. */
import type { FastifyReply } from 'fastify';
import type { Socket } from 'node:net';
import { PodlineError, errorCatalogue, isPodlineError, type ErrorCode } from '../contracts/errors.js';

export const problemType = 'application/problem+json';
/** Where nobody knows better. */
const retryAfterSeconds = 1;

/** An error that says more over HTTP than its code does. */
export class HttpProblem extends PodlineError {
  constructor(
    code: ErrorCode,
    message: string,
    readonly http: { status?: number | undefined; headers?: Record<string, string> | undefined },
    hint?: string,
  ) {
    super(code, message, hint === undefined ? {} : { hint });
  }
}

/** What the framework refuses, by its status; the status is kept. */
const codesByStatus: Record<number, ErrorCode> = {
  404: 'PDL_PATH_UNKNOWN',
  405: 'PDL_PATH_UNKNOWN',
  408: 'PDL_TOO_SLOW',
  413: 'PDL_TOO_LARGE',
  414: 'PDL_TOO_LARGE',
  415: 'PDL_MEDIA_TYPE',
  431: 'PDL_TOO_LARGE',
};

export function toPodlineError(thrown: unknown): PodlineError {
  if (isPodlineError(thrown)) return thrown;
  const { statusCode: status } = (thrown ?? {}) as { statusCode?: unknown };
  if (typeof status !== 'number' || status < 400 || status >= 500) return PodlineError.from(thrown);
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new HttpProblem(codesByStatus[status] ?? 'PDL_REQUEST_INVALID', message, { status });
}

export function sendProblem(reply: FastifyReply, error: PodlineError): FastifyReply {
  const { status, headers } = httpOf(error);
  return reply.code(status).headers(headers).type(problemType).send(bodyOf(error, status));
}

/** Before there is a request to answer: the head could not be read. */
export function endWithProblem(socket: Socket, error: PodlineError): void {
  if (!socket.writable) return;
  const { status } = httpOf(error);
  const body = bodyOf(error, status);
  socket.end(
    `HTTP/1.1 ${String(status)} \r\nContent-Type: ${problemType}\r\nContent-Length: ${String(Buffer.byteLength(body))}\r\nConnection: close\r\n\r\n${body}`,
  );
}

function httpOf(error: PodlineError): { status: number; headers: Record<string, string> } {
  const http: HttpProblem['http'] = error instanceof HttpProblem ? error.http : {};
  const status = http.status ?? errorCatalogue[error.code].status;
  return {
    status,
    headers: {
      ...(status === 429 || status === 503 ? { 'retry-after': String(error.retryAfterS ?? retryAfterSeconds) } : {}),
      ...(status === 401 ? { 'www-authenticate': 'Bearer realm="podline"' } : {}),
      ...http.headers,
    },
  };
}

const bodyOf = (error: PodlineError, status: number): string =>
  JSON.stringify({
    type: `https://podline.dev/errors/${error.code}`,
    title: errorCatalogue[error.code].title,
    status,
    detail: error.message,
    ...error.toWire(),
  });
