/**
 * Submits shards as one stream of NDJSON from a process of its own, and reads the answers. argv: address, token, shards, first number. Prints
 * `{ seconds, accepted }` as JSON.
 */
import { once } from 'node:events';
import { request } from 'node:http';
import { pipelineName, submissionOf } from './work.js';

const [url = '', token = '', ...numbers] = process.argv.slice(2);
const [shards = 0, from = 0] = numbers.map(Number);
const linesOfBlock = 512;

// Made before: what a submitter's own work costs is not asked.
const blocks: Buffer[] = [];
for (let done = 0; done < shards; done += linesOfBlock) {
  const some = Math.min(linesOfBlock, shards - done);
  const lines = Array.from({ length: some }, (_, index) => `${JSON.stringify(submissionOf(from + done + index))}\n`);
  blocks.push(Buffer.from(lines.join('')));
}

const beganMs = performance.now();
const sent = request(`${url}/v1/pipelines/${pipelineName}/shards`, {
  method: 'POST',
  headers: { authorization: `Bearer ${token}`, 'content-type': 'application/x-ndjson' },
});
const writing = (async () => {
  for (const block of blocks) if (!sent.write(block)) await once(sent, 'drain');
  sent.end();
})();
const [answer] = (await once(sent, 'response')) as [AsyncIterable<Buffer>];
let accepted = 0;
const mark = Buffer.from('"outcome":"accepted"');
let rest: Buffer = Buffer.alloc(0);
for await (const piece of answer) {
  const bytes = Buffer.concat([rest, piece]);
  let at = 0;
  for (let found = bytes.indexOf(mark); found >= 0; found = bytes.indexOf(mark, at)) {
    accepted += 1;
    at = found + mark.length;
  }
  rest = bytes.subarray(Math.max(at, bytes.length - mark.length + 1));
}
await writing;
console.log(JSON.stringify({ seconds: (performance.now() - beganMs) / 1_000, accepted }));
