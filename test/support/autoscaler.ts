/** A server that takes ceilings, as an autoscaler behind a webhook does. */
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';

export interface Heard {
  headers: IncomingHttpHeaders;
  body: string;
}

export interface HearingServer {
  url: string;
  heard: Heard[];
  /** What it answers from here on. */
  answer: (status: number, headers?: Record<string, string>) => void;
}

/** Until the test ends. */
export async function hearingServer(): Promise<HearingServer> {
  const heard: Heard[] = [];
  let answer: [number, Record<string, string>] = [204, {}];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => (body += text));
    request.on('end', () => {
      heard.push({ headers: request.headers, body });
      response.writeHead(...answer).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/scale`;
  return { url, heard, answer: (status, headers = {}) => void (answer = [status, headers]) };
}
