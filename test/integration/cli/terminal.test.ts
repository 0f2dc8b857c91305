/** `podline run` on a real terminal: what is drawn in place leaves nothing behind, however small the terminal is. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import { entryPath } from '../../../runtime/platform/entries.js';
import { CliFolder } from '../../support/cli.js';
import { needs } from '../../support/require.js';
import { Screen } from '../../support/screen.js';
import { writeSmallPipeline, type SmallPipeline } from '../../support/small-pipeline.js';

let folder: CliFolder;
let pipeline: SmallPipeline;
beforeEach(() => {
  folder = new CliFolder();
  pipeline = writeSmallPipeline(join(folder.dir, 'small'), [1, 2, 3]);
});
afterEach(() => {
  folder.remove();
});

/** Runs on a terminal of so many rows, with the first stage at a closed gate; `hear` is given all that was written so far. */
async function onTerminal(
  rows: number,
  hear: (text: string, act: { type: (keys: string) => void; openGate: () => void }) => void,
) {
  const gate = join(folder.dir, 'small', 'gate');
  const command = [process.execPath, entryPath('runtime/cli/main'), 'run', pipeline.manifest, '--work-dir', 'work'].join(' ');
  const terminal = `stty rows ${String(rows)} cols 60; exec ${command} --param gate=${gate}`;
  const child = spawn('script', ['-qefc', terminal, '/dev/null'], {
    cwd: folder.dir,
    env: { ...process.env, TERM: 'xterm' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let text = '';
  const act = {
    type: (keys: string): void => {
      child.stdin.write(keys);
    },
    openGate: (): void => {
      writeFileSync(gate, '');
    },
  };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    hear(text, act);
  });
  const [code] = (await once(child, 'close')) as [number | null];
  const screen = new Screen(rows);
  screen.write(text);
  return { code, text, lines: screen.lines };
}

const timesDrawn = (text: string): number => text.match(/0 of 3 shards/g)?.length ?? 0;
const isDrawn = (line: string): boolean => /[░█▶]|…]/.test(line);

for (const rows of [30, 4]) {
  needs('script').it(`draws in place and cleans up on a terminal of ${String(rows)} rows`, async () => {
    const { code, text, lines } = await onTerminal(rows, (seen, { openGate }) => {
      if (timesDrawn(seen) > 3 && seen.includes('double ▶')) openGate();
    });
    expect(code, text).toBe(0);
    expect(lines.filter(isDrawn)).toEqual([]);
    expect(lines.filter((line) => line.includes('3 completed in'))).toHaveLength(1);
  });
}

needs('script').it('Ctrl-C takes the view away, says how to go on, and ends with 130', async () => {
  let typed = false;
  const { code, lines } = await onTerminal(30, (seen, { type }) => {
    if (typed || timesDrawn(seen) < 2) return;
    typed = true;
    type('\u0003');
  });
  expect(code).toBe(130);
  expect(lines.filter(isDrawn)).toEqual([]);
  expect(lines.join('\n')).toContain('--resume');
});
