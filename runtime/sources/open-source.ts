/** Where a source is opened or asked for its size, whatever it is: file or http(s). */
import { stat } from 'node:fs/promises';
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

/** The caller closes it. */
export async function openSource(uri: string, signal?: AbortSignal): Promise<SourceReader> {
  return isHttp(uri) ? openHttp(uri, signal) : FileSource.open(uri, signal);
}
