import { describe, expect, it } from 'vitest';
import { containerFault, type ContainerView, type PodView } from '../../../runtime/cluster/verdict.js';
import { container } from './fake-kube.js';

const podWith = (view: ContainerView, more: Partial<PodView> = {}): PodView => ({
  name: 'flights-0',
  uid: 'u',
  resourceVersion: '1',
  deleting: false,
  statusIsCurrent: true,
  annotations: {},
  ip: undefined,
  node: undefined,
  containers: [view],
  ...more,
});
const waiting = (reason: string, more: Partial<ContainerView> = {}) =>
  container('slot-0', { waiting: { reason, message: 'words of the kubelet' }, ...more });

describe('the status of a slot', () => {
  it.each([
    ['ImagePullBackOff', 'PDL_SWAP_FAILED', 'later'],
    ['ErrImagePull', 'PDL_SWAP_FAILED', 'later'],
    ['InvalidImageName', 'PDL_SWAP_FAILED', 'never'],
    ['CreateContainerConfigError', 'PDL_SWAP_FAILED', 'never'],
    ['RunContainerError', 'PDL_SWAP_FAILED', 'later'],
  ] as const)('%s is a failure with its name and the words of the kubelet', (reason, code, retry) => {
    const fault = containerFault(podWith(waiting(reason)), 'slot-0');
    expect(fault).toMatchObject({ code, retry, place: 'pod flights-0, container slot-0' });
    expect(fault?.message).toContain(reason);
    expect(fault?.message).toContain('words of the kubelet');
  });

  it('CrashLoopBackOff tells the exit code', () => {
    const fault = containerFault(podWith(waiting('CrashLoopBackOff', { ended: { reason: 'Error', exitCode: 7 } })), 'slot-0');
    expect(fault?.message).toMatch(/CrashLoopBackOff.*exit code 7/);
  });

  it('CrashLoopBackOff after the out-of-memory killer is a matter of memory', () => {
    const fault = containerFault(
      podWith(waiting('CrashLoopBackOff', { restartCount: 3, ended: { reason: 'OOMKilled', exitCode: 137 } })),
      'slot-0',
    );
    expect(fault?.code).toBe('PDL_STAGE_MEMORY');
    expect(fault?.message).toMatch(/OOMKilled.*3 times/);
  });

  it('says nothing while a container is on its way or runs', () => {
    expect(containerFault(podWith(waiting('ContainerCreating')), 'slot-0')).toBeUndefined();
    expect(containerFault(podWith(container('slot-0')), 'slot-0')).toBeUndefined();
    expect(containerFault(podWith(waiting('ErrImagePull')), 'slot-1')).toBeUndefined();
  });

  it('is not believed while it speaks of the specification before', () => {
    expect(containerFault(podWith(waiting('CrashLoopBackOff'), { statusIsCurrent: false }), 'slot-0')).toBeUndefined();
  });
});
