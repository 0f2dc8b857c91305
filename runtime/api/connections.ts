/**
 * The connections of a server, bounded: when there are too many, the one that has been idle longest makes room. So ten
 * thousand connections that say nothing keep nobody out.
 */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/** `connectionsMax` may be exceeded by nobody; where none is idle, the new one goes. */
export function boundConnections(server: Server, connectionsMax: number): void {
  const idle = new Set<Socket>();
  const busy = new Map<Socket, number>();
  const take = (socket: Socket): void => {
    if (idle.size + busy.size >= connectionsMax) {
      const [oldest] = idle;
      if (oldest === undefined) {
        socket.destroy();
        return;
      }
      idle.delete(oldest);
      oldest.destroy();
    }
    idle.add(socket);
    socket.once('close', () => {
      idle.delete(socket);
      busy.delete(socket);
    });
  };
  server.on('secureConnection', take);
  server.on('connection', (socket: Socket) => {
    if (!('setSecureContext' in server)) take(socket);
  });
  server.on('request', (request, response) => {
    const { socket } = request;
    idle.delete(socket);
    busy.set(socket, (busy.get(socket) ?? 0) + 1);
    response.once('close', () => {
      const requests = (busy.get(socket) ?? 1) - 1;
      if (requests > 0) busy.set(socket, requests);
      else if (busy.delete(socket) && !socket.destroyed) idle.add(socket);
    });
  });
}
