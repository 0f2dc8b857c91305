/**
 * Service to service by gRPC on loopback: one client-streaming call per edge and job, on a channel that stays. Messages come encoded from
 * the codec (`codecs/proto.ts`), by the serializer that proto-loader generates, and are handed to the stage as they arrive.
 */
import { once } from 'node:events';
import {
  Client,
  Metadata,
  Server,
  ServerCredentials,
  credentials,
  status,
  type ClientWritableStream,
  type ServerReadableStream,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import type { Arrival, Outlet, StreamTransport } from './stream-stage.js';

const path = '/podline.bench.Stage/Take';
const asIs = (bytes: Buffer): Buffer => bytes;
const service: ServiceDefinition = {
  Take: {
    path,
    requestStream: true,
    responseStream: false,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  },
};
/** HTTP/2 lets this much be on its way before the receiver answers: the default of 64 KiB would stop the sender at each piece. */
const windowBytes = 16 * 1024 * 1024;
const options = {
  'grpc.max_receive_message_length': -1,
  'grpc.max_send_message_length': -1,
  'grpc-node.flow_control_window': windowBytes,
};

export class GrpcTransport implements StreamTransport {
  readonly #clients = new Map<number, Client>();
  readonly #server = new Server(options);

  async listen(onArrival: (arrival: Arrival) => void): Promise<number> {
    const take = (call: ServerReadableStream<Buffer, Buffer>, done: (error: object | null, answer?: Buffer) => void): void => {
      onArrival({
        job: String(call.metadata.get('x-job-bin')[0]),
        from: String(call.metadata.get('x-from')[0]),
        body: call as AsyncIterable<Buffer>,
        answer: (isDone) => (isDone ? done(null, Buffer.alloc(0)) : done({ code: status.INTERNAL, details: 'the stage failed' })),
      });
    };
    this.#server.addService(service, { Take: take });
    return new Promise((resolve, reject) => {
      this.#server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
        error === null ? resolve(port) : reject(error),
      );
    });
  }

  open(port: number, job: string, from: string): Outlet {
    let client = this.#clients.get(port);
    if (client === undefined)
      this.#clients.set(port, (client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), options)));
    const metadata = new Metadata();
    metadata.set('x-job-bin', Buffer.from(job));
    metadata.set('x-from', from);
    let call: ClientWritableStream<Buffer> | undefined;
    const answered = new Promise<void>((resolve, reject) => {
      const end = (error: Error | null): void => (error === null ? resolve() : reject(error));
      call = client.makeClientStreamRequest(path, asIs, asIs, metadata, end);
    });
    answered.catch(() => undefined);
    const sent = call!;
    return {
      write: (piece) => sent.write(piece as Buffer),
      drained: () => Promise.race([once(sent, 'drain'), answered]),
      end: () => {
        sent.end();
        return answered;
      },
    };
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
    this.#server.forceShutdown();
  }
}
