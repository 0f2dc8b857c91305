/** Service to service, tuned: binary records, or columns and only those that a stage behind still reads. */
import type { Workload } from '../workload.js';
import { HttpRunner } from './http.js';

export const httpRecords = (workload: Workload): HttpRunner =>
  new HttpRunner('http-records', 'HTTP, msgpackr records', workload, workload.edges, 'records');
export const httpColumns = (workload: Workload): HttpRunner =>
  new HttpRunner('http-columns', 'HTTP, columns, needed ones only (tuned)', workload, workload.tunedEdges, 'columns');
