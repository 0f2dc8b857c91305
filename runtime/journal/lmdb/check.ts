/** Whether what shards are found under is what their states say. Throws PDL_JOURNAL: a fault of Podline, or of the disk. */
import { PodlineError } from '../../contracts/errors.js';
import { endedKindOf } from '../retention.js';
import { idOf, placeOf, timersOf } from '../places.js';
import { groupNumber, placeKey, uniqueKey, type Stores } from './layout.js';
import type { Disk } from './disk.js';

export function checkIndexes(stores: Stores, disk: Disk): void {
  let [shards, timers, ended] = [0, 0, 0];
  const fail = (what: string): never => {
    throw new PodlineError('PDL_JOURNAL', `the journal contradicts itself: ${what}`, { retry: 'never' });
  };
  for (const seq of stores.bodies.getKeys({})) {
    const id = idOf(disk.numbers, seq);
    const [body, state] = [disk.body(id), disk.state(id)];
    if (body === undefined || state === undefined) return fail(`shard ${id} has no state`);
    const number = disk.pipelineNumber(body.pipeline) ?? fail(`pipeline ${body.pipeline} has no number`);
    const groups = stores.pipelines.get(body.pipeline)?.groups ?? [];
    if (!stores.places.doesExist(placeKey(groupNumber(number, groups.indexOf(state.group)), placeOf(state), seq)))
      fail(`shard ${id} is not where ${state.state} ones are`);
    if (stores.keys.get(uniqueKey(number, body.key)) !== seq) fail(`shard ${id} is not found by its key`);
    for (const ms of timersOf(state)) if (!stores.timers.doesExist([ms, seq])) fail(`shard ${id} lacks a timer`);
    shards += 1;
    timers += timersOf(state).length;
    ended += endedKindOf(state.state) === undefined ? 0 : 1;
  }
  const found = { places: stores.places, keys: stores.keys, timers: stores.timers, ended: stores.ended };
  const wanted = { places: shards, keys: shards, timers, ended };
  for (const name of ['places', 'keys', 'timers', 'ended'] as const) {
    const count = found[name].getCount();
    if (count !== wanted[name]) fail(`${String(count)} ${name}, and ${String(wanted[name])} are right`);
  }
}
