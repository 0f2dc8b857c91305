// A service as it may stand anywhere: kilometres from Washington, D.C., for each place that is asked for.
import { createServer } from 'node:http';

const capital = [38.8895, -77.0353];
const earthKm = 6371;
const radians = (degrees) => (degrees * Math.PI) / 180;

function kilometres([latitude, longitude]) {
  const [up, across] = [radians(latitude - capital[0]) / 2, radians(longitude - capital[1]) / 2];
  const half = Math.sin(up) ** 2 + Math.cos(radians(latitude)) * Math.cos(radians(capital[0])) * Math.sin(across) ** 2;
  return Math.round(2 * earthKm * Math.asin(Math.sqrt(half)));
}

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const { places } = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ kilometres: places.map(kilometres) }));
});
server.listen(Number(process.argv[2] ?? 8080), '127.0.0.1', () => {
  process.stdout.write(`http://127.0.0.1:${server.address().port}/\n`);
});
