/**
 * What stages an image has: from our own file system where it is our own image, else from the log of a pod that is started for it.
 *
 * Owns those pods until they are read, and an answer per image and pipeline. Whoever asks is told to ask again while a pod works.
 *
 * Invariants
 *  1. A pod reads one image for one pipeline, belongs to that pipeline, has no account, and is gone when it was read.
 *  2. What an image with a digest has never changes: it is read once.
 */
import { createHash } from 'node:crypto';
import { readStageIndex } from '../config/stage-index.js';
import { PodlineError } from '../contracts/errors.js';
import { limits } from '../contracts/limits.js';
import type { KubeObject, KubeRest } from './kube-rest.js';
import { isStatus } from './kube-rest.js';
import { imageStagesDir, labels } from './names.js';
import { Refusal, stageIndexSchema, type ImageStages } from './resolve.js';
import { apiVersionOf, collectionPath, objectPath } from './resources.js';

export interface ImageCodeOptions {
  rest: KubeRest;
  /** The image in which this process runs. */
  ownImage: string;
  /** Where our own image has `pipelines/<name>`; `/podline`. */
  ownRoot: string;
  /** uid and gid of the pod. */
  user: number;
}

/** A pod that has not ended by then is ended: pulling an image takes its time. */
const deadlineSeconds = 300;
const answersMax = 4_096;

export class ImageCode {
  readonly #answers = new Map<string, ImageStages>();

  constructor(private readonly options: ImageCodeOptions) {}

  /** `undefined`: not known yet, ask again in a second. Throws Refusal when the image has nothing for the pipeline. */
  async read(image: string, pipeline: KubeObject): Promise<ImageStages | undefined> {
    const { name, namespace = '' } = pipeline.metadata;
    const key = `${image} ${name}`;
    const known = this.#answers.get(key);
    if (known !== undefined) return known;
    const text = image === this.options.ownImage ? await this.#own(name) : await this.#fromPod(image, name, namespace, pipeline);
    if (text === undefined) return undefined;
    const stages = parse(text, image, name);
    const [oldest] = this.#answers.keys();
    if (this.#answers.size >= answersMax && oldest !== undefined) this.#answers.delete(oldest);
    this.#answers.set(key, stages);
    return stages;
  }

  async #own(name: string): Promise<string> {
    try {
      return JSON.stringify(await readStageIndex(this.options.ownRoot, name));
    } catch (thrown) {
      throw new Refusal('StagesUnresolved', PodlineError.from(thrown, 'PDL_STAGE_LOAD'));
    }
  }

  async #fromPod(image: string, name: string, namespace: string, pipeline: KubeObject): Promise<string | undefined> {
    const { rest } = this.options;
    const podName = `${name}-stages-${createHash('sha256').update(image).digest('hex').slice(0, 8)}`;
    const path = objectPath('Pod', { namespace, name: podName });
    let pod: KubeObject;
    try {
      pod = await rest.request<KubeObject>('GET', path);
    } catch (thrown) {
      if (!isStatus(thrown, 404)) throw thrown;
      const body = this.#planPod(podName, image, pipeline);
      await rest.request('POST', collectionPath('Pod', namespace), { body, query: { fieldManager: 'podline' } });
      return undefined;
    }
    const status = pod.status as { phase?: string; reason?: string; message?: string } | undefined;
    if (status?.phase !== 'Succeeded' && status?.phase !== 'Failed') return undefined;
    const text = await rest.request<unknown>('GET', `${path}/log`).catch(() => '');
    await rest.request('DELETE', path, { query: { gracePeriodSeconds: '0' } });
    const log = typeof text === 'string' ? text : JSON.stringify(text);
    if (status.phase === 'Succeeded') return log;
    throw unresolved(
      `the stages of the image ${image} cannot be read: ${status.message ?? status.reason ?? (log.slice(-limits.logTailBytes).trim() || 'no word')}`,
      'Build it with Podline’s image for stages.',
    );
  }

  #planPod(podName: string, image: string, { metadata: { name, namespace, uid } }: KubeObject): KubeObject {
    const { user } = this.options;
    return {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name: podName,
        namespace,
        labels: { [labels.app]: 'podline-stages', [labels.pipeline]: name, [labels.managedBy]: 'podline' },
        ownerReferences: [{ apiVersion: apiVersionOf('Pipeline'), kind: 'Pipeline', name, uid, controller: true }],
      },
      spec: {
        activeDeadlineSeconds: deadlineSeconds,
        automountServiceAccountToken: false,
        enableServiceLinks: false,
        restartPolicy: 'Never',
        terminationGracePeriodSeconds: 0,
        securityContext: { runAsNonRoot: true, runAsUser: user, runAsGroup: user },
        containers: [
          {
            name: 'stages',
            image,
            imagePullPolicy: 'IfNotPresent',
            command: ['node', '/podline/dist/runtime/config/image-stages.js', name],
            resources: { requests: { memory: '64Mi' }, limits: { memory: '256Mi' } },
            securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
          },
        ],
      },
    };
  }
}

function parse(text: string, image: string, name: string): ImageStages {
  try {
    return stageIndexSchema.parse(JSON.parse(text)).stages;
  } catch (thrown) {
    throw unresolved(
      `${imageStagesDir(name)}/stages.json of the image ${image} is not what Podline writes: ${String(thrown)}`,
      'Build the image with the same version of Podline.',
      thrown,
    );
  }
}

const unresolved = (message: string, hint: string, cause?: unknown): Refusal =>
  new Refusal('StagesUnresolved', new PodlineError('PDL_STAGE_LOAD', message, { hint, cause }));
