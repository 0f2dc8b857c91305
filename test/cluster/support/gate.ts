/** A door that a test keeps: who asks at `url`, from a pod or from this machine, is answered while it is open, and else when it opens. */
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { machineIp } from './cluster.js';

export interface Gate {
  readonly url: string;
  open(): void;
  shut(): void;
  close(): Promise<void>;
}

/** Open at first. */
export async function makeGate(): Promise<Gate> {
  let isOpen = true;
  const waiting = new Set<ServerResponse>();
  const server = createServer((_request, response) => {
    if (isOpen) response.end();
    else waiting.add(response);
  });
  server.listen(0, machineIp);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const open = (): void => {
    isOpen = true;
    for (const response of waiting) response.end();
    waiting.clear();
  };
  return {
    url: `http://${machineIp}:${String(port)}/`,
    open,
    shut: () => {
      isOpen = false;
    },
    close: async () => {
      open();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
