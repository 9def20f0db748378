"""The images that run in the test cluster: built by buildah, without a daemon, and imported into its containerd.

    python -m tests.cluster.images build NAME...
    python -m tests.cluster.images load NAME...

Finished images lie in one OCI layout in the cache folder, where images share what layers they have in common. An image
carries a hash of what it was made from as a label, so one that is up to date is not built again, and containerd gets
only the blobs that it does not have. Both layout and containerd name an image last, when all of it is there.
"""

from __future__ import annotations

import argparse
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from release import settings
from tests.cluster import paths, tools
from tests.cluster.oci_layout import Layout, write_archive
from tests.cluster.progress import step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

REPOSITORY = Path(__file__).parents[2]
INPUTS_LABEL = "mtp-operator.dev/inputs"
#: Where Debian keeps the certificates that programs trust; a machine behind a proxy has the proxy's among them.
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
#: The base of every image, where no registry is needed: the Dockerfiles' public defaults have the same in them.
BASE_SUITE = "bookworm"
BASE_PACKAGES = ("ca-certificates", "libgomp1", "libnuma1", "python3", "python3-venv")
#: What of this machine's settings says how to reach packages: builds have the same, and images none of it.
PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout")
APT_SETTINGS = ("Acquire::http::", "Acquire::https::", "Acquire::Check-Valid-Until ")
_LOG_LINES_SHOWN = 30


@dataclass(frozen=True)
class Image:
    """An image of this repository.

    Attributes:
        name: its folder below `images/`, which holds its Dockerfile.
        sources: files and folders that its Dockerfile copies, as paths in the repository.
        keep_layers: whether the builder keeps the result of each step, because some of them change often.
        package_folder: the folder in the build where its Dockerfile keeps what it downloads, if it has one.
        hint: how long a person has to wait.
        engine: the name of the image that its Dockerfile calls ENGINE and builds on, if it has one.
        makes: what its Dockerfile copies in place of `sources` because it is made by them: a path, and what makes it.
        is_repeatable: whether two builds on one base have one digest. The others take what a mirror has that day, or
            have bytecode that depends on the files' times.
    """

    name: str
    sources: tuple[str, ...]
    keep_layers: bool = False
    package_folder: str = ""
    hint: str = ""
    engine: str = ""
    makes: tuple[str, Callable[[Path], object]] | None = None
    is_repeatable: bool = False

    @property
    def reference(self) -> str:
        """The name under which pods ask for it."""
        return f"localhost/mtp-operator/{self.name}:dev"

    @property
    def dockerfile(self) -> str:
        """Its Dockerfile, as a path in the repository."""
        return f"images/{self.name}/Dockerfile"


def _make_model(folder: Path) -> None:
    """A small model, for tests in which the best n is of no interest."""
    from tests.mtp_model import ModelShape, write_model

    write_model(folder, shape=ModelShape(layers=8, intermediate_size=128))


IMAGES = {
    image.name: image
    for image in (
        Image(
            "operator",
            (
                "operator/pyproject.toml",
                "operator/requirements.txt",
                "operator/mtp_operator",
                "images/operator/build-requirements.txt",
            ),
            keep_layers=True,
            hint=" (about a minute)",
            is_repeatable=True,
        ),
        Image("llamacpp-cpu", ("images/llamacpp-cpu/fetch-packages",), package_folder="/packages"),
        Image(
            "vllm-cpu",
            (
                "images/vllm-cpu/requirements.txt",
                "images/vllm-cpu/stub_gpu_libraries.py",
                "images/vllm-cpu/inspect_models.py",
            ),
            hint=" (three to six minutes)",
        ),
        Image(
            "simulated-gpu",
            ("docs/data", "images/simulated-gpu/requirements.txt", "images/simulated-gpu/simulated_gpu"),
            keep_layers=True,
            is_repeatable=True,
        ),
        Image("faulty-engine", ("tests/faulty_engine",), engine="llamacpp-cpu"),
        Image("tiny-model", ("tests/mtp_model",), makes=("model", _make_model)),
    )
}


# --- What an image is made from


def source_files(image: Image, repository: Path = REPOSITORY) -> list[Path]:
    """All files that go into an image, as paths in the repository; what Python leaves behind is not among them."""
    files: set[Path] = set()
    for source in (image.dockerfile, *image.sources):
        path = repository / source
        if not path.exists():
            message = f"image {image.name}: {source} is missing"
            raise FileNotFoundError(message)
        files |= {file for file in path.rglob("*") if file.is_file()} if path.is_dir() else {path}
    return sorted(file.relative_to(repository) for file in files if "__pycache__" not in file.parts)


def inputs_hash(image: Image, repository: Path = REPOSITORY) -> str:
    """A hash of everything that an image is made from: its files with their modes, the base and its engine's image."""
    parts = hashlib.sha256(_base_reference().encode())
    if image.engine:
        parts.update(inputs_hash(IMAGES[image.engine], repository).encode())
    for file in source_files(image, repository):
        content = (repository / file).read_bytes()
        executable = os.access(repository / file, os.X_OK)
        parts.update(f"{file}\0{executable}\0{len(content)}\0".encode() + content)
    return parts.hexdigest()


def _base_reference(architecture: str = "") -> str:
    content = hashlib.sha256(" ".join((BASE_SUITE, *BASE_PACKAGES)).encode()).hexdigest()
    return f"localhost/mtp-operator/base{architecture and f'-{architecture}'}:{content[:12]}"


# --- The layout of finished images


def images_dir() -> Path:
    """The folder of everything that has to do with images."""
    return paths.cache_dir() / "images"


def layout() -> Layout:
    """The layout with this project's images."""
    return Layout(images_dir() / "layout")


# --- Building


def build(image: Image) -> dict[str, Any]:
    """Build an image unless it is there already, and return its descriptor in the layout."""
    inputs = inputs_hash(image)
    finished = layout().find(image.reference)
    if finished is not None and layout().label(finished, INPUTS_LABEL) == inputs:
        print(f"Image {image.name}: up to date", flush=True)
        return finished
    if image.engine:
        build(IMAGES[image.engine])
    base = _base()
    with step(f"Building image {image.name}{image.hint}"):
        _build_into(layout(), image, base, keep_layers=image.keep_layers)
    layout().remove_unused()
    built = layout().find(image.reference)
    if built is None:
        message = f"image {image.name}: buildah has not put it into {layout().folder}"
        raise RuntimeError(message)
    return built


def build_again(image: Image, architecture: str = "") -> str:
    """Build an image from nothing but the base, keep nothing of it, and return its digest.

    The architecture is as Debian and OCI call it, by default this machine's; another one takes emulation.
    """
    with _only_one():
        base = _base(architecture)
    with (
        step(f"Building image {image.name} from nothing{f' for {architecture}' if architecture else image.hint}"),
        TemporaryDirectory(dir=_folder("again")) as folder,
    ):
        target = Layout(Path(folder))
        _build_into(target, image, base, keep_layers=False, architecture=architecture)
        (built,) = target.manifests()
    return str(built["digest"])


def _build_into(target: Layout, image: Image, base: str, keep_layers: bool, architecture: str = "") -> None:
    with _context(image) as context:
        mounts = {
            _folder("pip"): "/root/.cache/pip",
            _settings("pip.conf", _pip_settings()): "/etc/pip.conf:ro",
            _settings("apt.conf", _apt_settings()): "/etc/apt/apt.conf.d/99builder:ro",
        }
        if CERTIFICATES.exists():
            mounts[CERTIFICATES] = f"{CERTIFICATES}:ro"
        if image.package_folder:
            mounts[_folder("packages", image.name)] = image.package_folder
        _buildah(
            image.name,
            *("build", "--isolation", "chroot", "--network", "host", "--force-rm"),
            f"--layers={str(keep_layers).lower()}",
            *_for(architecture),
            f"--build-arg=BASE={base}",
            *([_engine_argument(IMAGES[image.engine], context)] if image.engine else []),
            *([f"--timestamp={settings.SOURCE_DATE_EPOCH}"] if image.is_repeatable else []),
            f"--label={INPUTS_LABEL}={inputs_hash(image)}",
            *(f"--volume={source}:{mount}" for source, mount in mounts.items()),
            f"--file={image.dockerfile}",
            f"--tag=oci:{target.folder}:{image.reference}",
            ".",
            cwd=context,
        )


def _engine_argument(engine: Image, context: Path) -> str:
    """Where buildah finds the finished image to build on: by a short way, for it makes a name of the folder's path."""
    (context / engine.name).symlink_to(layout().folder)
    return f"--build-arg=ENGINE=oci:{engine.name}:{engine.reference}"


def _base(architecture: str = "") -> str:
    """Make the base of all images from Debian packages, unless it is there, and return its name."""
    reference = _base_reference(architecture)
    if _buildah_succeeds("inspect", "--type", "image", reference):
        return reference
    with step("Building the base of all images (about a minute)"), TemporaryDirectory(dir=_folder("base")) as folder:
        root = Path(folder, "root.tar")
        options = ("--variant=minbase", "--dpkgopt=force-unsafe-io", f"--include={','.join(BASE_PACKAGES)}")
        foreign = [f"--architectures={architecture}"] if architecture else []
        _run("base", _program("mmdebstrap"), *options, *foreign, BASE_SUITE, str(root), _debian_mirror())
        Path(folder, "Dockerfile").write_text(f"FROM scratch\nADD {root.name} /\n")
        _buildah("base", "build", "--isolation", "chroot", *_for(architecture), "--tag", reference, folder)
    return reference


def _for(architecture: str) -> list[str]:
    return [f"--platform=linux/{architecture}"] if architecture else []


def _debian_mirror() -> str:
    """The mirror that this machine's own packages come from."""
    wanted = ("Created-By: Packages", f"Release: {BASE_SUITE}")
    mirrors = _output("apt-get", "indextargets", "--format", "$(REPO_URI)", *wanted).split()
    if not mirrors:
        message = f"apt-get: no list of Debian {BASE_SUITE}, from which the images' base is made; run `apt-get update`"
        raise RuntimeError(message)
    return mirrors[0]


@contextmanager
def _context(image: Image) -> Iterator[Path]:
    """A folder with what an image is made from and nothing else, so nothing can be in it that its hash leaves out."""
    with TemporaryDirectory(dir=_folder("context")) as folder:
        for file in source_files(image):
            target = Path(folder, file)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY / file, target)
            # Of the mode only this counts: the rest is the umask of whoever cloned.
            target.chmod(0o755 if os.access(REPOSITORY / file, os.X_OK) else 0o644)
        if image.makes:
            made, make = image.makes
            make(Path(folder, made))
        yield Path(folder)


def _pip_settings() -> str:
    """This machine's package indexes, and its certificates, as a pip.conf."""
    listing = _output(sys.executable, "-m", "pip", "config", "list")
    found = dict(line.split("=", 1) for line in listing.splitlines() if "=" in line)
    chosen = {}
    for scope in ("global", "install", ":env:"):  # The last one wins.
        for name in PIP_SETTINGS:
            if f"{scope}.{name}" in found:
                chosen[name] = found[f"{scope}.{name}"].strip("'")
    if CERTIFICATES.exists():
        chosen["cert"] = str(CERTIFICATES)
    return "\n".join(["[global]", *(f"{name} = {value}" for name, value in chosen.items()), ""])


def _apt_settings() -> str:
    """This machine's way to Debian's mirrors, as a part of apt.conf."""
    lines = _output("apt-config", "dump").splitlines()
    return "\n".join([*(line for line in lines if line.startswith(APT_SETTINGS)), ""])


def _settings(name: str, content: str) -> Path:
    file = _folder("settings") / name
    file.write_text(content)
    return file


def _folder(*names: str) -> Path:
    folder = images_dir().joinpath(*names)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _buildah_command(*arguments: str) -> list[str]:
    storage = images_dir() / "storage"
    where = ("--root", str(storage), "--runroot", f"{storage}.run", "--storage-driver", _storage_driver())
    return [_program("buildah"), *where, *arguments]


@functools.cache
def _storage_driver() -> str:
    """The fast storage driver where this file system can carry it, else the one that works everywhere."""
    command = ["buildah", "--root", str(_folder("probe")), "--runroot", str(_folder("probe.run"))]
    overlay = subprocess.run([*command, "--storage-driver", "overlay", "images"], capture_output=True, check=False)
    return "overlay" if overlay.returncode == 0 else "vfs"


def _buildah(log: str, *arguments: str, cwd: Path | str = REPOSITORY) -> None:
    _run(log, *_buildah_command(*arguments), cwd=cwd)


def _buildah_succeeds(*arguments: str) -> bool:
    return subprocess.run(_buildah_command(*arguments), capture_output=True, check=False).returncode == 0


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        message = f"{name}: not on PATH; `apt-get install {name}` brings it"
        raise FileNotFoundError(message)
    return found


def _output(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def _run(log: str, *command: str, cwd: Path | str = REPOSITORY) -> None:
    """Run a command with its output in a log file, of which the end is shown if it fails."""
    file = _folder("logs") / f"{log}.log"
    with file.open("wb") as output:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=cwd, check=False)
    if done.returncode:
        end = "\n".join(file.read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:])
        message = f"{Path(command[0]).name} ended with {done.returncode} ({file}):\n{end}"
        raise RuntimeError(message)


# --- Importing into the cluster's containerd


def load(image: Image) -> None:
    """Build an image if needed, and import it into the cluster's containerd unless it has the same one."""
    manifest = build(image)
    if _imported_digest(image.reference) == manifest["digest"]:
        print(f"Image {image.name}: already in the cluster", flush=True)
        return
    with step(f"Importing image {image.name}"):
        present = set(_ctr("content", "ls", "--quiet").split())
        with subprocess.Popen(
            _ctr_command("images", "import", "-"), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        ) as importer:
            write_archive(layout(), manifest, present, importer.stdin)
            assert importer.stdin is not None
            importer.stdin.close()
    if _imported_digest(image.reference) != manifest["digest"]:
        message = f"image {image.name}: containerd has not imported it"
        raise RuntimeError(message)


def tag(image: Image, name: str) -> None:
    """Give an image that is in the cluster another tag as well."""
    repository, _, _ = image.reference.rpartition(":")
    _ctr("images", "tag", "--force", image.reference, f"{repository}:{name}")


def _imported_digest(reference: str) -> str | None:
    """The digest of the image that containerd has under this name."""
    rows = (line.split() for line in _ctr("images", "ls", f"name=={reference}").splitlines()[1:])
    return next((row[2] for row in rows), None)


def _ctr_command(*arguments: str) -> list[str]:
    # It would warn of cgroups of version 1 each time.
    program = ("env", "CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS=1", str(tools.find("ctr")))
    return [*program, "--namespace", "k8s.io", "--address", str(paths.containerd_socket()), *arguments]


def _ctr(*arguments: str) -> str:
    return _output(*_ctr_command(*arguments))


def build_all(names: Iterable[str]) -> None:
    """Build images, once no other process builds or loads any."""
    with _only_one():
        for name in names:
            build(IMAGES[name])


def load_all(names: Iterable[str]) -> None:
    """Load images, once no other process builds or loads any."""
    with _only_one():
        for name in names:
            load(IMAGES[name])


@contextmanager
def _only_one() -> Iterator[None]:
    """Wait until no other process builds or loads images."""
    with (_folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.images", description="Build and load images.")
    parser.add_argument("command", choices=["build", "load"], help="load also imports into the running test cluster")
    parser.add_argument("names", nargs="+", choices=list(IMAGES), metavar="NAME", help=f"of {', '.join(IMAGES)}")
    arguments = parser.parse_args()
    action = build_all if arguments.command == "build" else load_all
    try:
        action(arguments.names)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
