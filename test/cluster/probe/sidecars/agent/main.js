/** Stands for the agent where only the driver is tested: shows over HTTP what is in the scratch and in its environment. */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

const server = createServer((request, response) => {
  try {
    if (request.url === '/env')
      response.end(
        JSON.stringify(Object.fromEntries(Object.entries(process.env).filter(([name]) => name.startsWith('PODLINE_')))),
      );
    else response.end(readFileSync(`${process.env.PODLINE_SCRATCH_DIR}/starts.ndjson`));
  } catch (error) {
    response.writeHead(404).end(String(error));
  }
});
server.listen(7070);
process.on('SIGTERM', () => process.exit(0));
