/** Where a source is opened or asked for its size, whatever it is: file or http(s). */
import { stat } from 'node:fs/promises';
import { forbidden } from '../access/places.js';
import { requireUnder } from '../access/real-path.js';
import type { Allowed } from '../contracts/access.js';
import { PodlineError } from '../contracts/errors.js';
import { openHttp, statHttp } from './http-source.js';
import { FileSource, fileError, fileIdentity, type SourceReader, type SourceStat } from './source-reader.js';

export const isHttp = (uri: string): boolean => /^https?:\/\//i.test(uri);

/** Size and identity without reading. Throws PDL_SOURCE_MISSING, PDL_SOURCE_UNREACHABLE. */
export async function statSource(uri: string, signal?: AbortSignal): Promise<SourceStat> {
  if (isHttp(uri)) return statHttp(uri, signal);
  try {
    const found = await stat(uri, { bigint: true });
    if (!found.isFile()) throw new PodlineError('PDL_SOURCE_UNREADABLE', `${uri} is not a file`, { place: uri });
    return { sizeBytes: Number(found.size), identity: fileIdentity(found) };
  } catch (thrown) {
    throw fileError(uri, thrown);
  }
}

/** The caller closes it. Throws PDL_PLACE_FORBIDDEN for what is not `allowed`; without that, everything is. */
export async function openSource(uri: string, signal?: AbortSignal, allowed?: Allowed['sources']): Promise<SourceReader> {
  if (isHttp(uri)) return openHttp(uri, signal, allowed);
  if (allowed === undefined) return FileSource.open(uri, signal);
  const real = await requireUnder('the source', uri, allowed.roots);
  const source = await FileSource.open(real, signal);
  try {
    // A link that was put there in between: what is open is what counts.
    const opened = await source.realPath();
    if (opened !== real) throw forbidden('the source', uri, `it leads to ${opened}`);
    return source;
  } catch (thrown) {
    await source.close();
    throw thrown;
  }
}
