import { PodlineError } from '../contracts/errors.js';
import { KubeFailure } from './kube.js';
import { Refusal } from './resolve.js';

/** The API server will not take an object: what is wrong with it is the pipeline's to show. Anything else is tried again. */
export function refusedObject(thrown: unknown): unknown {
  const status = thrown instanceof KubeFailure ? thrown.status : undefined;
  if (status === undefined || status < 400 || status >= 500 || [401, 404, 408, 409, 429].includes(status)) return thrown;
  return new Refusal(
    'ObjectsRefused',
    new PodlineError('PDL_SWAP_FAILED', `the API server refused an object of the pipeline: ${(thrown as Error).message}`, {
      hint: status === 403 ? 'Give the coordinator the rights of the manifests.' : 'Mend what it names.',
      retry: status === 403 ? 'later' : 'never',
    }),
  );
}
