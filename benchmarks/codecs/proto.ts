/** Protocol buffers, by the (de)serializers that proto-loader generates from the messages below. One message is one piece. */
import { fromJSON, type MethodDefinition, type ServiceDefinition } from '@grpc/proto-loader';
import type { Order } from '../work/stages.js';
import type { BlockCodec } from './codec.js';

const fields = (of: Record<string, string>): Record<string, { type: string; id: number }> =>
  Object.fromEntries(Object.entries(of).map(([name, type], index) => [name, { type, id: index + 1 }]));

const definition = fromJSON(
  {
    nested: {
      Chunk: { fields: fields({ data: 'bytes' }) },
      Order: {
        fields: fields({
          id: 'int32',
          at: 'double',
          customer: 'string',
          country: 'string',
          price: 'double',
          quantity: 'int32',
          discount: 'double',
          paid: 'bool',
          total: 'double',
          net: 'double',
          band: 'string',
          label: 'string',
        }),
      },
      Orders: { fields: { orders: { rule: 'repeated', type: 'Order', id: 1 } } },
      Stage: {
        methods: {
          Bytes: { requestType: 'Chunk', requestStream: true, responseType: 'Chunk', comment: '' },
          Orders: { requestType: 'Orders', requestStream: true, responseType: 'Chunk', comment: '' },
        },
      },
    },
  },
  { longs: Number },
);
const { Bytes, Orders } = definition['Stage'] as ServiceDefinition;

function codecOf<T extends object, B>(
  name: string,
  method: MethodDefinition<object, object>,
  to: (block: B) => T[],
  from: (message: T) => B,
): BlockCodec<B> {
  return {
    name,
    *encode(block) {
      for (const message of to(block)) yield method.requestSerialize(message);
    },
    decoder: () => ({
      *push(piece) {
        yield from(method.requestDeserialize(piece) as T);
      },
      *end() {
        // A message is whole, or it does not come.
      },
    }),
  };
}

/** Larger messages gain nothing: gRPC copies each of them several times, and those copies fit into the cache. */
const chunkBytes = 256 * 1024;

/** Bytes in chunks: `bytes data = 1`. */
export const protoChunks = codecOf<{ data: Uint8Array }, Uint8Array>(
  'protobuf chunks',
  Bytes as MethodDefinition<object, object>,
  (block) => {
    const chunks = [];
    for (let at = 0; at < block.length; at += chunkBytes) chunks.push({ data: block.subarray(at, at + chunkBytes) });
    return chunks;
  },
  ({ data }) => data,
);

export const protoOrders = codecOf<{ orders?: Order[] }, Order[]>(
  'protobuf records',
  Orders as MethodDefinition<object, object>,
  (orders) => [{ orders }],
  ({ orders }) => orders ?? [],
);
