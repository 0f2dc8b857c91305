/**
 * Uses every function of a prebuild of the native part, in whatever Node runs this, and prints what came of it as JSON.
 * usage: probe.cjs PREBUILD FILE (which may be overwritten)
 */
const { closeSync, openSync, readFileSync, statSync, writeFileSync } = require('node:fs');
const { Worker } = require('node:worker_threads');
const [, , prebuild, file] = process.argv;
const native = require(prebuild);
const kibi = 1024;
const textOf = (buffer, length) => Buffer.from(new Uint8Array(buffer, 0, length)).toString();

function maps() {
  writeFileSync(file, 'abc');
  const fd = openSync(file, 'r+');
  const buffer = native.map(fd, 0, 64 * kibi);
  writeFileSync(file, 'def', { flag: 'a' });
  native.advise(buffer, 0, 64 * kibi, 3);
  const seen = textOf(buffer, 6);
  new Uint8Array(buffer)[0] = 120;
  const unmapped = [native.unmap(buffer), native.unmap(buffer)];
  closeSync(fd);
  return { seen, unmapped, after: textOf(buffer, 6), file: readFileSync(file, 'utf8') };
}

function outputs() {
  writeFileSync(file, Buffer.alloc(5_000, 1));
  const fd = openSync(file, 'r+');
  native.reserve(fd, 4_000, 3_000);
  const buffer = native.mapOutput(fd, 5_000, 2_000);
  new Uint8Array(buffer).fill(7);
  const other = openSync(file, 'r+');
  const taken = [native.take(fd), native.take(other)];
  closeSync(fd);
  taken.push(native.take(other));
  native.unmap(buffer);
  new Uint8Array(buffer)[0] = 9;
  taken.push(native.take(other));
  closeSync(other);
  const content = readFileSync(file);
  return { taken, length: content.length, bytes: [4_999, 5_000, 6_999].map((at) => content[at]) };
}

function holes() {
  writeFileSync(file, Buffer.alloc(256 * kibi, 1));
  const fd = openSync(file, 'r+');
  native.punchHole(fd, 64 * kibi, 128 * kibi);
  closeSync(fd);
  const content = readFileSync(file);
  const edges = [64 * kibi - 1, 64 * kibi, 192 * kibi - 1, 192 * kibi].map((at) => content[at]);
  return { edges, size: content.length, blocks: statSync(file).blocks };
}

function copies() {
  writeFileSync(file, Buffer.from(Array.from({ length: 300_000 }, (_, index) => index % 251)));
  writeFileSync(`${file}.copy`, 'before');
  const [from, to] = [openSync(file, 'r'), openSync(`${file}.copy`, 'r+')];
  const lengths = [native.copyRange(from, 1_000, to, 6, 200_000), native.copyRange(from, 299_990, to, 200_006, 100)];
  closeSync(from);
  closeSync(to);
  return { lengths, sum: native.crc32(readFileSync(`${file}.copy`), 0) };
}

function sums() {
  const bytes = Buffer.from(Array.from({ length: 5_000 }, (_, index) => (index * 2_654_435_761) >>> 13));
  const found = [];
  for (const from of [0, 1, 7, 15])
    for (const length of [0, 1, 8, 15, 16, 63, 64, 129, 1_000, 4_321])
      for (const before of [0, 0x12345678]) {
        const piece = bytes.subarray(from, from + length);
        found.push([native.crc32(piece, before), native.crc32Portable(piece, before)]);
      }
  return found;
}

function refusals() {
  try {
    native.map(9_999, 0, 4 * kibi);
    return 'none';
  } catch (error) {
    return error.code;
  }
}

function inThread(told) {
  const script = `
    const { parentPort, workerData } = require('node:worker_threads');
    const native = require(workerData.prebuild);
    const fd = require('node:fs').openSync(workerData.file, 'r+');
    const view = new Uint8Array(native.map(fd, 0, 6));
    const before = view[0];
    native.unmap(view.buffer);
    native.map(fd, 0, 6); // left open when the thread ends
    parentPort.postMessage([before, view[0]]);`;
  writeFileSync(file, 'mapped');
  const worker = new Worker(script, { eval: true, workerData: { prebuild, file } });
  let answer;
  worker.on('message', (message) => (answer = message));
  worker.on('exit', (code) => told({ answer, code }));
}

const found = { maps: maps(), outputs: outputs(), holes: holes(), copies: copies(), sums: sums(), refusals: refusals() };
inThread((thread) => console.log(JSON.stringify({ arch: process.arch, ...found, thread })));
