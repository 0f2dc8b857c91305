/** What a coordinator calls the pipelines and lines of namespaces: those of its own as they are, others with the namespace behind. */
import type { KubeObject } from './kube-rest.js';

export class PipelineNames {
  /** `own`: the coordinator's. */
  constructor(private readonly own: string) {}

  of({ metadata: { name, namespace } }: KubeObject): string {
    return `${name}${this.suffixOf(namespace)}`;
  }

  suffixOf(namespace = ''): string {
    return namespace === this.own ? '' : `.${namespace}`;
  }

  /** Names of pipelines and namespaces have no dots. */
  placeOf(pipeline: string): { namespace: string; name: string } {
    const [name = '', namespace = this.own] = pipeline.split('.');
    return { namespace, name };
  }

  /** As informers and queues know it. */
  keyOf(pipeline: string): string {
    const { namespace, name } = this.placeOf(pipeline);
    return `${namespace}/${name}`;
  }
}
