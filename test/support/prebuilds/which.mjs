/** Prints the prebuild that the loader of the native part takes in the Node that runs this. usage: which.mjs LOADER (as it is built) */
import { readFileSync } from 'node:fs';

const { loadNative } = await import(process.argv[2]);
const { functions, reason } = loadNative();
if (functions === undefined) throw new Error(reason);
console.log(/\/prebuilds\/(.+\.node)$/m.exec(readFileSync('/proc/self/maps', 'utf8'))?.[1]);
