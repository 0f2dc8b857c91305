/** All messages of a topic that are committed, as a consumer of the test's own sees them, in the order in which it reads them. */
import type { Consumer, Kafka } from 'kafkajs';

export interface ReadMessage {
  key: string;
  value: string;
  partition: number;
  headers: Record<string, string>;
}

let readers = 0;

export class TopicReader {
  readonly messages: ReadMessage[] = [];

  private constructor(private readonly consumer: Consumer) {}

  static async open(kafka: Kafka, topic: string): Promise<TopicReader> {
    readers += 1;
    const consumer = kafka.consumer({
      groupId: `reader-${process.pid}-${readers}`,
      // What is not committed is not seen.
      readUncommitted: false,
      maxWaitTimeInMs: 100,
      retry: { retries: 50, initialRetryTime: 50, maxRetryTime: 500, restartOnFailure: async () => true },
    });
    const reader = new TopicReader(consumer);
    await consumer.connect();
    await consumer.subscribe({ topics: [topic], fromBeginning: true });
    const seen = new Set<string>();
    await consumer.run({
      eachMessage: async ({ partition, message }) => {
        // A consumer that begins anew reads some again: an offset counts once.
        const place = `${partition}@${message.offset}`;
        if (seen.has(place)) return;
        seen.add(place);
        const headers = Object.fromEntries(Object.entries(message.headers ?? {}).map(([name, value]) => [name, String(value)]));
        reader.messages.push({ key: String(message.key), value: String(message.value), partition, headers });
      },
    });
    return reader;
  }

  close(): Promise<void> {
    return this.consumer.disconnect();
  }
}
