/** Where `fetch.sh` puts Kafka: outside of the repository, kept between runs. */
import { homedir } from 'node:os';
import { join } from 'node:path';

export const kafkaJars = join(process.env['PODLINE_CACHE'] ?? join(homedir(), '.cache', 'podline'), 'kafka', '3.9.1');
