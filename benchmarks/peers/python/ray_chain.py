"""Ray on one machine, an actor for each stage: `ray_chain.py <folder> <bytes of the object store> <stages>`. Lines of JSON, as in stage.py."""
import json
import sys
import time

import numpy as np
import ray
import work as works
from stores import Counted

_, folder, store_bytes, stages = sys.argv


class RayStore(Counted):
    """Keys are references; values are read where they lie. A task's value is put when it is whole: Ray has no other way in."""

    def get(self, key):
        values = ray.get(key)
        self.read += values.nbytes
        return values

    def make(self, length, dtype, fill):
        values = np.empty(length, dtype)
        fill(values)
        self.written += values.nbytes
        return ray.put(values)


@ray.remote(num_cpus=1)
class Stage:
    def __init__(self, index):
        self.index = index
        self.store = RayStore()

    def load(self, work, source):
        return {name: ray.put(values) for name, values in works.load(work, source).items()}

    def step(self, work, shard):
        return works.step(work, self.index, shard, self.store)

    def write(self, work, shard, folder):
        works.write_result(work, shard, self.store, folder)

    def moved(self):
        return self.store.moved()


ray.init(
    num_cpus=int(stages) + 1,
    include_dashboard=False,
    object_store_memory=int(store_bytes),
    _temp_dir=folder,
    _node_ip_address="127.0.0.1",
    log_to_driver=False,
)
actors = [Stage.remote(index) for index in range(-1, int(stages))]


def answer(request):
    work = request["work"]
    loaded = ray.get(actors[0].load.remote(work, request["source"]))
    began = time.monotonic_ns()
    shard = ray.put(loaded)
    # The reference that an actor returns is given to the next: nobody waits in between.
    for actor in actors[1:]:
        shard = actor.step.remote(work, shard)
    ray.wait([shard])
    ended = time.monotonic_ns()
    moved = ray.get([actor.moved.remote() for actor in actors])
    ray.get(actors[-1].write.remote(work, shard, request["dir"]))
    ray.get(actors[-1].moved.remote())
    return {"spanMs": (ended - began) / 1e6, "moved": moved}


ray.get([actor.__ray_ready__.remote() for actor in actors])
print("{}", flush=True)
for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
ray.shutdown()
