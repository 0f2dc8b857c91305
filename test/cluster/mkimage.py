#!/usr/bin/env python3
"""Makes container images from files, without a daemon: as an archive that `ctr images import` takes, or in a registry.

usage: mkimage.py archive OUT.tar NAME:TAG [options]
       mkimage.py push HOST:PORT NAME:TAG [options]       prints the manifest's digest

options: --entrypoint JSON, --env K=V, --open DIR (a folder that anyone may write to), --user UID:GID, --workdir DIR, and layers,
         lowest first:
         --layer SRC:DST [SRC:DST ...]  (folders are taken whole; links are kept)

The same files give the same digests: times, owners and order are fixed. A layer that the registry has is not sent again.
"""
import argparse, hashlib, http.client, io, json, os, stat, sys, tarfile, tempfile

FOLDERS = ("etc", "proc", "sys", "dev", "run")


def plain(info):
    info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
    return info


class Layer:
    """A tar in a temporary file, with its digest."""

    def __init__(self, pairs, open_folders=None):
        self.file, self.made = tempfile.TemporaryFile(), set()
        with tarfile.open(fileobj=self.file, mode="w", format=tarfile.GNU_FORMAT) as tar:
            if open_folders is not None:
                for path in ("tmp", *open_folders):
                    self.folder(tar, path.strip("/"), 0o1777)
                for path in FOLDERS:
                    self.folder(tar, path)
            for pair in pairs:
                source, target = pair.split(":", 1)
                self.add(tar, os.path.realpath(source), target.strip("/"))
        self.size = self.file.tell()
        self.file.seek(0)
        digest = hashlib.sha256()
        while chunk := self.file.read(1 << 20):
            digest.update(chunk)
        self.digest = "sha256:" + digest.hexdigest()

    def folder(self, tar, path, mode=0o755):
        parts = path.split("/")
        for name in ("/".join(parts[: i + 1]) for i in range(len(parts))):
            if name and name not in self.made:
                self.made.add(name)
                info = tarfile.TarInfo(name)
                info.type, info.mode = tarfile.DIRTYPE, mode if name == path else 0o755
                tar.addfile(info)

    def add(self, tar, source, target):
        if os.path.isdir(source) and not os.path.islink(source):
            self.folder(tar, target)
            for name in sorted(os.listdir(source)):
                self.add(tar, os.path.join(source, name), f"{target}/{name}")
            return
        self.folder(tar, os.path.dirname(target))
        info = plain(tar.gettarinfo(source, target))
        if info.islnk():  # a hard link within the source: store the file itself
            info.type, info.linkname, info.size = tarfile.REGTYPE, "", os.path.getsize(source)
        info.mode = 0o755 if stat.S_IMODE(os.lstat(source).st_mode) & 0o100 else 0o644
        if info.isreg():
            with open(source, "rb") as content:
                tar.addfile(info, content)
        else:
            tar.addfile(info)


def config_of(options, layers):
    config = {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin", *options.env], "WorkingDir": options.workdir}
    if options.entrypoint:
        config["Entrypoint"] = json.loads(options.entrypoint)
    if options.user:
        config["User"] = options.user
    return json.dumps({
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine], "os": "linux", "created": "1970-01-01T00:00:00Z",
        "config": config, "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
    }).encode()


def archive(path, name, config, layers):
    with tarfile.open(path + ".part", "w") as tar:
        def put(name, size, content):
            info = tarfile.TarInfo(name)
            info.size = size
            tar.addfile(info, content)
        files = [f"{layer.digest[7:]}/layer.tar" for layer in layers]
        config_file = hashlib.sha256(config).hexdigest() + ".json"
        manifest = json.dumps([{"Config": config_file, "RepoTags": [name], "Layers": files}]).encode()
        put(config_file, len(config), io.BytesIO(config))
        for file, layer in zip(files, layers):
            layer.file.seek(0)
            put(file, layer.size, layer.file)
        put("manifest.json", len(manifest), io.BytesIO(manifest))
    os.rename(path + ".part", path)


def push(host, name, config, layers):
    repository, tag = name.split(":", 1)
    connection = http.client.HTTPConnection(host, timeout=60)

    def call(method, path, body=None, headers={}, expect=(200,)):
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        text = response.read()
        if response.status not in expect:
            sys.exit(f"{method} {path}: {response.status} {text.decode(errors='replace')}")
        return response

    def blob(digest, size, content):
        if call("HEAD", f"/v2/{repository}/blobs/{digest}", expect=(200, 404)).status == 200:
            return
        place = call("POST", f"/v2/{repository}/blobs/uploads/", expect=(202,)).headers["Location"]
        place = "/" + place.split("://", 1)[1].split("/", 1)[1] if "://" in place else place
        place += ("&" if "?" in place else "?") + "digest=" + digest
        call("PUT", place, content, {"Content-Length": str(size), "Content-Type": "application/octet-stream"}, expect=(201,))

    config_digest = "sha256:" + hashlib.sha256(config).hexdigest()
    for layer in layers:
        layer.file.seek(0)
        blob(layer.digest, layer.size, layer.file)
    blob(config_digest, len(config), config)
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": kind,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": len(config)},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": l.digest, "size": l.size} for l in layers],
    }).encode()
    call("PUT", f"/v2/{repository}/manifests/{tag}", manifest, {"Content-Type": kind}, expect=(201,))
    return "sha256:" + hashlib.sha256(manifest).hexdigest()


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("command", choices=("archive", "push"))
    parser.add_argument("where")
    parser.add_argument("name")
    parser.add_argument("--entrypoint")
    parser.add_argument("--env", action="append", default=[])
    parser.add_argument("--open", action="append", default=[])
    parser.add_argument("--user")
    parser.add_argument("--workdir", default="/")
    parser.add_argument("--layer", nargs="+", action="append", default=[])
    options = parser.parse_args()
    layers = [Layer(pairs, options.open if number == 0 else None) for number, pairs in enumerate(options.layer)]
    config = config_of(options, layers)
    if options.command == "archive":
        archive(options.where, options.name, config, layers)
    else:
        print(push(options.where, options.name, config, layers))


main()
