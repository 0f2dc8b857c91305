"""One warm process of a chain, the source or a stage: `stage.py <store> <where>`. Requests and answers are lines of JSON."""
import json
import sys
import time

import numpy as np
import work as works
from stores import STORES

_, kind, where = sys.argv
store = STORES[kind](where)


def answer(request):
    work = request["work"]
    if request["do"] == "load":
        loaded = works.load(work, request["source"])
        shard = {}
        for name, values in loaded.items():
            shard[name] = store.make(len(values), values.dtype, lambda into, values=values: np.copyto(into, values))
    elif request["do"] == "step":
        shard = works.step(work, request["stage"], request["shard"], store)
    elif request["do"] == "write":
        works.write_result(work, request["shard"], store, request["dir"])
        store.moved()
        return {}
    else:
        store.remove(request["keys"])
        return {}
    return {"shard": shard, "endedMs": time.monotonic_ns() / 1e6, "moved": store.moved()}


print("{}", flush=True)
for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
