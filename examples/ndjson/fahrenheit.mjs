// An ordinary program: lines in, lines out. What it writes to stderr goes into the log of the stage.
import { createInterface } from 'node:readline';

const fahrenheit = (celsius) => Math.round((celsius * 1.8 + 32) * 10) / 10;

let days = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const { temp_min, temp_max, ...day } = JSON.parse(line);
  process.stdout.write(
    `${JSON.stringify({ ...day, fahrenheitMin: fahrenheit(temp_min), fahrenheitMax: fahrenheit(temp_max) })}\n`,
  );
  days += 1;
}
process.stderr.write(`${String(days)} days\n`);
