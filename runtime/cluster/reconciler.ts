/**
 * Makes the cluster as pipelines ask for, and says in their status what is.
 *
 * One look at a resource: take it in (`intake.ts`) → create or mend its objects (`plan-objects.ts`, `object-writer.ts`) → submit its input
 * (`submissions.ts`) → say of its pods whether their lines are there (`line-gates.ts`) → write its status (`status-writer.ts`). What is to be is decided by pure functions; this file carries out.
 *
 * Owns the informers, the queue and what it started; `close()` ends them. Lines go on without it.
 *
 * Invariants
 *  1. A look may be broken off anywhere and made again: every step of it changes nothing that was done before.
 *  2. Nothing is written while nothing changes: objects are sent when the plan or the object is another one, the status when it says
 *     something new.
 *  3. A resource that is refused keeps what an earlier form of it has running.
 *  4. A line whose node is lost comes up on another one (`lost-pods.ts`, `pinned-lines.ts`).
 *  5. How many lines there are the coordinator says, by quotas and by what each line holds (`setLines`). Until it has, none comes or goes.
 */
import type { Ceiling } from '../contracts/capacity.js';
import { PodlineError } from '../contracts/errors.js';
import type { Pipeline } from '../contracts/manifest.js';
import { limits } from '../contracts/limits.js';
import { workloadName } from '../line/groups.js';
import { endPipeline, putFinalizer } from './finalizer.js';
import { Informer, keyOf } from './informer.js';
import { Intake, type Known } from './intake.js';
import { viewOf } from './kube.js';
import { patchType, type KubeObject } from './kube-rest.js';
import type { HpaKeeper } from './hpa-autoscaler.js';
import { LineGates } from './line-gates.js';
import { LineTargets, type Place } from './line-targets.js';
import { LostPods } from './lost-pods.js';
import type { LineKeeper } from './managed-driver.js';
import { labels } from './names.js';
import { fieldManager, ObjectWriter } from './object-writer.js';
import { outdatedPods } from './outdated-pods.js';
import { PinnedLines } from './pinned-lines.js';
import { PipelineNames } from './pipeline-names.js';
import { groupLinesOf, planAuthority, planObjects, type GroupLines, type PlanOptions } from './plan-objects.js';
import { podOf } from './plan-pod.js';
import { podsOf } from './pods-of.js';
import type { ReconcilerOptions } from './reconciler-options.js';
import { refusedObject } from './refused-object.js';
import { inputDigest, Refusal } from './resolve.js';
import { collectionPath, objectPath } from './resources.js';
import { statusOf } from './status.js';
import { StatusWriter } from './status-writer.js';
import { Submissions } from './submissions.js';
import { WorkloadWatch } from './workload-watch.js';
import { WorkQueue } from './work-queue.js';

const resyncMs = 300_000;
/** What is under way elsewhere is looked at again after this: a pod that reads an image, a place for a submission. */
const askAgainMs = 1_000;
/** What was refused and may pass by itself is tried again after this. */
const refusedAgainMs = 30_000;
/** In which lines say hello to a coordinator that is new: until then they count as they did. */
const settleMs = limits.leaseTtlMs;
const queueBounds = { workersMax: 4, keysMax: 10_000, gapMs: 500, backoffMs: { initial: 500, max: 60_000 } };

export class Reconciler implements LineKeeper, HpaKeeper {
  readonly #resources: Informer<KubeObject>;
  readonly #linePods: Informer<KubeObject>;
  readonly #workloads: WorkloadWatch;
  readonly #queue: WorkQueue;
  readonly #known = new Map<string, Known>();
  readonly #intake: Intake;
  readonly #objects: ObjectWriter;
  readonly #status: StatusWriter;
  readonly #gates: LineGates;
  readonly #submissions: Submissions;
  readonly #lost: LostPods;
  readonly #pinned: PinnedLines;
  readonly #names: PipelineNames;
  readonly #targets: LineTargets;
  /** Of HPAs, by pipeline. */
  readonly #ceilings = new Map<string, Ceiling>();
  #podsListed: Promise<void> = Promise.resolve();
  readonly #ending = new AbortController();
  #beganMs = -Infinity;
  #listening: Promise<void> = Promise.resolve();
  #unsubscribe: () => void = () => undefined;

  constructor(private readonly options: ReconcilerOptions) {
    const { rest, namespace, workload, watched, clock, random, logger, pods, lines } = options;
    this.#names = new PipelineNames(namespace);
    this.#targets = new LineTargets(rest, workload);
    this.#intake = new Intake({ ...options, image: lines.image, cores: lines.cores, resultRoot: lines.resultRoot });
    this.#objects = new ObjectWriter(rest, clock);
    this.#status = new StatusWriter(options);
    this.#gates = new LineGates(options);
    this.#submissions = new Submissions(options);
    this.#lost = new LostPods(options);
    this.#pinned = new PinnedLines(options);
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
        this.#pinned.forget(pod);
        this.#lookAtPod(pod, (name) => {
          pods.gone(name, viewOf(pod));
        });
      },
    });
    this.#workloads = new WorkloadWatch(options, resyncMs, {
      seen: (place, path, object) => {
        const key = keyOf({ metadata: place });
        if (this.#objects.doubt(key, path, object)) this.#queue.add(key);
      },
      revised: (place) => {
        this.#queue.add(keyOf({ metadata: place }));
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
    // A look before the pods are known would see a pipeline without lines.
    this.#podsListed = this.#linePods.start();
    this.#workloads.start();
    await Promise.all([this.#resources.start(), this.#podsListed]);
    this.#listening = this.#listen(after);
  }

  /** The pipeline is looked at again soon. */
  replan(pipeline: string): void {
    this.#queue.add(this.#names.keyOf(pipeline));
  }

  setLines(pipeline: string, group: string, lines: number): void {
    if (this.#targets.set(pipeline, group, lines)) this.replan(pipeline);
  }

  setCeiling(ceiling: Ceiling): void {
    this.#ceilings.set(ceiling.pipeline, ceiling);
    this.replan(ceiling.pipeline);
  }

  /** Through the scale subresource, as an autoscaler does it. Throws PDL_PIPELINE_UNKNOWN, KubeFailure. */
  async scale(pipeline: string, lines: number): Promise<void> {
    const resource = this.#resourceOf(this.#names.keyOf(pipeline));
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
    const informers = [this.#resources, this.#linePods, this.#workloads];
    await Promise.all([this.#queue.close(), this.#submissions.close(), ...informers.map((informer) => informer.close())]);
    await this.#listening;
  }

  // --- names ----------------------------------------------------------------------------------

  #resourceOf(key: string): KubeObject | undefined {
    const [namespace, name = ''] = key.split('/');
    return this.#resources.get(namespace, name);
  }

  #lookAtPod(pod: KubeObject, tell: (pipeline: string) => void): void {
    const name = pod.metadata.labels?.[labels.pipeline];
    if (name === undefined) return;
    const pipeline = this.#names.of({ metadata: { name, namespace: pod.metadata.namespace } });
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
    const { rest, desk, clock } = this.options;
    await this.#podsListed;
    const resource = this.#resourceOf(key);
    if (resource === undefined) {
      this.#forget(key);
      return;
    }
    if (resource.metadata.deletionTimestamp !== undefined) {
      const name = this.#names.of(resource);
      desk.leaveLines(name);
      await endPipeline(rest, desk, name, resource);
      return;
    }
    const bringing = await this.#orRefusal(key, this.#bringAbout(key, resource));
    const place = { namespace: resource.metadata.namespace ?? '', name: resource.metadata.name };
    const isNew = clock.nowMs() - this.#beganMs < settleMs;
    const gating = await this.#orRefusal(key, this.#gates.write(this.#podsOf(place), isNew).catch(throwRefused));
    const known = this.#known.get(key);
    const targets = known === undefined ? [] : this.#targetsOf(known);
    const refusal = bringing.refusal ?? gating.refusal;
    const outdated = outdatedPods(this.#podsOf(place), this.#workloads.of(place));
    await this.#status.write(key, resource, { known, targets, refusal, outdated, isNew });
    const waits = [isNew ? settleMs : undefined, gating.done, ...(await this.#free(place))];
    for (const waitMs of waits) if (waitMs !== undefined) this.#queue.add(key, waitMs);
  }

  /** Lets lines come up elsewhere that cannot where they are. Answers after how long to look again. */
  async #free(place: Place): Promise<(number | undefined)[]> {
    const pods = this.#podsOf(place);
    const lost = await this.#lost.remove(pods);
    return [lost, this.options.lines.ssdClaim === undefined ? undefined : await this.#pinned.release(pods)];
  }

  /** What a step of a look came to, or why it was refused; anything else is thrown on. */
  async #orRefusal<T>(key: string, step: Promise<T>): Promise<{ done?: T; refusal?: Refusal }> {
    try {
      return { done: await step };
    } catch (thrown) {
      if (!(thrown instanceof Refusal)) throw thrown;
      this.options.logger.warn({ key, reason: thrown.reason }, thrown.message);
      if (thrown.isPassing) this.#queue.add(key, refusedAgainMs);
      return { refusal: thrown };
    }
  }

  async #bringAbout(key: string, resource: KubeObject): Promise<void> {
    const { uid = '', generation = 0 } = resource.metadata;
    let known = this.#known.get(key);
    if (known?.uid !== uid || known.generation !== generation) {
      known = await this.#intake.take(resource, this.#names.of(resource), known);
      if (known === undefined) {
        this.#queue.add(key, askAgainMs);
        return;
      }
      this.#known.set(key, known);
    }
    const { rest, lines } = this.options;
    const { pipeline, manifest } = known;
    const place = { namespace: resource.metadata.namespace ?? '', name: resource.metadata.name };
    await putFinalizer(rest, resource);
    const pods = this.#podsOf(place).map(({ metadata }) => metadata.name);
    await this.#targets.learn(pipeline.name, place, manifest.spec.groups, pods);
    this.#track(place, known, this.#targetsOf(known));
    if (!known.isHeld) await this.#hold(place, known);
    // One number for both: what goes must be known to go for good before it does.
    const [placed, options] = this.#planned(place, known, uid);
    this.#track(place, known, options.groups);
    const authority = lines.authority === undefined ? [] : [planAuthority(place.namespace, lines.authority)];
    const objects = planObjects(placed, options);
    const hpa = this.options.autoscaling === 'hpa' ? [objectPath('HorizontalPodAutoscaler', place)] : [];
    await this.#objects.write(key, [...authority, ...objects], hpa).catch(throwRefused);
    this.#submit(key, resource, known);
    if (known.submission?.state === 'failed') throw known.submission.refusal;
  }

  /** What the pipeline's objects are made from. */
  #planned(place: Place, known: Known, uid: string): [Pipeline, PlanOptions] {
    const { pipeline, manifest, slots, isScaled } = known;
    const { lines, workload } = this.options;
    // Where lines run is the resource's to say, and no part of what they are told.
    const placed = { ...pipeline, spec: { ...pipeline.spec, placement: manifest.spec.placement } };
    const options = {
      ...lines,
      ...place,
      groups: this.#targetsOf(known),
      slots,
      workload,
      ceiling: isScaled ? this.#ceilings.get(pipeline.name) : undefined,
      lineSuffix: this.#names.suffixOf(place.namespace) || undefined,
      owner: { name: place.name, uid },
    };
    return [placed, options];
  }

  /** The coordinator holds as many lines as the resource says, or scales them where its manifest says how. */
  async #hold(place: Place, known: Known): Promise<void> {
    const { desk, quotas, autoscaling } = this.options;
    const { pipeline, manifest, isScaled } = known;
    const [placed, options] = this.#planned(place, known, '');
    await quotas.follow(pipeline.name, place.namespace, podOf(placed, { ...options, lines: 0, volume: { hostPath: '/' } }));
    const byGroup = Object.fromEntries(groupLinesOf(manifest.spec).map(({ group, lines }) => [group, lines]));
    const byAutoscaler = { by: 'autoscaler', lines: manifest.spec.lines } as const;
    const scaled = autoscaling === 'podline' ? ({ by: 'demand' } as const) : byAutoscaler;
    await desk.startLines(pipeline.name, isScaled ? scaled : { by: 'group', lines: byGroup });
    known.isHeld = true;
  }

  #targetsOf({ pipeline, manifest }: Known): GroupLines[] {
    return this.#targets.all(pipeline.name, manifest.spec.groups);
  }

  #track({ namespace, name }: Place, { pipeline, slots }: Known, targets: readonly GroupLines[]): void {
    const { rest, pods, lines } = this.options;
    const suffix = this.#names.suffixOf(namespace);
    const isNew = pods.track({
      pipeline,
      groups: new Map(targets.map((of) => [workloadName(name, of.group), of])),
      slots,
      image: lines.image,
      cores: lines.cores,
      kube: podsOf(rest, namespace),
      lineOf: (podName) => `${podName}${suffix}`,
    });
    if (!isNew) return;
    for (const pod of this.#podsOf({ namespace, name })) pods.changed(pipeline.name, viewOf(pod));
  }

  #podsOf(place: Place): KubeObject[] {
    return this.#linePods
      .all()
      .filter(
        ({ metadata: { namespace, labels: its } }) => namespace === place.namespace && its?.[labels.pipeline] === place.name,
      );
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

  #forget(key: string): void {
    const known = this.#known.get(key);
    if (known !== undefined) {
      const { name } = known.pipeline;
      this.options.desk.leaveLines(name);
      this.options.pods.end(name);
      this.options.quotas.forget(name);
      this.#targets.forget(name);
      this.#ceilings.delete(name);
    }
    this.#known.delete(key);
    this.#status.forget(key);
    this.#objects.forget(key);
    this.#queue.forget(key);
  }
}

function throwRefused(thrown: unknown): never {
  throw refusedObject(thrown);
}

/** A status that was written, by us as a rule, is none. */
const isNews = (is: KubeObject, was: KubeObject): boolean =>
  is.metadata.generation !== was.metadata.generation ||
  is.metadata.uid !== was.metadata.uid ||
  is.metadata.deletionTimestamp !== was.metadata.deletionTimestamp;
