/**
 * The connections of a server, bounded: when there are too many, the one that has been idle longest makes room. So ten
 * thousand connections that say nothing keep nobody out, whether or not they come to shake hands.
 */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/** By its other end: a connection with TLS is another object to whoever asks through it than it was when it came. */
const keyOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress ?? ''} ${String(remotePort)}`;

/** `connectionsMax` may be exceeded by nobody; where none is idle, the new one goes. */
export function boundConnections(server: Server, connectionsMax: number): void {
  /** As they came. */
  const idle = new Map<string, Socket>();
  const busy = new Map<string, { socket: Socket; requests: number }>();
  server.on('connection', (socket: Socket) => {
    const key = keyOf(socket);
    // It went before anybody looked.
    if (socket.remoteAddress === undefined) {
      socket.destroy();
      return;
    }
    if (idle.size + busy.size >= connectionsMax) {
      const [oldest] = idle;
      if (oldest === undefined) {
        socket.destroy();
        return;
      }
      idle.delete(oldest[0]);
      oldest[1].destroy();
    }
    idle.set(key, socket);
    socket.once('close', () => {
      if (idle.get(key) === socket) idle.delete(key);
      if (busy.get(key)?.socket === socket) busy.delete(key);
    });
  });
  server.on('request', (request, response) => {
    const key = keyOf(request.socket);
    const socket = idle.get(key) ?? busy.get(key)?.socket;
    if (socket === undefined) return;
    idle.delete(key);
    busy.set(key, { socket, requests: (busy.get(key)?.requests ?? 0) + 1 });
    response.once('close', () => {
      const now = busy.get(key);
      if (now?.socket !== socket) return;
      now.requests -= 1;
      if (now.requests > 0) return;
      busy.delete(key);
      if (!socket.destroyed) idle.set(key, socket);
    });
  });
}
