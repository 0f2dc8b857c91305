/** Service to service as it is mostly done: every record whole, as a line of JSON. */
import type { Workload } from '../workload.js';
import { HttpRunner } from './http.js';

export const httpNdjson = (workload: Workload): HttpRunner =>
  new HttpRunner('http-ndjson', 'HTTP, NDJSON', workload, workload.edges, 'ndjson');
