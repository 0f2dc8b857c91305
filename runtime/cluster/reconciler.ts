/**
 * Makes the cluster as pipelines ask for, and says in their status what is.
 *
 * One look at a resource: take it in (`intake.ts`) → create or mend its objects (`plan-objects.ts`, `object-writer.ts`) → submit its input
 * (`submissions.ts`) → write its status (`observe.ts`, `status.ts`). What is to be is decided by pure functions; this file carries out.
 *
 * Owns the informers, the queue and what it started; `close()` ends them. Lines go on without it.
 *
 * Invariants
 *  1. A look may be broken off anywhere and made again: every step of it changes nothing that was done before.
 *  2. Nothing is written while nothing changes: objects are sent when the plan or the object is another one, the status when it says
 *     something new.
 *  3. A resource that is refused keeps what an earlier form of it has running.
 *  4. A line whose node is lost comes up on another one (`lost-pods.ts`).
 */
import type { Clock } from '../platform/clock.js';
import type { Logger } from '../platform/logger.js';
import { PodlineError } from '../contracts/errors.js';
import { limits } from '../contracts/limits.js';
import type { PipelineStatus } from '../contracts/pipeline-status.js';
import { workloadName } from '../line/groups.js';
import { canonicalJson } from '../line/lineage.js';
import type { Desk, SplitInput } from './desk.js';
import { EventWriter } from './event-writer.js';
import { endPipeline, putFinalizer } from './finalizer.js';
import type { ImageCode } from './image-code.js';
import { Informer, keyOf } from './informer.js';
import { Intake, type Known } from './intake.js';
import { KubeFailure, viewOf } from './kube.js';
import { patchType, type KubeObject, type KubeRest } from './kube-rest.js';
import type { LinePods } from './line-pods.js';
import { LostPods } from './lost-pods.js';
import { labels } from './names.js';
import { fieldManager, ObjectWriter } from './object-writer.js';
import { observe } from './observe.js';
import { groupLinesOf, planObjects, planSecret, type PlanOptions } from './plan-objects.js';
import type { Workloads } from './plan-pod.js';
import { podsOf } from './pods-of.js';
import { inputDigest, Refusal } from './resolve.js';
import { collectionPath, objectPath } from './resources.js';
import { eventsBetween, planStatus, statusOf } from './status.js';
import { Submissions } from './submissions.js';
import { WorkQueue } from './work-queue.js';

/** The installation's settings for lines. */
export interface LineSettings extends Omit<
  PlanOptions,
  'name' | 'namespace' | 'groups' | 'slots' | 'lineSuffix' | 'owner' | 'workload'
> {
  cores: number;
  /** Where results of a manifest lie whose `result.dir` is relative. */
  resultRoot: string;
}

export interface ReconcilerOptions {
  rest: KubeRest;
  desk: Desk;
  split: SplitInput;
  pods: LinePods;
  code: ImageCode;
  /** The coordinator's own. */
  namespace: string;
  /** One namespace, or all without it. */
  watched: string | undefined;
  workload: Workloads;
  lines: LineSettings;
  /** What lines show to the coordinator; kept in the secret `lines.tokenSecret` of each namespace that has a pipeline. */
  token: string;
  clock: Clock;
  /** [0, 1) */
  random: () => number;
  logger: Logger;
}

const resyncMs = 300_000;
/** What is under way elsewhere is looked at again after this: a pod that reads an image, a place for a submission. */
const askAgainMs = 1_000;
/** What was refused and may pass by itself is tried again after this. */
const refusedAgainMs = 30_000;
/** In which lines say hello to a coordinator that is new: until then they count as they did. */
const settleMs = limits.leaseTtlMs;
const queueBounds = { workersMax: 4, keysMax: 10_000, gapMs: 500, backoffMs: { initial: 500, max: 60_000 } };

export class Reconciler {
  readonly #resources: Informer<KubeObject>;
  readonly #linePods: Informer<KubeObject>;
  readonly #queue: WorkQueue;
  readonly #known = new Map<string, Known>();
  /** The status that was last written. */
  readonly #said = new Map<string, { uid: string; status: PipelineStatus }>();
  readonly #intake: Intake;
  readonly #objects: ObjectWriter;
  readonly #events: EventWriter;
  readonly #submissions: Submissions;
  readonly #lost: LostPods;
  readonly #ending = new AbortController();
  #beganMs = -Infinity;
  #listening: Promise<void> = Promise.resolve();
  #unsubscribe: () => void = () => undefined;

  constructor(private readonly options: ReconcilerOptions) {
    const { rest, watched, clock, random, logger, pods, lines } = options;
    this.#intake = new Intake({ ...options, image: lines.image, cores: lines.cores, resultRoot: lines.resultRoot });
    this.#objects = new ObjectWriter(rest, clock);
    this.#events = new EventWriter({ rest, clock, logger });
    this.#submissions = new Submissions(options);
    this.#lost = new LostPods(options);
    this.#queue = new WorkQueue({ work: (key) => this.#look(key), clock, random, logger, ...queueBounds });
    const informed = { rest, resyncMs, clock, random, logger };
    this.#resources = new Informer({
      ...informed,
      path: collectionPath('Pipeline', watched),
      onChange: (resource, before) => {
        if (before === undefined || before === resource || isNews(resource, before)) this.#queue.add(keyOf(resource));
      },
      onGone: (resource) => {
        this.#queue.add(keyOf(resource));
      },
    });
    this.#linePods = new Informer({
      ...informed,
      path: collectionPath('Pod', watched),
      labelSelector: `${labels.app}=podline-line`,
      onChange: (pod) => {
        this.#lookAtPod(pod, (name) => {
          pods.changed(name, viewOf(pod));
        });
      },
      onGone: (pod) => {
        this.#lost.forget(pod);
        this.#lookAtPod(pod, (name) => {
          pods.gone(name, viewOf(pod));
        });
      },
    });
  }

  /** Resolves when pipelines and pods were seen once. */
  async start(): Promise<void> {
    const { desk, pods } = this.options;
    this.#beganMs = this.options.clock.nowMs();
    const after = await desk.lastEventId();
    this.#unsubscribe = pods.subscribe(({ pipeline }) => {
      this.replan(pipeline);
    });
    await Promise.all([this.#resources.start(), this.#linePods.start()]);
    this.#listening = this.#listen(after);
  }

  /** The pipeline is looked at again soon. */
  replan(pipeline: string): void {
    this.#queue.add(this.#keyOf(pipeline));
  }

  /** Through the scale subresource, as an autoscaler does it. Throws PDL_PIPELINE_UNKNOWN, KubeFailure. */
  async scale(pipeline: string, lines: number): Promise<void> {
    const resource = this.#resourceOf(this.#keyOf(pipeline));
    if (resource === undefined) throw new PodlineError('PDL_PIPELINE_UNKNOWN', `there is no pipeline resource ${pipeline}`);
    await this.options.rest.request('PATCH', `${objectPath('Pipeline', resource.metadata)}/scale`, {
      body: { spec: { replicas: lines } },
      contentType: patchType.merge,
      query: { fieldManager },
    });
  }

  async close(): Promise<void> {
    this.#ending.abort();
    this.#unsubscribe();
    await Promise.all([this.#queue.close(), this.#resources.close(), this.#linePods.close(), this.#submissions.close()]);
    await this.#listening;
  }

  // --- names ----------------------------------------------------------------------------------

  /** What the coordinator calls it: in other namespaces than its own, with the namespace behind the name. */
  #nameOf({ metadata: { name, namespace } }: KubeObject): string {
    return `${name}${this.#suffixOf(namespace) ?? ''}`;
  }

  #suffixOf(namespace = ''): string | undefined {
    return namespace === this.options.namespace ? undefined : `.${namespace}`;
  }

  /** Names of pipelines and namespaces have no dots. */
  #keyOf(pipeline: string): string {
    const [name = '', namespace = this.options.namespace] = pipeline.split('.');
    return `${namespace}/${name}`;
  }

  #resourceOf(key: string): KubeObject | undefined {
    const [namespace, name = ''] = key.split('/');
    return this.#resources.get(namespace, name);
  }

  #lookAtPod(pod: KubeObject, tell: (pipeline: string) => void): void {
    const name = pod.metadata.labels?.[labels.pipeline];
    if (name === undefined) return;
    const pipeline = this.#nameOf({ metadata: { name, namespace: pod.metadata.namespace } });
    tell(pipeline);
    this.replan(pipeline);
  }

  async #listen(after: number): Promise<void> {
    const { desk, logger } = this.options;
    const { signal } = this.#ending;
    try {
      for await (const { pipeline } of desk.events({ after, signal })) this.replan(pipeline);
    } catch (thrown) {
      // The resync looks at all of them every few minutes all the same.
      if (!signal.aborted) logger.error({ err: String(thrown) }, 'the coordinator’s events ended');
    }
  }

  // --- one look -------------------------------------------------------------------------------

  async #look(key: string): Promise<void> {
    const { rest, desk, logger } = this.options;
    const resource = this.#resourceOf(key);
    if (resource === undefined) {
      this.#forget(key);
      return;
    }
    if (resource.metadata.deletionTimestamp !== undefined) {
      if ((await endPipeline(rest, desk, this.#nameOf(resource), resource)) === 'more') this.#queue.add(key);
      return;
    }
    let refusal: Refusal | undefined;
    try {
      await this.#bringAbout(key, resource);
    } catch (thrown) {
      if (!(thrown instanceof Refusal)) throw thrown;
      refusal = thrown;
      logger.warn({ key, reason: refusal.reason }, refusal.message);
      if (refusal.isPassing) this.#queue.add(key, refusedAgainMs);
    }
    await this.#writeStatus(key, resource, refusal);
    const lookAgainMs = await this.#lost.remove(this.#podsOf(resource));
    if (lookAgainMs !== undefined) this.#queue.add(key, lookAgainMs);
  }

  async #bringAbout(key: string, resource: KubeObject): Promise<void> {
    const { uid = '', generation = 0, name, namespace = '' } = resource.metadata;
    let known = this.#known.get(key);
    if (known?.uid !== uid || known.generation !== generation) {
      known = await this.#intake.take(resource, this.#nameOf(resource), known);
      if (known === undefined) {
        this.#queue.add(key, askAgainMs);
        return;
      }
      this.#known.set(key, known);
    }
    const { rest, lines, workload, token } = this.options;
    const { pipeline, manifest, slots } = known;
    await putFinalizer(rest, resource);
    this.#track(resource, known);
    // Where lines run is the resource's to say, and no part of what they are told.
    const placed = { ...pipeline, spec: { ...pipeline.spec, placement: manifest.spec.placement } };
    const options = {
      ...lines,
      name,
      namespace,
      groups: groupLinesOf(manifest.spec),
      slots,
      workload,
      lineSuffix: this.#suffixOf(namespace),
      owner: { name, uid },
    };
    await this.#objects
      .write(key, [planSecret(lines.tokenSecret, namespace, token), ...planObjects(placed, options)])
      .catch((thrown: unknown) => {
        throw refusedObject(thrown);
      });
    this.#submit(key, resource, known);
    if (known.submission?.state === 'failed') throw known.submission.refusal;
  }

  #track(resource: KubeObject, { pipeline, manifest, slots }: Known): void {
    const { name, namespace = '' } = resource.metadata;
    const { rest, pods, lines } = this.options;
    const suffix = this.#suffixOf(namespace) ?? '';
    const isNew = pods.track({
      pipeline,
      groups: new Map(groupLinesOf(manifest.spec).map((of) => [workloadName(name, of.group), of])),
      slots,
      image: lines.image,
      kube: podsOf(rest, namespace),
      lineOf: (podName) => `${podName}${suffix}`,
    });
    if (!isNew) return;
    for (const pod of this.#podsOf(resource)) pods.changed(pipeline.name, viewOf(pod));
  }

  #podsOf({ metadata: { name, namespace } }: KubeObject): KubeObject[] {
    return this.#linePods
      .all()
      .filter(({ metadata }) => metadata.namespace === namespace && metadata.labels?.[labels.pipeline] === name);
  }

  /** Begins to submit the input where that is still to be done. */
  #submit(key: string, resource: KubeObject, known: Known): void {
    const { manifest, pipeline, submission } = known;
    if (manifest.spec.input.source === undefined || submission?.state === 'working') return;
    const digest = inputDigest(manifest);
    // What passes by itself is tried again at a later look.
    if (submission?.digest === digest && !(submission.state === 'failed' && submission.refusal.isPassing)) return;
    const recorded = statusOf(resource)?.input;
    if (recorded?.digest === digest) known.submission = { state: 'done', ...recorded };
    else if (this.#submissions.isFull) this.#queue.add(key, askAgainMs);
    else {
      known.submission = { state: 'working', digest };
      this.#submissions.begin(pipeline, digest, resource.metadata.creationTimestamp ?? '', (ended) => {
        known.submission = ended;
        this.#queue.add(key);
      });
    }
  }

  async #writeStatus(key: string, resource: KubeObject, refusal: Refusal | undefined): Promise<void> {
    const { rest, clock } = this.options;
    // Our own last word may be newer than what the informer has seen.
    const uid = resource.metadata.uid ?? '';
    const said = this.#said.get(key);
    const before = said?.uid === uid ? said.status : statusOf(resource);
    const isSettling = clock.nowMs() - this.#beganMs < settleMs;
    if (isSettling) this.#queue.add(key, settleMs);
    const heardBefore = isSettling ? before?.readyLines : undefined;
    const observed = await observe(this.options, resource, this.#known.get(key), refusal, heardBefore);
    const after = planStatus(observed, before, clock.wall());
    if (before !== undefined && canonicalJson(before) === canonicalJson(after)) return;
    await rest.request('PATCH', `${objectPath('Pipeline', resource.metadata)}/status`, {
      body: { status: absentAsNull(before, after) },
      contentType: patchType.merge,
      query: { fieldManager },
    });
    this.#said.set(key, { uid, status: after });
    for (const event of eventsBetween(before, after)) await this.#events.write(resource, event);
  }

  #forget(key: string): void {
    const known = this.#known.get(key);
    if (known !== undefined) this.options.pods.forget(known.pipeline.name);
    this.#known.delete(key);
    this.#said.delete(key);
    this.#objects.forget(key);
    this.#queue.forget(key);
  }
}

/** A merge patch takes a field away by null. */
const absentAsNull = (before: object | undefined, after: object): object => ({
  ...Object.fromEntries(Object.keys(before ?? {}).map((name) => [name, null])),
  ...after,
});

/** A status that was written, by us as a rule, is none. */
const isNews = (is: KubeObject, was: KubeObject): boolean =>
  is.metadata.generation !== was.metadata.generation ||
  is.metadata.uid !== was.metadata.uid ||
  is.metadata.deletionTimestamp !== was.metadata.deletionTimestamp;

/** The API server will not take an object: what is wrong with it is the pipeline's to show. Anything else is tried again. */
function refusedObject(thrown: unknown): unknown {
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
