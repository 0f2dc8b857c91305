"""Shared memory that processes put arrays into and look at without a copy. A key is text."""
import os
import uuid

import numpy as np


class Counted:
    """How much was read and written, since it was last asked."""

    def __init__(self):
        self.read = self.written = 0

    def moved(self):
        counts = {"read": self.read, "written": self.written}
        self.read = self.written = 0
        return counts


class MapStore(Counted):
    """Files on tmpfs, mapped by pyarrow. A key says what lies in the file: `<name>:<type>:<length>`."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def make(self, length, dtype, fill):
        name = uuid.uuid4().hex
        dtype = np.dtype(dtype)
        self.written += length * dtype.itemsize
        # pyarrow gives no array that may be written to over its map; numpy does.
        fill(np.memmap(os.path.join(self.folder, name), dtype=dtype, mode="w+", shape=(length,)))
        return f"{name}:{dtype.str}:{length}"

    def get(self, key):
        import pyarrow as pa

        name, dtype, length = key.split(":")
        buffer = pa.memory_map(os.path.join(self.folder, name)).read_buffer()
        self.read += buffer.size
        return np.frombuffer(buffer, dtype=np.dtype(dtype), count=int(length))

    def remove(self, keys):
        for key in keys:
            os.remove(os.path.join(self.folder, key.split(":")[0]))


class VineyardStore(Counted):
    """Blobs in Vineyard's shared memory, by its unix socket."""

    def __init__(self, socket):
        import vineyard

        super().__init__()
        self.vineyard = vineyard
        self.client = vineyard.connect(socket)

    def make(self, length, dtype, fill):
        dtype = np.dtype(dtype)
        self.written += length * dtype.itemsize
        builder = self.client.create_blob(length * dtype.itemsize)
        fill(np.frombuffer(memoryview(builder), dtype=dtype))
        return f"{builder.seal(self.client).id!r}:{dtype.str}:{length}"

    def get(self, key):
        identity, dtype, length = key.split(":")
        blob = self.client.get_blob(self.vineyard.ObjectID(identity))
        self.read += blob.size
        return np.frombuffer(memoryview(blob), dtype=np.dtype(dtype), count=int(length))

    def remove(self, keys):
        self.client.delete([self.vineyard.ObjectID(key.split(":")[0]) for key in keys])


STORES = {"map": MapStore, "vineyard": VineyardStore}
